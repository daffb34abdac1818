"""Text of other people in a report is shown as text, and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.report.jobs import HOSTILE

if TYPE_CHECKING:
    from tests.report.conftest import Opened, OpenReport

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def opened(open_report: OpenReport) -> Opened:
    return open_report("with-failures")


def test_hostile_text_does_not_run(opened: Opened) -> None:
    page = opened.page
    page.evaluate("() => document.querySelectorAll('details').forEach(details => { details.open = true; })")
    for step in page.locator("#timeline option").all():
        page.locator("#timeline select").select_option(step.get_attribute("value"))
    assert page.evaluate("() => window.hostile === undefined")
    assert page.locator("img[src=x]").count() == 0
    assert opened.messages == []
    assert opened.requests == [opened.address]


def test_hostile_text_is_shown_unchanged_in_every_section(opened: Opened) -> None:
    page = opened.page
    begin = HOSTILE[:44]
    for section in ("answer", "compilation", "search", "host", "reproduce"):
        assert begin in page.locator(f"#{section}").evaluate("element => element.textContent"), section
    assert "49 ${7 * 7}" not in page.content()


def test_what_a_worker_said_is_shown_to_its_end(opened: Opened) -> None:
    failures = opened.page.locator("#search td").all_text_contents()
    said = [text for text in failures if "killed by SIGSEGV" in text]
    assert len(said) >= 2
    assert all("]]>" in text and "&amp; & {{ 7 * 7 }}" in text for text in said)


def test_names_with_markup_keep_it_in_plots_and_tables(opened: Opened) -> None:
    name = "rack <b>7</b> & 'co'"
    assert name in opened.page.locator("#recommendations td").all_text_contents()
    assert opened.page.locator("svg a[href], svg b").count() == 0
