"""The report of a job on a fleet: its plan, what other rates would cost, and what each class of hosts found."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.fleets import FAILING, LARGE, SMALL, fleet_job
from tests.report.probes import OVERFLOW, PLOTS
from tests.report.reading import Page

from servefit.annexes.fleet.jobs import print_fleet_job
from servefit.annexes.fleet.report import fleet_report_of
from servefit.annexes.fleet.report_plots import cost_plot
from servefit.cli.output import OutputFormat
from servefit.report.page import to_html
from servefit.report.plotly_figure import plotly_figure
from servefit.report.writing import report_text
from servefit.search.fleet.plan.fleet_plan import NotCarried
from servefit.search.fleet.plan.rate_costs import RateCost, RateCosts
from servefit.search.storage.header import PlanRequest
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.report.conftest import OpenReport, Reports

    from servefit.report.contents import Report
    from servefit.report.plot import Series

pytestmark = pytest.mark.integration

PAGE = "fleet"


@pytest.fixture(scope="module")
def report(reports: Reports) -> Report:
    return fleet_report_of(fleet_job(reports))


@pytest.fixture(scope="module")
def page(reports: Reports, report: Report) -> Path:
    path = reports.state / f"{PAGE}.html"
    path.write_text(to_html(report))
    return path


def test_a_fleet_is_reported_with_its_hosts_their_weights_and_their_shares(page: Path) -> None:
    table = Page.read(page).tables["the_fleet"]
    rows = {
        row[0].text: {name: cell.value or 0 for name, cell in zip(table.columns, row, strict=True)}
        for row in table.rows
    }
    assert {name: (row["hosts"], row["of"]) for name, row in rows.items()} == {LARGE: (2, 3), SMALL: (1, 4)}
    large, small = rows[LARGE], rows[SMALL]
    assert large["weight"] / small["weight"] == pytest.approx(1000 / 300, rel=1e-3)
    assert 2 * large["share %"] + small["share %"] == pytest.approx(100)


def test_the_answer_says_what_each_lost_host_does_and_why_a_class_is_left_out(report: Report) -> None:
    assert report.answer == "2,200 requests/s are carried by 2 x large, 1 x small: 2.4 an hour, 3 hosts."
    assert report.verdict == "PASS"
    assert [line.partition(" the others")[0] for line in report.reasons[:2]] == [
        "Without 1 x large",
        "Without 1 x small",
    ]
    assert f"Left out: {FAILING}; its verdict is FAIL." in report.reasons
    assert ("best of one class", "3 an hour", "3 x large") in report.key_figures


def points_of(series: Series) -> dict[Any, Any]:
    return dict(zip(series.x, series.y, strict=True))


def test_cost_is_drawn_against_rate_with_one_class_beside_it_and_the_rate_asked_marked(report: Report) -> None:
    (plot,) = report.glance.plots
    series = {each.name: each for each in plot.series}
    cheapest, alone, plan = (series[name] for name in ("cheapest fleet", "best of one class", "the plan"))
    assert points_of(plan) == {2200: pytest.approx(2.4)}
    assert points_of(alone)[2200] == pytest.approx(3)
    assert max(points_of(cheapest)) == 4200
    assert max(points_of(alone)) == 3000
    assert cheapest.joined == "stairs"
    (asked,) = plot.guides
    assert (asked.at, asked.label) == (2200, "asked: 2,200/s")
    assert "Above 3,000/s no class that was confirmed carries the rate by itself." in plot.caption


def test_plotly_draws_the_same_steps(report: Report) -> None:
    pytest.importorskip("plotly")
    traces = {trace.name: trace for trace in plotly_figure(report.glance.plots[0]).data}
    assert (traces["cheapest fleet"].mode, traces["cheapest fleet"].line.shape) == ("lines+markers", "vh")
    assert traces["the plan"].mode == "markers"


@pytest.mark.thorough
def test_the_curve_appears_in_a_browser_and_nothing_is_fetched(page: Path, open_report: OpenReport) -> None:
    assert page.exists()
    opened = open_report(PAGE)
    (drawn,) = opened.page.evaluate(PLOTS)
    assert drawn["id"] == "fleet-cost"
    assert {trace["name"] for trace in drawn["traces"]} == {"cheapest fleet", "best of one class", "the plan"}
    assert all(trace["points"] for trace in drawn["traces"])
    assert opened.messages == []
    assert opened.requests == [opened.address]
    assert opened.page.evaluate("() => window.hostile") is None
    assert open_report(PAGE, width=375).page.evaluate(OVERFLOW) == []


def test_the_sections_of_classes_say_what_was_found_and_how_all_of_it_is_read(page: Path) -> None:
    read = Page.read(page)
    assert "servefit report farm --host large-0 -o large-0.html" in read.sections["class-1"]
    assert (
        "A host was confirmed to carry 1,000 requests/s, as local-1c, forest 1 x 1, batch 1" in read.sections["class-1"]
    )
    assert "class_3_recommendations_as_an_endpoint_best_first" in read.tables
    assert [row[0].text for row in read.tables["classes_of_hosts"].rows] == [LARGE, SMALL, FAILING]
    assert len(read.tables["hosts"].rows) == 9


@pytest.mark.thorough
def test_json_and_csv_carry_the_figures_of_the_page(reports: Reports) -> None:
    report = fleet_report_of(fleet_job(reports))
    document = json.loads(report_text(report, "json"))
    (asked,) = [row for row in document["tables"]["cost_by_rate"] if row["requests/s, up to"] == 2200]
    assert asked["cheapest fleet"] == "2 x large, 1 x small"
    assert (asked["cost, an hour"], asked["cost of one class, an hour"]) == (pytest.approx(2.4), pytest.approx(3))
    assert document["job"]["plan"]["fleet"]["cost"] == pytest.approx(2.4)
    assert document["job"]["plan"]["left_out"] == {FAILING: "its verdict is FAIL"}
    assert [each["name"] for each in document["job"]["classes"]] == [LARGE, SMALL, FAILING]
    rows = list(csv.DictReader(io.StringIO(report_text(report, "csv"))))
    assert {"the_fleet", "cost_by_rate", "classes_of_hosts", "hosts"} <= {row["table"] for row in rows}


def test_a_plan_that_was_not_proven_to_be_the_cheapest_is_printed_with_a_warning(
    reports: Reports, capsys: pytest.CaptureFixture[str]
) -> None:
    job = fleet_job(reports)
    with time_limit(lambda: 0.0):
        print_fleet_job(job, OutputFormat.JSON, wide=False)
    printed = capsys.readouterr()
    plan = json.loads(printed.out)["plan"]
    (warning,) = plan["warnings"]
    assert plan["fleet"]["cost"] == pytest.approx(2.4)
    assert "another one may be cheaper by" in warning
    assert warning in " ".join(printed.err.split())


def test_a_rate_that_is_not_carried_is_reported_with_what_is(reports: Reports) -> None:
    report = fleet_report_of(fleet_job(reports, rate_per_s=5000.0, plan=PlanRequest(spare=1)))
    assert report.verdict == "FAIL"
    assert report.answer.startswith("5,000 requests/s are not carried after the loss of any 1")
    assert ("rate carried", "3,200/s", "by 7 hosts") in report.key_figures
    (plot,) = report.glance.plots
    assert max(points_of(plot.series[1])) == 3200
    assert [guide.at for guide in plot.guides] == [5000]
    assert report.command is None
    assert "plan" not in {section.name for section in report.sections}


def test_a_rate_far_above_what_is_carried_does_not_press_the_curve_together() -> None:
    point = RateCost(rate_per_s=4200, hosts=((LARGE, 3),), cost=3, one_class=None, one_class_cost=None)
    costs = RateCosts(points=(point,), gap=0.02)
    plan = NotCarried(rate_per_s=90_000, spare=0, most_hosts=5, hosts=5, carries_per_s=4200)
    plot = cost_plot(costs, plan, "cost")
    assert plot.guides == ()
    assert plot.caption == (
        "The cheapest hosts that carry a rate, at most 5 hosts, and the cheapest of one class. The hosts of a point "
        "carry every rate up to its own. No class that was confirmed carries such a rate by itself. The hosts that "
        "were confirmed carry 4,200/s at most. Others may be cheaper by 2 % at most."
    )


@pytest.mark.thorough
def test_by_their_number_hosts_are_drawn_and_no_cost_is_named(reports: Reports) -> None:
    report = fleet_report_of(fleet_job(reports, plan=PlanRequest(least="hosts")))
    (plot,) = report.glance.plots
    assert plot.title == "Hosts by rate"
    assert plot.y.whole
    assert not any("cost" in column for column in plot.table.columns)


def test_without_a_rate_and_before_hosts_are_timed_the_report_says_so(reports: Reports) -> None:
    report = fleet_report_of(fleet_job(reports, rate_per_s=None))
    assert report.answer.startswith("No rate was asked for")
    assert (report.verdict, report.glance.plots, report.reasons) == (None, (), ())
    untimed = fleet_report_of(fleet_job(reports, classes=()))
    assert report_text(untimed, "markdown").startswith("# servefit: farm\n\nThe hosts have not been timed yet.")


def test_where_no_class_holds_the_sla_there_is_no_plan_and_the_reason_is_told(reports: Reports) -> None:
    report = fleet_report_of(fleet_job(reports, classes=(FAILING,)))
    assert report.answer == "There is no plan: of no class of hosts was it confirmed that it holds the SLA."
    assert report.reasons == (f"Left out: {FAILING}; its verdict is FAIL.",)
