"""The text form of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.search.autoscaling.test_scale import CONFIGURATION, job

from servefit.api.job import Job

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial


def test_a_job_is_printed_as_its_name_its_status_and_the_answer(trial: MakeTrial) -> None:
    opened = Job.from_results(job(trial(CONFIGURATION)))
    assert repr(opened) == str(opened)
    assert repr(opened) == "<Job fraud, COMPLETED: Deploy small as a library with treelite, 1 worker x 1 thread>"


def test_a_job_without_an_answer_is_printed_on_a_line_too() -> None:
    assert repr(Job.from_results(job(status="FAILED"))) == (
        "<Job fraud, FAILED: Nothing could be measured (0 tests in 0 s)>"
    )
