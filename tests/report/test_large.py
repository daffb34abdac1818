"""The report of a job of 200 tests: small enough to send, and quick to open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from tests.report.jobs import MANY_TESTS
from tests.report.probes import PLOTS

if TYPE_CHECKING:
    from tests.report.conftest import OpenReport, Reports

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

MAX_BYTES = 2_000_000
MAX_SECONDS = 2.0
ATTEMPTS = 3


def test_a_report_of_200_tests_is_below_two_megabytes(reports: Reports) -> None:
    assert reports.job("large").tests == MANY_TESTS
    assert reports.html("large").stat().st_size < MAX_BYTES


def test_a_report_of_200_tests_is_open_within_two_seconds(open_report: OpenReport, reports: Reports) -> None:
    """At the third attempt at last: what else the machine does is none of the report's making. Then it can be read and
    used, and its first plot is there; the others are drawn after that, in half of that time at most."""
    reports.html("large")
    open_report("unmeasurable")
    opened_s: list[float] = []
    drawn_s: list[float] = []
    while len(opened_s) < ATTEMPTS and min(opened_s, default=MAX_SECONDS) >= MAX_SECONDS:
        begin = time.perf_counter()
        page = open_report("large").page
        drawn_s.append(time.perf_counter() - begin)
        opened_s.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000)
        points = [trace["points"] for plot in page.evaluate(PLOTS) for trace in plot["traces"]]
        assert sum(points) > MANY_TESTS
    assert min(opened_s) < MAX_SECONDS
    assert min(drawn_s) < 1.5 * MAX_SECONDS


def test_the_text_of_a_report_is_shown_within_one_second_and_another_step_at_once(open_report: OpenReport) -> None:
    page = open_report("large").page
    painted = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert page.evaluate(painted) < 1000 * MAX_SECONDS / 2
    chooser = page.locator("#timeline select")
    assert chooser.locator("option").count() == MANY_TESTS
    begin = time.perf_counter()
    chooser.select_option(index=MANY_TESTS // 2)
    page.wait_for_function(
        """() => document.querySelector('#timeline tbody td') !== null
            && document.querySelector('#timeline .js-plotly-plot').data[0].y.length > 0"""
    )
    assert time.perf_counter() - begin < 1.0
