"""The load tests of a job: several at once, traffic in phases, and little time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from tests.search.jobs.conftest import QUICK, Slow, slow_job
from tests.search.jobs.lifecycle.conftest import ONE_TEST

import servefit
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]


@pytest.mark.thorough
@pytest.mark.timed
def test_tests_run_at_once_on_cpus_of_their_own_where_there_are_enough(model: Path) -> None:
    job = servefit.right_size(model, **{**QUICK, "max_tests": 6, "max_parallel_tests": 2})
    tests = [step for step in job.steps if step.kind == "load_test"]
    pairs = list(zip(tests[::2], tests[1::2], strict=False))
    assert pairs
    for earlier, later in pairs:
        assert earlier.ended_at is not None
        assert later.began_at < earlier.ended_at, "they overlap"
    cpus = [trial.measurement.cpus for trial in job.trials[:2]]
    assert not set(cpus[0]) & set(cpus[1])


@pytest.mark.thorough
@pytest.mark.timed
def test_tests_that_would_share_cpus_run_one_by_one_and_the_job_says_so(model: Path) -> None:
    largest = max(local_profiles(describe_host()), key=lambda profile: profile.vcpus)
    job = servefit.right_size(
        model, **{**QUICK, "supported_instance_types": [largest.name], "max_tests": 4, "max_parallel_tests": 2}
    )
    tests = [step for step in job.steps if step.kind == "load_test"]
    assert all(
        earlier.ended_at is not None and earlier.ended_at <= later.began_at for earlier, later in pairwise(tests)
    )
    assert any("2 tests at once were asked for" in warning for warning in job.warnings)


@pytest.mark.thorough
def test_when_much_of_the_time_is_over_only_the_first_backend_is_compiled(model: Path) -> None:
    job = slow_job(model, Slow("compiling with xgboost", seconds=6.0), budget_s=12.0)
    assert [report.backend for report in job.compilation] == ["xgboost"]
    assert any(
        skipped.name == "onnxruntime" and "were used before it was its turn" in skipped.reason
        for skipped in job.skipped
    )


@pytest.mark.thorough
def test_traffic_in_phases_may_come_with_a_rate_which_then_decides(model: Path) -> None:
    job = servefit.right_size(
        model,
        phases=[servefit.Phase(duration_in_seconds=1, initial_number_of_users=2, spawn_rate=60)],
        model_latency_thresholds=[servefit.ModelLatencyThreshold(percentile="P97.5", value_in_milliseconds=500)],
        max_invocations=6000,
        **ONE_TEST,
    )
    assert job.request.job_type == "Advanced"
    assert job.best is not None
    assert job.best.trial.capacity.loop == "closed"
    assert job.best.trial.at_rate is not None
    assert "p97.5" in job.best.trial.at_rate.latency_ms


@pytest.mark.thorough
@pytest.mark.timed
def test_stairs_end_once_more_users_are_not_served_more_unless_told_to_go_on(model: Path) -> None:
    # On a machine whose speed drifts it may take a while until two levels in a row are no faster than those before.
    stairs = servefit.Stairs(duration_in_seconds=1, number_of_steps=20, users_per_step=2)
    asked = {**ONE_TEST, "stairs": stairs, "batch_sizes": [1]}
    stopped = servefit.right_size(model, **asked)
    assert stopped.best is not None
    assert stopped.best.trial.stopped == "flat"
    stairs = servefit.Stairs(duration_in_seconds=1, number_of_steps=6, users_per_step=2)
    whole = servefit.right_size(
        model, **{**asked, "stairs": stairs, "job_name": "whole", "flat_invocations": "Continue"}
    )
    assert whole.best is not None
    assert whole.best.trial.stopped is None
