"""How a notebook shows a job."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.report.conftest import Reports


@pytest.mark.parametrize("kind", ["measured", "unmet", "unmeasurable", "without-prices"])
def test_it_is_the_answer_with_a_table_of_the_recommendations(reports: Reports, kind: str) -> None:
    job = reports.job(kind)
    shown = job._repr_html_()
    assert shown.startswith("<div>")
    assert shown.count("<table") == (1 if job.recommendations else 0)
    for one in job.recommendations:
        assert f"<td>{one.profile.name}</td>" in shown
    for warning in job.warnings:
        assert warning in unescape(shown)


def test_what_comes_from_a_job_is_text(reports: Reports) -> None:
    assert "<script" not in reports.job("with-failures")._repr_html_()
