"""Reports of all kinds of jobs in Chromium: everything is drawn, and can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.report.probes import OVERFLOW, PLOTS, SMALL_TEXT, TOOLBARS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator
    from tests.report.conftest import Opened, OpenReport

pytestmark = pytest.mark.integration

TESTED = {"compilation-seconds", "latency-throughput", "pareto-cost", "search-order", "timeline-plot"}
SEARCHED = TESTED - {"compilation-seconds"} | {"compilation-speedup", "search-expected", "search-importance"}

DRAWN: dict[str, set[str]] = {
    "measured": TESTED - {"pareto-cost"} | {"pareto-vcpus"},
    "over-http": SEARCHED,
    "unmet": SEARCHED,
    "with-failures": TESTED - {"compilation-seconds"} | {"compilation-speedup"},
    "one-profile": SEARCHED,
    "without-prices": SEARCHED - {"pareto-cost"} | {"pareto-vcpus"},
    "unmeasurable": set(),
    "unfinished": TESTED | {"search-expected"},
    "in-phases": SEARCHED - {"compilation-speedup"} | {"compilation-seconds"},
    "on-a-gpu": SEARCHED,
    "without-samples": SEARCHED - {"timeline-plot"},
}
"""The plots that there are of each kind of job, at least."""

OVER_TIME = {"answered per s", "p50 ms", "users", "CPU %", "memory MiB"}
MORE_OVER_TIME = {"over-http": {"offered per s", "p95 ms", "overhead p50 ms"}, "on-a-gpu": {"GPU %"}}
"""What there is to see of a load test, of all kinds of jobs and of some."""

BUTTONS = {
    "Download plot as a PNG", "Zoom", "Pan", "Box Select", "Lasso Select", "Zoom in", "Zoom out", "Autoscale",
    "Reset axes",
}  # fmt: skip
"""What the toolbar of a plot may offer: the browser does all of it by itself."""

DAILY = ("over-http", "unmeasurable")
"""Kinds with all plots, and with none."""

MIN_PX = 12
MIN_HEIGHT_PX = 100


@pytest.fixture(
    scope="module",
    params=[kind if kind in DAILY else pytest.param(kind, marks=pytest.mark.thorough) for kind in DRAWN],
)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def opened(kind: str, open_report: OpenReport) -> Iterator[Opened]:
    """The report of a kind of job, for all tests of it; each leaves the window as it found it."""
    found = open_report(kind)
    yield found
    found.page.context.close()


@pytest.mark.thorough
def test_a_report_opens_without_errors_and_makes_no_request(opened: Opened) -> None:
    assert opened.messages == []
    assert opened.requests == [opened.address]
    assert opened.page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)") == []


def test_every_plot_is_drawn_and_says_what_there_is_to_see(opened: Opened, kind: str) -> None:
    plots = {plot["id"]: plot for plot in opened.page.evaluate(PLOTS)}
    assert plots.keys() >= DRAWN[kind]
    for name, plot in plots.items():
        assert plot["traces"], name
        assert all(trace["points"] for trace in plot["traces"]), name
        assert plot["width"] >= 300, name
        assert plot["height"] >= MIN_HEIGHT_PX, name
    assert all(len(plot["caption"]) > 20 for plot in plots.values()), plots


def test_no_button_of_a_plot_sends_it_anywhere(opened: Opened) -> None:
    toolbars = opened.page.evaluate(TOOLBARS)
    assert {button for toolbar in toolbars for button in toolbar["buttons"]} <= BUTTONS
    assert all("Download plot as a PNG" in toolbar["buttons"] for toolbar in toolbars)
    assert [toolbar["links"] for toolbar in toolbars] == [[]] * len(toolbars)
    assert {toolbar["server"] for toolbar in toolbars} <= {""}


@pytest.mark.thorough
def test_every_plot_has_a_table_of_its_figures(opened: Opened) -> None:
    for plot in opened.page.evaluate(PLOTS):
        drawn = {number for trace in plot["traces"] for number in trace["numbers"]}
        missing = {
            value for value in drawn if not any(value == pytest.approx(cell, rel=1e-4) for cell in plot["cells"])
        }
        assert drawn, plot["id"]
        assert not missing, plot["id"]


@pytest.mark.thorough
def test_every_load_test_can_be_seen_over_time(opened: Opened, kind: str) -> None:
    chooser, figures = opened.page.locator("#timeline select"), opened.page.locator("#timeline tbody tr")
    seen: set[str] = set()
    for step in chooser.locator("option").all():
        chooser.select_option(step.get_attribute("value"))
        (plot,) = (plot for plot in opened.page.evaluate(PLOTS) if plot["id"] == "timeline-plot")
        assert all(trace["numbers"] for trace in plot["traces"])
        assert figures.count() >= 10
        seen |= {trace["name"] for trace in plot["traces"]}
    assert seen >= (OVER_TIME | MORE_OVER_TIME.get(kind, set()) if "timeline-plot" in DRAWN[kind] else set())


def test_a_load_test_that_is_chosen_again_is_written_as_it_was(opened: Opened, kind: str) -> None:
    chooser, figures = opened.page.locator("#timeline select"), opened.page.locator("#timeline tbody tr")
    if chooser.count():
        first, before = chooser.input_value(), figures.all_text_contents()
        for option in ("0", first):
            chooser.select_option(option)
        assert figures.all_text_contents() == before


@pytest.mark.thorough
def test_a_report_fits_into_a_phone_and_a_desktop_and_its_text_can_be_read(
    opened: Opened, kind: str, screenshots: Path
) -> None:
    page = opened.page
    try:
        for width in (1440, 375):
            page.set_viewport_size({"width": width, "height": 900})
            _let_plots_settle(opened)
            page.screenshot(path=screenshots / f"{kind}-{width}-light.png", full_page=True)
            _assert_readable(opened)
        _open_all(opened)
        _assert_readable(opened)
    finally:
        page.set_viewport_size({"width": 1440, "height": 900})
    _let_plots_settle(opened)
    _assert_readable(opened)
    assert opened.messages == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind",
    [
        "without-prices",
        *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("with-failures", "unfinished")),
    ],
    indirect=True,
)
def test_a_column_is_sorted_by_a_click_numbers_as_numbers_and_what_is_not_known_last(opened: Opened) -> None:
    table = _longest_table(opened)
    for header in table.locator("thead th").all():
        nth = int(header.evaluate("header => header.cellIndex"))
        for direction in ("ascending", "descending"):
            header.locator("button").click()
            assert header.get_attribute("aria-sort") == direction
            _assert_sorted(_cells(table, nth), descending=direction == "descending")
    assert table.locator("th[aria-sort]").count() == 1


def _assert_readable(opened: Opened) -> None:
    assert opened.page.evaluate(OVERFLOW) == []
    assert opened.page.evaluate(SMALL_TEXT, MIN_PX) == []
    assert all(plot["height"] >= MIN_HEIGHT_PX for plot in opened.page.evaluate(PLOTS))


def _let_plots_settle(opened: Opened) -> None:
    """Plots follow the window a moment later."""
    opened.page.wait_for_function(
        """() => [...document.querySelectorAll('.js-plotly-plot')].every(
            plot => Math.abs(plot.querySelector('.main-svg').getBoundingClientRect().width
                - plot.parentElement.clientWidth) < 30)"""
    )


def _open_all(opened: Opened) -> None:
    opened.page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true; })")


def _longest_table(opened: Opened) -> Locator:
    _open_all(opened)
    tables = opened.page.locator("table.sortable")
    lengths = tables.evaluate_all("tables => tables.map(table => table.rows.length * table.rows[0].cells.length)")
    return tables.nth(lengths.index(max(lengths)))


def _cells(table: Locator, nth: int) -> list[Any]:
    """The cells of a column: numbers where they say that they are, None for a dash, else text."""
    cells: list[Any] = table.evaluate(
        """(table, nth) => [...table.tBodies[0].rows].map(row => {
            const cell = row.cells[nth];
            if (cell.textContent === '-') return null;
            return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
        })""",
        nth,
    )
    return cells


def _assert_sorted(cells: list[Any], *, descending: bool) -> None:
    known = [cell for cell in cells if cell is not None]
    assert cells == [*known, *[None] * (len(cells) - len(known))]
    if all(isinstance(cell, float | int) for cell in known):
        assert known == sorted(known, reverse=descending)
