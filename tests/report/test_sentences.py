"""The answer of a job: without a recommendation, and with one that has no figure."""

from __future__ import annotations

import pytest
from tests.conformance.measured import measured
from tests.report.story import BEGAN_AT, MODEL, PAYLOAD, PROFILES, simulated_host

from servefit.report.sentences import headline, hindrances
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.recommendation import Skipped
from servefit.search.storage.header import JobHeader, JobState, JobStatus
from servefit.search.storage.ownership import Owner


@pytest.mark.parametrize(
    ("status", "runs", "sentence"),
    [
        ("IN_PROGRESS", True, "Nothing has been measured yet (0 tests in 1 s, and goes on)."),
        (
            "IN_PROGRESS",
            False,
            "Nothing has been measured yet (0 tests in 1 s, then cut off: servefit resume fraud goes on).",
        ),
        ("STOPPED", False, "Nothing could be measured (0 tests in 1 s, then stopped)."),
        ("FAILED", False, "Nothing could be measured (0 tests in 1 s)."),
    ],
)
def test_that_nothing_could_be_measured_is_said_of_a_job_that_is_over(
    status: JobStatus, runs: bool, sentence: str
) -> None:
    owner = Owner.this_process() if runs else None
    state = JobState(status=status, elapsed_s=1.0)
    assert headline(RecommendationJob.of(begun(), state, (), owner=owner)) == sentence


@pytest.mark.parametrize(
    ("status", "runs", "reason"),
    [
        ("IN_PROGRESS", True, "its first test has not ended yet"),
        ("IN_PROGRESS", False, "the job was cut off before its first test ended"),
        ("STOPPED", False, "the job was stopped before its first test ended"),
        ("FAILED", False, "lightgbm: it serves LightGBM models"),
    ],
)
def test_a_backend_that_was_left_out_is_no_reason_for_a_job_that_is_not_over(
    status: JobStatus, runs: bool, reason: str
) -> None:
    owner = Owner.this_process() if runs else None
    left_out = Skipped(kind="backend", name="lightgbm", reason="it serves LightGBM models")
    state = JobState(status=status, elapsed_s=1.0, skipped=(left_out,))
    assert hindrances(RecommendationJob.of(begun(), state, (), owner=owner)) == [reason]


def begun() -> JobHeader:
    return JobHeader(
        request=JobRequest(name="fraud"),
        model=MODEL,
        payload=PAYLOAD,
        host=simulated_host(),
        profiles=PROFILES,
        servefit="0.1",
        created_at=BEGAN_AT,
    )


def test_a_recommendation_without_a_figure_is_not_said_to_be_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    met = [job for job in measured().jobs if job.best is not None and job.best.trial.verdict == "PASS"]
    assert met
    for job in met:
        assert "no test shows" not in headline(job).lower()
        objective = objective_of(job.request)
        with monkeypatch.context() as patched:
            patched.setattr(type(objective), "of_trial", lambda *_: None)
            said = headline(job)
        assert f"no test shows {objective.aim}: the simplest is " in said.replace("No", "no")
        assert "deploy" not in said.lower()
        assert "not known" not in said
