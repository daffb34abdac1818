"""What requests cost in an endpoint is measured once, where that is deployed and there is time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.simulation.endpoint import EndpointCosts

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable

pytestmark = pytest.mark.usefixtures("unforeseen")

COSTS = EndpointCosts(
    request_ns=50_000.0,
    call_ns=20_000.0,
    after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(10_000.0,)),),
    rows=1,
    request_bytes=100,
)


def request_of(**asked: Any) -> JobRequest:
    return JobRequest(name="job", sla=Sla(rate_per_s=500.0), **{"budget_s": 60.0, **asked})


def test_it_is_measured_by_the_quickest_backend_once_calls_are_timed_and_before_any_test(
    table: MakeTable, search: MakeSearch
) -> None:
    bench = table(request_of(), costs=COSTS)
    found = search(bench)
    found.carry_out()
    [(subject, timed, tested)] = bench.surveyed
    assert subject == found.survey.quickest()
    assert (timed, tested) == (len(bench.timed), 0)
    assert timed > 0
    assert found.costs == COSTS


def test_predictions_are_of_the_endpoint_from_then_on(table: MakeTable, search: MakeSearch) -> None:
    known, unknown = (search(table(request_of(), costs=costs)) for costs in (COSTS, None))
    for found in (known, unknown):
        found.carry_out()
    assert known.surrogate.costs == COSTS
    assert unknown.surrogate.costs is None
    assert unknown.recommendations(), "tests do without"


@pytest.mark.parametrize("asked", [{"deploy": "library"}, {"over_http": False}])
def test_a_library_has_no_endpoint(table: MakeTable, search: MakeSearch, asked: dict[str, Any]) -> None:
    bench = table(request_of(**asked), costs=COSTS)
    search(bench).carry_out()
    assert bench.surveyed == []


def test_what_an_earlier_job_measured_is_not_measured_again(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(), costs=COSTS)
    found = search(bench, costs=COSTS)
    found.carry_out()
    assert bench.surveyed == []
    assert found.surrogate.costs == COSTS


def test_it_is_left_out_where_it_would_take_the_time_of_the_first_test(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=8.0), costs=COSTS)
    found = search(bench)
    found.carry_out()
    assert bench.surveyed == []
    assert found.recommendations()


def test_where_everything_is_tested_nothing_has_to_be_predicted(table: MakeTable, search: MakeSearch) -> None:
    bench = table(request_of(budget_s=1000.0), sizes=(1, 16), vcpus=(1,), costs=COSTS)
    search(bench).carry_out()
    assert bench.surveyed == []
