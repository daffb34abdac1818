"""What the time of a job was spent on, as a sentence and as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.report.story import Story, configuration

from servefit.report.time_spent import time_plot, time_sentences, time_spent
from servefit.search.jobs.job import RecommendationJob
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.results.recommendation import Trial
from servefit.search.storage.header import JobState

if TYPE_CHECKING:
    from pathlib import Path

WINNER = configuration("forest")


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Of a job that compiled for 2 s and put a winner under load."""
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    made = Story.of(JobRequest(name="fraud", sla=Sla(rate_per_s=500.0)))
    made.compiles("forest", seconds=2.0)
    made.tests(WINNER)
    return made


def job_of(story: Story) -> RecommendationJob:
    return RecommendationJob.of(story.header, JobState(status="COMPLETED", elapsed_s=40.0), tuple(story.steps))


def test_each_kind_of_step_has_its_seconds_and_what_is_left_is_all_else(story: Story) -> None:
    job = job_of(story)
    spent = time_spent(job)
    assert list(spent) == ["compiling", "tests", "all else"]
    assert spent["compiling"] == pytest.approx(2.0)
    assert sum(spent.values()) == pytest.approx(job.elapsed_s)
    assert [tuple(row) for row in time_plot(job).table.rows] == list(spent.items())


def test_the_sentence_names_what_took_a_second_and_the_traffic_of_the_winner(story: Story) -> None:
    (sentence,) = time_sentences(job_of(story))
    assert sentence.startswith("The time went to: 2 s compiling, ")
    assert "the figures are of" in sentence
    assert sentence.endswith("of traffic at 500/s.")


def test_a_turn_of_the_best_is_told_apart_from_the_confirmation(story: Story) -> None:
    last = story.steps[-1]
    assert isinstance(last.result, Trial)
    story.steps[-1] = replace(last, kind="confirmation", result=replace(last.result, round=0))
    assert "the best in turns" in time_spent(job_of(story))
    story.steps[-1] = replace(last, kind="confirmation")
    assert "the winner again" in time_spent(job_of(story))


def test_steps_at_the_same_time_are_said_to_be_so(story: Story) -> None:
    story.steps.append(replace(story.steps[0], number=3))
    (sentence,) = time_sentences(job_of(story))
    assert sentence.startswith("The steps, some at the same time, took: 4 s compiling, ")
    assert time_spent(job_of(story))["all else"] > 0


def test_nothing_is_said_of_a_job_that_has_not_begun(story: Story) -> None:
    story.steps.clear()
    assert list(time_sentences(job_of(story))) == []
