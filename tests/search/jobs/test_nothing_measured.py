"""Jobs that end without a single test: each says why."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.jobs.conftest import Slow, slow_job

import servefit
from servefit.search.jobs.job import JobInterrupted
from servefit.search.jobs.lifecycle import resume_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.sla import Sla
from servefit.search.storage.steps import OUT_OF_TIME

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.jobs.conftest import Install

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Moment

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

ASKED: dict[str, Any] = {
    "job_name": "job",
    "supported_instance_types": ["local-1c"],
    "backends": ["xgboost"],
    "batch_sizes": [1],
    "max_tests": 2,
    "allow_noise": True,
    "over_http": False,
}


class Interrupting(SilentProgress):
    """Interrupts the job when a stage begins."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            raise KeyboardInterrupt


def reason(job: RecommendationJob) -> str:
    """The warning that says why nothing was measured."""
    assert (job.status, job.tests) == ("FAILED", 0)
    (said,) = (warning for warning in job.warnings if warning.startswith("nothing was measured"))
    return said


@pytest.mark.thorough
@pytest.mark.timed
@pytest.mark.usefixtures("install")
def test_a_time_that_turns_out_too_little_is_kept_and_the_job_says_what_is_enough(model: Path) -> None:
    job = slow_job(model, Slow("compiling", seconds=4.0), backends=("xgboost",), budget_s=6.0)
    assert job.trials == ()
    assert job.status == "FAILED"
    assert re.fullmatch(
        r"nothing was measured: opening the model and compiling took [4-9](\.\d)? s of the budget of 6 s; "
        r"use --budget \d+s or more",
        reason(job),
    )
    assert not [step for step in job.steps if step.reason == OUT_OF_TIME and step.kind == "compilation"]


@pytest.mark.usefixtures("install")
def test_a_time_that_is_too_little_for_the_cycle_of_arrivals_alone_is_told(model: Path) -> None:
    # With 2.25 s left there is time for a test, but not for one that takes in a whole cycle.
    job = slow_job(
        model,
        Slow("measuring", until_s=27.45),
        backends=("xgboost",),
        budget_s=30.0,
        sla=Sla(rate_per_s=100.0),
        arrivals="sine:period=1s",
    )
    assert re.match(
        r"nothing was measured: opening the model and compiling took \d+(\.\d)? s of the budget of 30 s; use --budget",
        reason(job),
    )


def test_a_backend_that_has_no_configuration_for_the_profile_is_named(install: Install, model: Path) -> None:
    install("wide", knobs="(Knob(name='threads', values=(64,)),)")
    job = servefit.right_size(model, job_duration_in_seconds=60, **{**ASKED, "backends": ["wide"]})
    assert reason(job) == (
        "nothing was measured: there was no configuration of wide for local-1c to test; name other backends or profiles"
    )


@pytest.mark.thorough
def test_a_job_whose_backend_is_broken_when_it_is_taken_up_again_says_so(
    install: Install, model: Path, tmp_path: Path
) -> None:
    install("fleeting")
    with pytest.raises(JobInterrupted):
        servefit.right_size(
            model,
            progress=Interrupting("measuring"),
            job_duration_in_seconds=60,
            **{**ASKED, "backends": ["fleeting"]},
        )
    shutil.rmtree(tmp_path / "home" / "artifacts")
    install("fleeting", compiling="raise ImportError('a library has moved')")
    job = resume_job("job", progress=SilentProgress())
    assert (job.status, job.tests) == ("FAILED", 0)
    assert any(
        "fleeting was compiled before the job was taken up again, and cannot be now" in one for one in job.warnings
    )
