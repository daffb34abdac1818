"""A job in a notebook."""

from __future__ import annotations

from dataclasses import replace
from html import unescape
from typing import TYPE_CHECKING

import pytest

from servefit.api.job import Job
from servefit.report.notebook import MAX_ROWS
from servefit.showing import MAX_LETTERS

if TYPE_CHECKING:
    from tests.report.conftest import Reports

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", ["measured", "unmet", "unmeasurable", "without-prices"])
def test_a_job_is_shown_as_its_answer_with_a_table_of_the_recommendations(reports: Reports, kind: str) -> None:
    job = Job.from_results(reports.job(kind))
    shown = job._repr_html_()
    assert shown.startswith("<div>")
    assert shown.count("<table") == (1 if job.recommendations else 0)
    for recommendation in job.recommendations:
        assert f"<td>{recommendation.profile.name}</td>" in shown
    for warning in job.warnings:
        assert warning in unescape(shown)


def test_a_job_with_many_recommendations_and_warnings_is_cut_short(reports: Reports) -> None:
    job = Job.from_results(reports.job("measured"))
    many = replace(job, recommendations=job.recommendations * 500, warnings=("x" * 100_000,) * 1000)
    shown = many._repr_html_()
    assert len(shown) < 100_000
    assert f"{500 * len(job.recommendations) - MAX_ROWS:} more are in job.recommendations" in shown
    assert "1000 warnings" in shown
    assert len(repr(many)) <= MAX_LETTERS


def test_what_comes_from_a_job_is_text(reports: Reports) -> None:
    assert "<script" not in Job.from_results(reports.job("with-failures"))._repr_html_()
