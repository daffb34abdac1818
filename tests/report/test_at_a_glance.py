"""The six columns: what is deployed, its cost, its rate and latency, and marks on what was predicted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.conformance.measured import JOBS, measured, with_nothing_known

from servefit.report.at_a_glance import glance_table

if TYPE_CHECKING:
    from servefit.report.table import Table
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation


def job(name: str) -> RecommendationJob:
    return measured().jobs[JOBS.index(name)]


def of_the_first(job: RecommendationJob, **changes: Any) -> Table:
    """The table of the first recommendation alone, with ``changes``."""
    return glance_table(replace(job, recommendations=(replace(job.recommendations[0], **changes),)))


def changed(found: Recommendation, *, per_s: float = 700_000.0, p95_ms: float = 0.05926) -> dict[str, Any]:
    """The fields of a recommendation of three instances with these figures."""
    judged = replace(
        found.trial.judged, latency_ms={"p95": p95_ms}, latency_ms_ci95={"p95": (0.0501, 0.0702)}, loop="open"
    )
    capacity = replace(found.trial.capacity, throughput_per_s=per_s / 3)
    trial = replace(found.trial, at_rate=judged, capacity=capacity, instance_count=3, verdict="PASS")
    return {"trial": trial, "max_invocations": 60 * per_s}


@pytest.mark.integration
@pytest.mark.parametrize("name", JOBS)
def test_every_job_has_six_columns(name: str) -> None:
    table = glance_table(job(name))
    assert [*table.columns[:2], *table.columns[3:]] == ["profile", "backend and shape", "max rate", "p95", "SLA"]
    assert table.columns[2] in ("cost an hour", "cost a million")
    assert len(table.rows) == len(job(name).recommendations) > 0
    assert all(cell is None or isinstance(cell, str) for row in table.rows for cell in row)


@pytest.mark.integration
def test_figures_are_of_all_instances_in_units_that_fit_with_the_digits_that_they_are_worth() -> None:
    asked = job("over-http")
    found = asked.recommendations[0]
    table = of_the_first(asked, cost_per_hour=0.045, cost_per_inference=1e-9, **changed(found))
    assert table.columns[2] == "cost an hour"
    ((profile, _, cost, rate, p95, verdict),) = table.rows
    assert (profile, cost, rate, p95, verdict) == (f"3 x {found.profile.name}", "4.5 cents", "0.7 M/s", "59 us", "PASS")


@pytest.mark.integration
def test_where_a_profile_has_no_price_a_million_inferences_cost_vcpu_seconds() -> None:
    asked = job("in-phases")
    found = asked.recommendations[0]
    fields = changed(found, per_s=3e6)
    vcpus = found.trial.configuration.vcpus
    table = of_the_first(asked, cost_per_hour=None, cost_per_inference=None, **fields)
    assert table.columns[2] == "cost a million"
    assert table.rows[0][2] == f"{vcpus} vCPU-s"  # an instance answers a million a second
    priced = of_the_first(asked, cost_per_hour=0.045, cost_per_inference=6.17e-11, **fields)
    assert priced.rows[0][2] == "0.0062 cents"


@pytest.mark.integration
def test_at_a_rate_without_prices_the_cost_is_the_vcpus_of_all_instances() -> None:
    asked = job("over-http")
    found = asked.recommendations[0]
    table = of_the_first(asked, trial=replace(found.trial, instance_count=3), cost_per_hour=None)
    assert (table.columns[2], table.rows[0][2]) == ("takes", f"{3 * found.profile.vcpus} vCPUs")


@pytest.mark.integration
def test_profiles_that_share_a_measurement_are_one_row_that_of_the_cheapest_in_its_currency() -> None:
    asked = job("over-http")
    found = asked.recommendations[0]

    def of(name: str, price_per_hour: float) -> Recommendation:
        profile = replace(found.profile, name=name, price_per_hour=price_per_hour, currency="EUR")
        fields = changed(found) | {"cost_per_hour": 3 * price_per_hour, "cost_per_inference": 1e-9}
        return replace(found, profile=profile, same_as=("c5.large",), **fields)

    shared = replace(asked, recommendations=(of("m5.large", 0.1), of("c5.large", 0.08)))
    ((profile, _, cost, *_),) = glance_table(shared).rows
    assert (profile, cost) == ("3 x c5.large", "0.24 EUR")


@pytest.mark.integration
@pytest.mark.parametrize(("deployment", "said"), [("endpoint", "as an endpoint"), ("library", "as a library")])
def test_the_title_says_what_is_deployed(deployment: str, said: str) -> None:
    assert of_the_first(job("over-http"), deployment=deployment).title == f"Recommendations {said}, best first"


@pytest.mark.integration
def test_what_was_predicted_is_marked_and_the_title_says_so() -> None:
    asked = job("over-http")
    fields = changed(asked.recommendations[0])
    table = of_the_first(asked, **fields | {"trial": replace(fields["trial"], basis="predicted")})
    assert table.rows[0][3:5] == ("~ 0.7 M/s", "~ 59 us")
    assert table.title is not None
    assert table.title.endswith("best first (~ predicted)")


@pytest.mark.integration
def test_what_is_not_known_is_no_text() -> None:
    asked = job("over-http")
    nothing = replace(asked, recommendations=(with_nothing_known(asked.recommendations[0]),))
    ((_, _, _, rate, p95, _),) = glance_table(nothing).rows
    assert (rate, p95) == ("0/s", None)


@pytest.mark.integration
def test_a_job_without_limits_has_no_verdicts() -> None:
    asked = [each for each in measured().jobs if each.request.sla.asks_nothing]
    assert all(row[-1] is None for each in asked for row in glance_table(each).rows)
