"""The first screen of a report says what to deploy, and shows why."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from tests.report.probes import OVERFLOW, PLOTS
from tests.report.reading import Page as ReadPage

from servefit.report.against import against_plots, rivals
from servefit.report.contents import Section
from servefit.report.page import to_html
from servefit.report.plot import Axis, Plot, Series
from servefit.report.rate_curve import headroom_text, rate_plot
from servefit.report.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser
    from playwright.sync_api import Page as BrowserPage
    from tests.report.conftest import OpenReport, Reports

pytestmark = pytest.mark.thorough

SCREEN_PX = 900
PHONE_PX = 375
MAX_BYTES = 1_500_000

SEEN = """selector => {
    const seen = [...document.querySelectorAll(selector)].filter(element => element.checkVisibility());
    return seen.map(element => element.getBoundingClientRect()).map(box => [box.left, box.top, box.right, box.bottom]);
}"""
"""Where the visible elements are that a selector finds: left, top, right and bottom."""


@pytest.fixture(scope="module")
def desktop(open_report: OpenReport) -> BrowserPage:
    """The report of a job that searched, for all tests of it; each may scroll it."""
    return open_report("over-http").page


@pytest.fixture(scope="module")
def phone(open_report: OpenReport) -> BrowserPage:
    """The same on a phone."""
    return open_report("over-http", width=PHONE_PX).page


@pytest.mark.integration
def test_the_first_screen_has_the_sentence_the_curve_the_bars_the_cards_and_the_command(
    desktop: BrowserPage, reports: Reports
) -> None:
    page = desktop
    page.evaluate("() => window.scrollTo(0, 0)")
    charts = [f"#{name} .chart .main-svg" for name in ("latency-rate", "against-throughput", "against-p95")]
    for selector in (".sentence", ".key-figures", *charts, ".card h3", "#code-command"):
        found = page.evaluate(SEEN, selector)
        assert found, selector
        assert all(top >= 0 and bottom <= SCREEN_PX for _, top, _, bottom in found), (selector, found)
    command = page.locator("#code-command").inner_text()
    assert command == "servefit serve over-http"
    best = reports.job("over-http").best
    assert best is not None
    assert best.profile.name in page.locator(".sentence").inner_text()


@pytest.mark.integration
def test_the_cards_describe_the_model_and_the_host(reports: Reports) -> None:
    cards = {card.title: dict(card.facts) for card in reports.report("over-http").cards}
    assert (
        cards["Model"].items()
        >= {
            "format": "xgboost-ubjson",
            "trees": "1,300, depth 8",
            "features": "30",
            "size": "10.4 MB",
        }.items()
    )
    assert cards["Measured on"]["processor"] == "Imaginary 9000"
    answer = ReadPage.read(reports.html("over-http")).sections["answer"]
    assert "1,300, depth 8" in answer
    assert "Imaginary 9000" in answer


@pytest.mark.integration
def test_the_file_of_a_model_is_dated_unless_it_was_changed_since(reports: Reports) -> None:
    job = reports.job("measured")
    facts = dict(reports.report("measured").cards[0].facts)
    saved, measured_on = facts["saved"], dict(reports.report("measured").cards[1].facts)["date"]
    assert saved == measured_on
    assert job.model.source.endswith(facts["file"])
    assert "saved" not in dict(reports.report("over-http").cards[0].facts)


@pytest.mark.integration
def test_the_curve_marks_the_limit_the_rate_asked_and_the_room_above_it(reports: Reports) -> None:
    job = reports.job("over-http")
    with reports.at_home():
        plot = rate_plot(job)
    assert plot is not None
    limit, asked, highest = plot.guides
    assert (limit.along, limit.at, limit.kind) == ("y", 20.0, "limit")
    assert (asked.along, asked.at, asked.kind) == ("x", 500.0, "mark")
    assert "highest, estimated" in highest.label
    assert [(band.low, band.high) for band in plot.bands] == [(asked.at, highest.at)]
    assert headroom_text(asked.at, highest.at) in plot.caption


@pytest.mark.integration
def test_what_is_estimated_is_apart_from_what_was_measured(reports: Reports) -> None:
    with reports.at_home():
        plot = rate_plot(reports.job("over-http"))
    assert plot is not None
    by_name = {series.name: series for series in plot.series}
    estimated, measured = by_name["estimated by simulation"], by_name["measured"]
    assert (estimated.predicted, measured.predicted) == (True, False)
    assert not estimated.low
    assert all(low is not None for low in measured.low)
    rows = [dict(zip(plot.table.columns, row, strict=True)) for row in plot.table.rows]
    assert {row["from"] for row in rows if row["samples"] is None} == {"estimated"}
    assert [row["requests per s"] for row in rows if row["from"] == "estimated"] == list(estimated.x)


@pytest.mark.integration
@pytest.mark.parametrize(
    "kind",
    [
        *("unmet", "without-prices", "without-samples"),
        *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("in-phases", "unfinished")),
    ],
)
def test_every_recommendation_has_a_curve(reports: Reports, kind: str) -> None:
    with reports.at_home():
        plot = rate_plot(reports.job(kind))
    assert plot is not None
    assert plot.has_points


@pytest.mark.integration
def test_where_the_limit_is_broken_the_curve_has_what_was_measured_alone(reports: Reports) -> None:
    with reports.at_home():
        plot = rate_plot(reports.job("unmet"))
    assert plot is not None
    assert not any(series.predicted for series in plot.series)
    assert "estimated" not in plot.caption
    assert plot.bands == ()


@pytest.mark.integration
def test_disturbed_measurements_are_told_from_the_others(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    job = reports.job("one-profile")
    assert job.best is not None
    best = replace(job.best, trial=msgspec.structs.replace(job.best.trial, verdict="INVALID"))
    disturbed = replace(job, recommendations=(best,), trials=(best.trial,))
    with reports.at_home():
        plot = rate_plot(disturbed)
    assert plot is not None
    assert [series.name for series in plot.series] == ["measured, but disturbed", "measured at full load"]


@pytest.mark.integration
def test_without_a_recommendation_there_is_neither_a_curve_nor_a_command(reports: Reports) -> None:
    report = reports.report("unmeasurable")
    assert (report.glance.plots, report.command, report.key_figures) == ((), None, ())
    assert [card.title for card in report.cards] == ["Model", "Measured on"]


@pytest.mark.integration
def test_bars_are_means_of_the_rounds_that_were_measured_in_turns(reports: Reports) -> None:
    job = reports.job("over-http")
    found = {rival.name: rival for rival in rivals(job)}
    assert list(found) == ["recommended", "runner-up", "naive default"]
    for rival in found.values():
        rounds = [
            trial for trial in job.trials if trial.configuration == rival.configuration and trial.round is not None
        ]
        logs = [log(trial.capacity.throughput_per_s) for trial in rounds]
        assert rival.capacity_per_s == pytest.approx(exp(sum(logs) / len(logs)))
        assert rival.rounds == len(rounds) == 3
        assert rival.load == "at the rate asked"
    assert job.best is not None
    assert found["recommended"].p95_ms == pytest.approx(job.best.trial.judged.latency_ms["p95"])
    naive = job.why.naive
    assert naive is not None
    assert found["naive default"].configuration == naive.configuration
    # At a rate, the two are compared by their p95 there, and not by what the bars show.
    assert naive.ratio.metric == "p95 latency"


@pytest.mark.integration
def test_a_recommendation_that_was_measured_alone_has_no_bars(reports: Reports) -> None:
    assert against_plots(reports.job("one-profile")) == ()


@pytest.mark.parametrize(
    ("asked", "highest", "text"),
    [
        (500.0, 615.0, "23 % above the rate asked"),
        (500.0, 1000.0, "2 times the rate asked"),
        (500.0, 413_000.0, "826 times the rate asked"),
    ],
)
def test_headroom_is_told_in_per_cent_or_in_times(asked: float, highest: float, text: str) -> None:
    assert headroom_text(asked, highest) == text


@pytest.mark.thorough
@pytest.mark.integration
def test_predicted_bars_are_hatched_and_named(browser: Browser, reports: Reports, tmp_path: Path) -> None:
    bars = Plot(
        name="against-throughput",
        title="Answered",
        caption="Some of it was measured, and some predicted.",
        x=Axis(title="per s"),
        y=Axis(title=""),
        horizontal=True,
        small=True,
        series=(
            Series(name="measured", x=[300.0], y=["naive default"], labels=["300/s"], drawn_as="bars"),
            Series(name="predicted", x=[700.0], y=["recommended"], labels=["700/s"], drawn_as="bars", predicted=True),
        ),
        table=Table(title="Answered", columns=("configuration", "per s"), rows=[("naive default", 300.0)]),
    )
    report = replace(reports.report("over-http"), glance=Section(name="glance", title="Why", plots=(bars,)))
    (tmp_path / "report.html").write_text(to_html(report))
    page = browser.new_page(viewport={"width": 1440, "height": SCREEN_PX})
    try:
        page.goto((tmp_path / "report.html").as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        traces: list[dict[str, Any]] = page.evaluate(
            """() => document.querySelector('#against-throughput .js-plotly-plot').data.map(
                trace => ({name: trace.name, shape: trace.marker.pattern?.shape ?? '', legend: trace.showlegend}))"""
        )
        shown = page.locator("#against-throughput .legend").text_content()
    finally:
        page.close()
    assert traces == [
        {"name": "measured", "shape": "", "legend": True},
        {"name": "predicted", "shape": "/", "legend": True},
    ]
    assert shown is not None
    assert "measured" in shown
    assert "predicted" in shown


@pytest.mark.integration
def test_a_report_is_smaller_than_one_and_a_half_megabytes(reports: Reports) -> None:
    assert reports.html("over-http").stat().st_size < MAX_BYTES


@pytest.mark.integration
def test_the_page_may_not_turn_text_into_code_and_draws_all_the_same(desktop: BrowserPage, reports: Reports) -> None:
    assert "unsafe-eval" not in reports.html("over-http").read_text().partition("</head>")[0]
    assert all(plot["traces"] for plot in desktop.evaluate(PLOTS))


@pytest.mark.integration
def test_the_page_has_the_licence_of_what_draws(reports: Reports) -> None:
    html = reports.html("unmeasurable").read_text()
    assert "Permission is hereby granted, free of charge" in html
    assert "Copyright (c) 2016-2024 Plotly Technologies Inc." in html


@pytest.mark.integration
@pytest.mark.parametrize(
    "kind",
    ["over-http", *(pytest.param(kind, marks=pytest.mark.thorough) for kind in ("with-failures", "without-prices"))],
)
def test_a_phone_shows_sla_cost_rate_and_p95_without_scrolling_sideways(
    open_report: OpenReport, phone: BrowserPage, kind: str
) -> None:
    page = phone if kind == "over-http" else open_report(kind, width=PHONE_PX).page
    assert page.evaluate(OVERFLOW) == []
    figures = page.evaluate(SEEN, ".key-figures > div")
    assert all(left >= 0 and right <= PHONE_PX for left, _, right, _ in figures)
    names = page.locator(".key-figures dt").all_inner_texts()
    cost = "vCPU-s per million" if kind == "without-prices" else "$/million"
    assert {*([] if kind == "without-prices" else ["SLA", "rate asked"]), cost, "max a minute", "p95"} <= set(names)


@pytest.mark.integration
def test_a_phone_shows_them_of_every_recommendation_too(phone: BrowserPage) -> None:
    table = "#recommendations table[data-table=recommendations_best_first]"
    wanted = ["profile", "SLA", "$/million", "max a minute", "p95 ms"]
    assert phone.locator(f"{table} thead th").all_inner_texts()[: len(wanted)] == wanted
    for row in phone.locator(f"{table} tbody tr").all():
        for cell in row.locator("td").all()[: len(wanted)]:
            box = cell.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE_PX, cell.inner_text()


@pytest.mark.integration
@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_the_first_column_stays_when_a_table_is_scrolled_sideways(request: pytest.FixtureRequest, screen: str) -> None:
    page: BrowserPage = request.getfixturevalue(screen)
    region = page.locator(".scroll", has=page.locator("table[data-table=all_tests]"))
    region.scroll_into_view_if_needed()
    assert region.evaluate("region => region.scrollWidth > region.clientWidth")
    for selector in ("thead th", "tbody td"):
        first, second = (
            region.locator(f"{selector}:nth-child(1)").first,
            region.locator(f"{selector}:nth-child(2)").first,
        )
        region.evaluate("region => { region.scrollLeft = 0; }")
        before, moved_from = first.bounding_box(), second.bounding_box()
        region.evaluate("region => { region.scrollLeft = 150; }")
        after, moved_to = first.bounding_box(), second.bounding_box()
        assert before is not None
        assert after is not None
        assert moved_from is not None
        assert moved_to is not None
        assert after["x"] == pytest.approx(before["x"], abs=1.5)
        assert moved_to["x"] < moved_from["x"] - 50
        on_top = first.evaluate(
            """cell => { const box = cell.getBoundingClientRect();
                const found = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
                return cell === found || cell.contains(found); }"""
        )
        assert on_top
    title = region.locator("caption span").bounding_box()
    assert title is not None
    assert title["x"] >= 0
    assert page.evaluate(OVERFLOW) == []
