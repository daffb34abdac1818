"""Endpoints that can only be predicted, and the time that it takes to learn with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.search.optimizer.search.test_endpoints import COSTS

from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable

    from servefit.profiler.record.types import Configuration

pytestmark = pytest.mark.usefixtures("unforeseen")


def takes_all_cpus(configuration: Configuration) -> bool:
    return configuration.vcpus == 4


def test_with_time_the_costs_of_an_endpoint_are_measured_first_and_everything_may_be_tried(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(JobRequest(name="job", budget_s=60.0), predicted=takes_all_cpus, costs=COSTS)
    search(bench).carry_out()
    surveyed, _, tested = bench.surveyed[0]
    assert (surveyed.workers, surveyed.settings.threads, tested) == (1, 1, 0)
    assert any(takes_all_cpus(configuration) for configuration in bench.of_kind("load test"))


def test_with_time_finalists_are_predicted_with_the_costs_of_their_own_backends(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(JobRequest(name="job", budget_s=120.0), predicted=lambda _: True, costs=COSTS, seed=3)
    search(bench).carry_out()
    finalists = {configuration.backend for configuration in bench.of_kind("round")} - {"reference"}
    surveyed = {subject.backend for subject, _, _ in bench.surveyed}
    assert finalists
    assert finalists <= surveyed


@pytest.mark.parametrize("budget_s", [3.0, 10.0])
def test_without_the_time_for_that_what_can_be_measured_is_tried(
    table: MakeTable, search: MakeSearch, budget_s: float
) -> None:
    bench = table(JobRequest(name="job", budget_s=budget_s), predicted=takes_all_cpus)
    found = search(bench)
    found.carry_out()
    assert bench.surveyed == []
    assert found.recommendations()
    assert not any(takes_all_cpus(configuration) for _, configuration in bench.measured)


def test_where_all_has_to_be_predicted_that_is_learnt_first_however_short_the_time(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(JobRequest(name="job", budget_s=10.0), predicted=lambda _: True, costs=COSTS)
    found = search(bench)
    found.carry_out()
    assert len(bench.surveyed) == 1
    assert found.recommendations()
