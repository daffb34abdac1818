"""The plots of cost against latency: of the asked rate where there is one, else of a million inferences."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.conformance.measured import LESS_EXACT
from tests.report.story import PROFILES, Story, configuration

from servefit import load_job
from servefit.report.at_a_glance import glance_table
from servefit.report.job_plots import pareto_plots
from servefit.report.quality_plot import quality_plot
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.report.plot import Plot
    from servefit.search.jobs.job import RecommendationJob

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("_own_state")]

ONE, TWO = configuration("forest"), configuration("forest", vcpus=2, workers=2)
PRICED = tuple(replace(profile, price_per_hour=0.1 * profile.vcpus) for profile in PROFILES)
LAST_UNPRICED = (*PRICED[:-1], replace(PRICED[-1], price_per_hour=None))


@pytest.fixture
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))


def job(profiles: tuple[InstanceProfile, ...], rate_per_s: float | None) -> RecommendationJob:
    sla = Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=rate_per_s)
    story = Story.of(JobRequest(name="costs", sla=sla), profiles=profiles)
    story.compiles("forest")
    for tested in (ONE, TWO):
        story.tests(tested)
    story.keep()
    return load_job("costs")


def points(plot: Plot) -> list[tuple[float, float]]:
    """Latency and cost of each point, the recommended one last."""
    return [
        (float(x), float(y))
        for series in plot.series
        if series.drawn_as != "line"
        for x, y in zip(series.x, series.y, strict=True)
        if x is not None and y is not None
    ]


def test_at_a_rate_the_cost_is_that_of_all_instances_and_the_recommended_one_is_lowest() -> None:
    (plot,) = pareto_plots(job(PRICED, 200.0))
    assert (plot.name, plot.y.title) == ("pareto-cost", "$/hour")
    assert plot.title == "Cost of 200 requests/s against p95, in $/hour"
    *others, (_, recommended) = points(plot)
    assert recommended == pytest.approx(0.1)
    assert sorted(cost for _, cost in others) == pytest.approx([0.1, 0.2])


def test_without_a_rate_it_is_that_of_a_million_inferences() -> None:
    (plot,) = pareto_plots(job(PRICED, None))
    assert plot.y.title == "$/million"


def test_a_profile_without_a_price_has_its_vcpus_and_hides_no_price_of_others() -> None:
    found = job(LAST_UNPRICED, 200.0)
    in_money, in_vcpus = pareto_plots(found)
    assert (in_money.y.title, in_vcpus.y.title) == ("$/hour", "vCPUs in all")
    assert {cost for _, cost in points(in_vcpus)} == {1, 2}
    assert {row[2] for row in glance_table(found).rows} == {"10 cents", "2 vCPUs"}


@pytest.mark.parametrize(
    ("rate_per_s", "unit", "title"),
    [
        (200.0, "$/hour", "Cost of 200 requests/s against the largest deviation"),
        (None, "$/million", "Cost of a million inferences against the largest deviation"),
    ],
)
def test_quality_is_drawn_against_the_same_cost(rate_per_s: float | None, unit: str, title: str) -> None:
    sla = Sla(thresholds=parse_sla("p95=500ms"), rate_per_s=rate_per_s)
    story = Story.of(JobRequest(name="qualities", sla=sla), profiles=PRICED)
    story.compiles("forest", "xgboost")
    for backend in ("forest", "xgboost"):
        story.tests(configuration(backend, vcpus=2, workers=2))
        story.tests(configuration(backend))
    story.keep()
    kept = load_job("qualities")
    reports = [
        replace(report, quality=LESS_EXACT if report.backend == "xgboost" else None) for report in kept.compilation
    ]
    plot = quality_plot(replace(kept, compilation=tuple(reports)))
    assert plot is not None
    assert (plot.title, plot.y.title) == (title, unit)
    assert {series.name: series.x[0] for series in plot.series} == {"forest": 0.0, "xgboost": 0.4}
    if rate_per_s is not None:  # one CPU carries it
        assert [series.y[0] for series in plot.series] == pytest.approx([0.1, 0.1])
        assert all("1 x 1" in series.labels[0] for series in plot.series)
