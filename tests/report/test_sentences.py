"""The answer of a job: without a recommendation, and with one that has no figure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance.measured import measured
from tests.report.story import BEGAN_AT, MODEL, PAYLOAD, PROFILES, simulated_host

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.report.sentences import cost_text, headline, hindrances, hourly_text
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


def test_a_price_is_said_with_its_currency_where_and_when_it_is_that() -> None:
    profile = InstanceProfile(name="c5.large", vcpus=2, memory_bytes=2**30, price_per_hour=0.085)
    assert hourly_text(0.17, profile) == "$0.17 an hour"
    abroad = replace(profile, currency="EUR", region="eu-west-1", price_date="2026-11-02")
    assert hourly_text(0.17, abroad) == "0.17 EUR an hour, in eu-west-1, as of 2026-11-02"


def test_what_has_no_price_costs_vcpu_seconds_and_energy_where_it_is_known() -> None:
    best = next(job.best for job in measured().jobs if job.best is not None and job.best.cost_per_hour is None)
    assert cost_text(best).partition(" a million")[0].endswith(" vCPU-s")
    drawn = replace(best.trial.judged, package_power_w=10.0)
    powered = replace(best, trial=replace(best.trial, capacity=drawn, at_rate=best.trial.at_rate and drawn))
    assert cost_text(powered).endswith(" J a million")
