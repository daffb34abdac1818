"""What is recommended of a class of hosts: what its plan relies on, and nothing else where there is such."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.report.story import Story, configuration

from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.storage.header import JobState, PlanRequest

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.results.recommendation import Trial

SLOWER, FASTER = configuration("xgboost"), configuration("forest")


def story(planned: bool) -> Story:
    """Two configurations were tested, of which the slower was confirmed."""
    request = JobRequest(name=f"fraud-{planned}", sla=Sla(rate_per_s=500.0, thresholds=parse_sla("p95=50ms")))
    told = Story.of(request, plan=PlanRequest() if planned else None)
    for tested in (SLOWER, FASTER):
        told.tests(tested)
    told.tests(SLOWER, kind="confirmation")
    return told


def recommended(told: Story) -> Trial:
    best = RecommendationJob.of(told.header, JobState(status="COMPLETED"), told.steps).best
    assert best is not None
    return best.trial


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def test_what_was_confirmed_is_recommended_in_a_plan_and_the_best_elsewhere() -> None:
    assert recommended(story(planned=False)).configuration == FASTER
    found = recommended(story(planned=True))
    assert (found.configuration, found.verdict) == (SLOWER, "PASS")


def test_a_rate_that_was_not_held_does_not_count_against_a_lower_one_that_was() -> None:
    told = story(planned=True)
    held = recommended(told)
    assert held.asked_per_s is not None
    told.tests(SLOWER, kind="confirmation")
    told.steps[-1] = replace(told.steps[-1], result=replace(held, verdict="FAIL", asked_per_s=2 * held.asked_per_s))
    assert recommended(told) == held


def test_where_nothing_was_confirmed_the_best_is_recommended_as_ever() -> None:
    told = story(planned=True)
    told.steps.pop()
    assert recommended(told).configuration == FASTER
