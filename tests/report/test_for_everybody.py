"""Reports by keyboard, for screen readers, in dark mode, on paper, and without JavaScript."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.probes import (
    COLOURS,
    CONTROLS,
    CUT_OFF,
    FAINT_TEXT,
    FOCUSABLE,
    HEADINGS,
    NAMELESS,
    OVERFLOW,
    SMALL_TEXT,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.report.conftest import Opened, OpenReport, Reports

pytestmark = [pytest.mark.integration, pytest.mark.thorough]

MIN_CONTRAST = 4.5


@pytest.fixture(scope="module", params=["over-http", "with-failures", "unmeasurable"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def opened(kind: str, open_report: OpenReport) -> Iterator[Opened]:
    """With everything unfolded that can be."""
    found = open_report(kind)
    found.page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true; })")
    yield found
    found.page.context.close()


def test_the_document_says_its_language_and_its_name(opened: Opened, kind: str) -> None:
    page = opened.page
    assert page.locator("html").get_attribute("lang") == "en"
    assert kind in page.title()
    assert [page.locator(name).count() for name in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    assert page.evaluate("() => new Set([...document.querySelectorAll('[id]')].map(element => element.id)).size") == (
        page.locator("[id]").count()
    )


def test_headings_leave_no_level_out(opened: Opened) -> None:
    headings = opened.page.evaluate(HEADINGS)
    levels = [level for level, _ in headings]
    assert levels[0] == 1
    assert all(lower <= higher + 1 for higher, lower in pairwise(levels)), headings
    assert all(text for _, text in headings)


def test_every_control_has_a_name_and_is_reached_by_tab(opened: Opened) -> None:
    page = opened.page
    assert page.evaluate(NAMELESS, CONTROLS) == []
    controls = page.evaluate(FOCUSABLE, CONTROLS)
    for _ in controls:
        page.keyboard.press("Tab")
    assert page.evaluate("() => window.reached") == controls


def test_what_has_the_focus_is_seen_to_have_it(opened: Opened) -> None:
    page = opened.page
    for control in ("a[href='#host'], a[href='#compilation']", "summary", "th button", "select"):
        if not page.locator(control).count():
            continue
        page.locator(control).first.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        outline = page.evaluate("() => parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert outline >= 2, control


def test_text_stands_out(opened: Opened) -> None:
    assert opened.page.evaluate(FAINT_TEXT, MIN_CONTRAST) == []


def test_the_dark_changes_the_page_and_its_plots_while_it_is_open(opened: Opened, kind: str, screenshots: Path) -> None:
    page = opened.page
    light = page.evaluate(COLOURS)
    page.emulate_media(color_scheme="dark")
    try:
        dark = _once_plots_have_changed(opened, light)
        page.screenshot(path=screenshots / f"{kind}-1440-dark.png", full_page=True)
        assert page.evaluate(FAINT_TEXT, MIN_CONTRAST) == []
    finally:
        page.emulate_media(color_scheme="light")
    assert _once_plots_have_changed(opened, dark) == light
    assert (dark["page"] != light["page"], dark["ink"] != light["ink"]) == (True, True)
    assert opened.messages == []


def test_paper_is_white_though_the_screen_be_dark_and_leaves_nothing_out(
    opened: Opened, kind: str, screenshots: Path
) -> None:
    page = opened.page
    light = page.evaluate(COLOURS)
    page.emulate_media(color_scheme="dark")
    dark = _once_plots_have_changed(opened, light)
    page.emulate_media(media="print", color_scheme="dark")
    try:
        paper = _once_plots_have_changed(opened, dark)
        page.screenshot(path=screenshots / f"{kind}-print.png", full_page=True)
        cut = page.evaluate(CUT_OFF)
        faint = page.evaluate(FAINT_TEXT, MIN_CONTRAST)
    finally:
        page.emulate_media(media="screen", color_scheme="light")
    assert paper["page"] in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    assert (cut, faint) == ([], [])


def test_the_step_that_is_shown_over_time_is_chosen_by_keyboard(open_report: OpenReport) -> None:
    page = open_report("over-http").page
    chooser = page.locator("#timeline select")
    page.locator("#timeline summary").first.click()
    shown, figures = "() => document.querySelector('#timeline .js-plotly-plot').data[0].y.slice()", "#timeline tbody"
    before, table_before = page.evaluate(shown), page.locator(figures).first.inner_text()
    value = chooser.input_value()
    chooser.focus()
    page.keyboard.press("Home")
    if chooser.input_value() == value:
        page.keyboard.press("ArrowDown")
    assert chooser.input_value() != value
    assert page.evaluate(shown) != before
    assert page.locator(figures).first.inner_text() != table_before


def test_a_column_is_sorted_by_keyboard(opened: Opened) -> None:
    page = opened.page
    button = page.locator("#host th button").first
    header = button.locator("xpath=ancestor::th")
    button.focus()
    for key, direction in (("Enter", "ascending"), ("Space", "descending"), ("Enter", "ascending")):
        page.keyboard.press(key)
        assert header.get_attribute("aria-sort") == direction
    assert page.evaluate("() => document.activeElement.tagName") == "BUTTON"


def test_without_javascript_the_answer_and_every_table_can_be_read(open_report: OpenReport, reports: Reports) -> None:
    page = open_report("over-http", java_script_enabled=False, width=375).page
    answer = page.locator("#answer").inner_text()
    best = reports.job("over-http").best
    assert best is not None
    assert best.profile.name in answer
    assert "is met" in answer
    assert best.id in page.locator("#recommendations").inner_text()
    for folded in page.locator("details").all():
        folded.locator("summary").click()
        assert folded.locator("tbody tr").first.is_visible()


def test_a_phone_in_the_dark_reads_the_same(open_report: OpenReport) -> None:
    page = open_report("with-failures", width=375, color_scheme="dark", device_scale_factor=2).page
    assert page.evaluate(SMALL_TEXT, 12) == []
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate(FAINT_TEXT, MIN_CONTRAST) == []


def _once_plots_have_changed(opened: Opened, before: dict[str, Any]) -> dict[str, Any]:
    """The colours of the page once those of all its plots are other ones than ``before``."""
    opened.page.wait_for_function(
        f"before => ({COLOURS})().plots.every((ink, nth) => ink !== before.plots[nth])", arg=before, timeout=10_000
    )
    colours: dict[str, Any] = opened.page.evaluate(COLOURS)
    return colours
