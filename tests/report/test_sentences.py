"""The answer of a job: without a recommendation, and with one that has no figure."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.measured import measured
from tests.report.jobs import SLA
from tests.report.story import BEGAN_AT, MODEL, PAYLOAD, PROFILES, Story, configuration, simulated_host

from servefit.cli.job_output import exit_status
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.report.sentences import cost_text, evidence, headline, hindrances, hourly_text, reasons, takes_text
from servefit.search.jobs.document import job_document
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.results.choices import Preference
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.recommendation import Skipped
from servefit.search.storage.header import JobHeader, JobState, JobStatus
from servefit.search.storage.ownership import Owner

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.evidence.limits import Verdict

WINNER = configuration("forest")


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
    owner = Owner.this_process(time.time()) if runs else None
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
    owner = Owner.this_process(time.time()) if runs else None
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


@pytest.mark.thorough
@pytest.mark.integration
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


@pytest.mark.integration
def test_what_has_no_price_costs_vcpu_seconds_and_energy_where_it_is_known() -> None:
    best = next(job.best for job in measured().jobs if job.best is not None and job.best.cost_per_hour is None)
    assert cost_text(best).partition(" a million")[0].endswith(" vCPU-s")
    drawn = replace(best.trial.judged, package_power_w=10.0)
    powered = replace(best, trial=replace(best.trial, capacity=drawn, at_rate=best.trial.at_rate and drawn))
    assert cost_text(powered).endswith(" J a million")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """A job that has tested two configurations, of which WINNER is the better one."""
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    story = Story.of(JobRequest(name="fraud", sla=SLA))
    story.compiles("xgboost", "forest")
    for tested in (configuration("xgboost"), WINNER):
        story.tests(tested)
    return story


def told(story: Story, **state: Any) -> RecommendationJob:
    return RecommendationJob.of(story.header, JobState(status="COMPLETED", elapsed_s=20.0, **state), story.steps)


@pytest.mark.parametrize(
    ("count", "name", "vcpus", "takes"),
    [
        (1, "local-1c", 1, "1 of the machine's 4 CPUs"),
        (2, "local-2c", 2, "4 of the machine's 4 CPUs"),
        (5, "local-2c", 2, "3 such machines"),
        (2, "local-4c", 4, "2 such machines"),
        (3, "c5.large", 2, "6 vCPUs"),
    ],
)
def test_what_a_rate_takes_is_told_in_cpus_and_machines_of_the_user(
    story: Story, count: int, name: str, vcpus: int, takes: str
) -> None:
    trial = replace(story.tests(WINNER, kind="confirmation"), instance_count=count)
    best = told(story).best
    assert best is not None
    profile = InstanceProfile(name=name, vcpus=vcpus, memory_bytes=2**30)
    asked = replace(best, trial=trial, profile=profile, cost_per_hour=None, measured_on=simulated_host())
    assert takes_text(asked) == takes
    assert f"it takes {takes}" in cost_text(asked)


def test_what_was_measured_after_it_had_won_is_called_measured(story: Story) -> None:
    confirmed = story.tests(WINNER, kind="confirmation")
    job = told(story)
    assert headline(job).startswith("P95 <= 20 ms at 500 requests/s is met: deploy local-1c as a library with forest")
    assert "Measured p50 16" in headline(job)
    assert f"over {confirmed.judged.samples:,} requests; it can answer" in headline(job)
    best = job_document(job)["recommendations"][0]
    assert (best["confirmed"], best["not_confirmed_because"]) == (True, None)
    assert exit_status(job) == 0


def test_requests_of_several_rows_are_told_with_their_number(story: Story) -> None:
    trial = story.tests(WINNER, kind="confirmation")
    best = told(story).best
    assert best is not None
    assert f"over {trial.judged.samples:,} requests of 14 rows; it can" in evidence(best, rows_per_request=14)
    predicted = replace(best, trial=replace(best.trial, basis="predicted"))
    assert "at 500 requests/s of 14 rows, and that it can" in evidence(predicted, rows_per_request=14)


def test_what_was_not_measured_again_is_said_to_be_a_single_test(story: Story) -> None:
    for nth_round in range(3):
        story.tests(WINNER, kind="confirmation", nth_round=nth_round)
    job = told(story)
    assert headline(job).startswith("P95 <= 20 ms at 500 requests/s is met: deploy local-1c as a library with forest")
    assert "Measured" not in headline(job)
    assert f"In a single test of {job.trials[1].judged.samples:,} requests: p50 1" in headline(job)
    best = job_document(job)["recommendations"][0]
    assert (best["confirmed"], best["not_confirmed_because"]) == (False, "it was not measured again")
    assert exit_status(job) == 0


@pytest.mark.parametrize("saturated", [False, True])
def test_of_what_cannot_serve_the_rate_no_times_are_compared(story: Story, saturated: bool) -> None:
    naive = configuration("xgboost")
    story.tests(WINNER, kind="confirmation", nth_round=0)
    trial = story.tests(naive, kind="confirmation", nth_round=0)
    assert trial.at_rate is not None
    at_rate = replace(trial.at_rate, saturated=saturated, throughput_per_s=381.0)
    story.steps[-1] = replace(story.steps[-1], result=replace(trial, at_rate=at_rate))
    (said,) = [line for line in reasons(told(story, naive=naive)) if line.startswith("Against the naive default")]
    assert ("times as fast by p95" in said) != saturated
    assert said.endswith("it does not keep up, and answers 381 of 500 requests/s.") == saturated


def test_that_the_machine_got_in_the_way_of_the_confirmation_is_the_answer(story: Story) -> None:
    story.tests(WINNER, kind="confirmation", steal_percent=7.5)
    job = told(story)
    said = headline(job)
    assert said.startswith(
        "P95 <= 20 ms at 500 requests/s could not be confirmed, since the machine got in the way: the best by a single "
        "test is local-1c as a library with forest, 1 worker x 1 thread."
    )
    assert "Measured" not in said
    assert "is met" not in said
    assert f"In a single test of {job.trials[1].judged.samples:,} requests: p50 1" in said
    assert "When it was measured again, the hypervisor took 7.5 % of the CPU time, 1 % are allowed: measure on" in said
    assert "Then run the job again, or add --allow-noise (3 tests in 20 s)." in said
    best = job_document(job)["recommendations"][0]
    assert (best["verdict"], best["confirmed"]) == ("PASS", False)
    assert best["not_confirmed_because"].startswith("the machine got in the way of the second measurement: ")
    assert exit_status(job) == 5


def test_where_every_test_was_disturbed_no_figure_is_called_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    story = Story.of(JobRequest(name="fraud", sla=SLA))
    story.compiles("forest")
    for kind in ("load_test", "confirmation"):
        story.tests(WINNER, kind=kind, steal_percent=7.5)
    job = told(story)
    said = headline(job)
    assert said.startswith(
        "No measurement is reliable: the best of what was measured is local-1c as a library with forest"
    )
    assert "Measured" not in said
    assert "In a disturbed test of " in said
    assert "The hypervisor took 7.5 % of the CPU time, 1 % are allowed: measure on a machine, or at a time" in said
    assert exit_status(job) == 5


def test_what_fails_undisturbed_fails_although_it_could_not_be_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    story = Story.of(JobRequest(name="fraud", sla=Sla(thresholds=parse_sla("p95=1us"), rate_per_s=500.0)))
    story.compiles("forest")
    story.tests(WINNER)
    story.tests(WINNER, kind="confirmation", steal_percent=7.5)
    job = told(story)
    assert headline(job).startswith("Nothing measured meets p95 <= 1 us at 500 requests/s: nearest is local-1c")
    assert "Measured" not in headline(job).partition("\n")[2]
    assert exit_status(job) == 3


def test_what_two_profiles_cost_is_compared_in_cpus_unless_both_have_a_price(story: Story) -> None:
    job = told(story)
    best = job.best
    assert best is not None
    larger = replace(best.profile, name="m5.large", vcpus=2, price_per_hour=0.115)

    def said(profile: InstanceProfile, cost_per_hour: float | None, verdict: Verdict = "PASS") -> str:
        mine = replace(best, profile=replace(best.profile, price_per_hour=cost_per_hour), cost_per_hour=cost_per_hour)
        mine = replace(mine, trial=replace(mine.trial, verdict=verdict))
        rival = replace(best, profile=profile, cost_per_hour=profile.price_per_hour)
        preferred = Preference(rival=rival, by="price", figures=None)
        told_of = replace(job, recommendations=(mine,), why=replace(job.why, choices=(preferred,)))
        return next(line for line in reasons(told_of) if line.startswith("Not "))

    assert said(larger, 0.05).endswith("on m5.large: $0.115 an hour instead of $0.05 an hour.")
    assert said(larger, None).endswith("on m5.large: 2 vCPUs instead of 1 vCPU.")
    assert said(larger, None, "UNDECIDED").endswith(
        "on m5.large: 2 vCPUs instead of 1 vCPU, and that it meets the SLA is only predicted."
    )
    assert said(replace(larger, price_per_hour=None, vcpus=1), 0.05).endswith("on m5.large: it has no price.")
