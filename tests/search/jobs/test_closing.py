"""The winner of a job that deploys the library is measured over HTTP too, as the endpoint that it would be."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.jobs import over_http
from tests.short_durations import short_durations

import servefit
from servefit.cli.job_output import exit_status
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles
from servefit.profiler.record.types import Configuration
from servefit.search.jobs import closing
from servefit.search.jobs.document import job_document
from servefit.search.jobs.job import JobInterrupted, RecommendationJob
from servefit.search.jobs.lifecycle import load_job, resume_job
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.optimizer.slowness import Slowness
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import Trial

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("state_of_module", "short")]

ASKED = JobRequest(
    name="served",
    deploy="library",
    profiles=("local-1c",),
    backends=("xgboost",),
    batch_sizes=(4,),
    sla=Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=400.0),
    max_tests=1,
    allow_noise=True,
)


@pytest.fixture(scope="module")
def job(model: Path) -> RecommendationJob:
    """A job that is interrupted when its winner is about to be measured over HTTP, and taken up again."""

    class Impatient(SilentProgress):
        def stage(self, text: str, at: Moment | None = None) -> None:
            if text == "measuring the winner over HTTP":
                raise KeyboardInterrupt

    with short_durations():
        with pytest.raises(JobInterrupted):
            servefit.recommend(model, request=ASKED, progress=Impatient())
        return resume_job("served", progress=SilentProgress())


@pytest.fixture(scope="module")
def met(state_of_module: None) -> RecommendationJob:
    """A job whose winner meets the SLA, over HTTP too: nobody measured it."""
    over_http("met")
    return load_job("met")


def endpoint(job: RecommendationJob) -> Trial:
    assert job.best is not None
    assert job.best.endpoint is not None
    return job.best.endpoint


def served_as(job: RecommendationJob, **found: Any) -> RecommendationJob:
    """The job, had the measurement over HTTP found something else."""
    steps = [
        replace(step, result=replace(endpoint(job), **found)) if step.kind == "endpoint" else step for step in job.steps
    ]
    return RecommendationJob.of(job.header, job.state, steps)


@pytest.mark.timed
@pytest.mark.thorough
def test_the_winner_is_measured_over_http_and_the_latency_of_the_model_told_from_the_overhead(
    job: RecommendationJob,
) -> None:
    trial = endpoint(job)
    judged = trial.judged
    assert (trial.driver, judged.loop) == ("http", "open")
    assert trial.verdict in {"PASS", "UNDECIDED"}, "the load is short"
    assert judged.model_latency_ms is not None
    assert judged.overhead_ms is not None
    response, inside, outside = judged.latency_ms["p50"], judged.model_latency_ms["p50"], judged.overhead_ms["p50"]
    assert response is not None
    assert inside is not None
    assert outside is not None
    assert 0 < inside < response
    assert 0 < outside < response
    assert not judged.errors


@pytest.mark.timed
@pytest.mark.thorough
def test_the_latency_of_the_model_and_the_overhead_are_in_the_document(job: RecommendationJob) -> None:
    (found,) = job_document(job)["recommendations"]
    judged = endpoint(job).judged
    assert (found["deployment"], found["driver"]) == ("library", "inprocess")
    assert found["model_alone"] is None, "all other figures are of that"
    assert found["overhead_latency_ms"] == found["endpoint"]["overhead_latency_ms"] == judged.overhead_ms
    assert found["endpoint"]["model_latency_ms"] == judged.model_latency_ms
    assert found["endpoint"]["driver"] == "http"


@pytest.mark.timed
@pytest.mark.thorough
def test_the_measurement_over_http_is_a_step_of_its_own_and_counts_as_no_test(job: RecommendationJob) -> None:
    assert [step.kind for step in job.steps if step.status == "COMPLETED"][-1] == "endpoint"
    assert job.tests <= 1
    assert endpoint(job) not in job.trials


@pytest.mark.thorough
def test_a_winner_that_needs_every_cpu_is_not_measured_and_the_job_says_why(model: Path) -> None:
    largest = max(local_profiles(describe_host()), key=lambda profile: profile.vcpus)
    job = servefit.recommend(model, request=replace(ASKED, name="largest", profiles=(largest.name,)))
    assert job.best is not None
    assert job.best.endpoint is None
    assert any("not measured over HTTP" in warning and "load client" in warning for warning in job.warnings)


def test_time_is_only_left_for_it_where_it_can_be_measured() -> None:
    host = replace(describe_host(), cpus=tuple(LogicalCpu(cpu=cpu, core=cpu) for cpu in range(2)))
    small, large = Configuration(vcpus=1, backend="b"), Configuration(vcpus=2, backend="b")
    asked = JobRequest(name="j", deploy="library", sla=Sla(rate_per_s=10))
    idle = Clock(limit_s=inf, test_limit=inf)
    least_s = closing.min_duration_s(asked, idle)
    assert closing.closing_s(small, host, asked, idle) == least_s > 0
    assert closing.closing_s(large, host, asked, idle) == 0
    assert closing.closing_s(small, host, replace(asked, over_http=False), idle) == 0
    slow = Clock(limit_s=inf, test_limit=inf, slowness=Slowness(3.0))
    assert closing.closing_s(small, host, asked, slow) > least_s + 3
    # Where the endpoint is deployed it is the model alone that is left: of what was predicted that was measured before.
    endpoint = replace(asked, deploy="endpoint")
    assert 0 < closing.closing_s(small, host, endpoint, idle) < least_s
    assert closing.closing_s(large, host, endpoint, idle) == 0
    hurried = Clock(limit_s=least_s / 2, test_limit=inf, is_given=False)
    assert str(closing.why_not(small, host, asked, hurried)).startswith("the default budget of ")
    assert closing.why_not(small, host, asked, idle) is None
    assert closing.why_not(large, host, asked, idle) == (
        "its 2 vCPUs leave none of this host's 2 CPUs to a load client"
    )


def test_a_library_that_meets_the_sla_does_so_whatever_its_endpoint_would_do(met: RecommendationJob) -> None:
    assert exit_status(met) == 0
    late = served_as(met, verdict="FAIL", reason="p95 is 700 ms")
    assert exit_status(late) == 0
    assert f"over HTTP {met.request.sla} is not met: p95 is 700 ms" in late.warnings


def test_what_else_http_changes_is_said(met: RecommendationJob) -> None:
    def new_warnings(**found: Any) -> list[str]:
        return [warning for warning in served_as(met, **found).warnings if warning not in met.warnings]

    assert new_warnings(instance_count=3)[0].startswith("over HTTP it takes 3 instances where the model alone takes 1:")
    (disturbed,) = new_warnings(verdict="INVALID", reason="a neighbour")
    assert disturbed == "the measurement over HTTP is not to be believed: a neighbour"
    trial = endpoint(met)
    assert trial.at_rate is not None
    failing = replace(trial.at_rate, errors={"status 503": 7})
    assert new_warnings(at_rate=failing) == ["7 requests failed over HTTP: status 503"]
