"""The queue of an endpoint: what requests cost there beside their predictions, and its laws."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.search.simulation.test_properties import ARRIVALS, services

from servefit.errors import SpecError
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.simulation.endpoint import EndpointCosts, EndpointQueue, queue_of, serve_connections
from servefit.search.simulation.prediction import predict, predict_users

if TYPE_CHECKING:
    from servefit.profiler.queueing.discipline import ServedRequests

MS = 1e6
NO_EXTRA = (AfterIdle(idle_ns=0.0, extra_ns=(0.0,)),)


def costs(
    *, request_ns: float = 10_000.0, call_ns: float = 0.0, client_ns: float = 0.0, after_idle: Any = NO_EXTRA
) -> EndpointCosts:
    return EndpointCosts(
        request_ns=request_ns,
        call_ns=call_ns,
        client_ns=client_ns,
        after_idle=after_idle,
        rows=1,
        request_bytes=100,
    )


@st.composite
def any_costs(draw: st.DrawFn) -> EndpointCosts:
    idle_ns = sorted({0, *draw(st.lists(st.integers(1, 1_000_000), max_size=3))})
    extra_ns = st.lists(st.integers(0, 200_000), min_size=1, max_size=4).map(
        lambda times: tuple(map(float, sorted(times)))
    )
    return costs(
        request_ns=draw(st.floats(1, 100_000)),
        call_ns=draw(st.sampled_from([0.0, 20_000.0])),
        client_ns=draw(st.sampled_from([0.0, 8_000.0])),
        after_idle=tuple(AfterIdle(idle_ns=float(idle), extra_ns=draw(extra_ns)) for idle in idle_ns),
    )


QUEUES = st.builds(
    EndpointQueue,
    costs=any_costs(),
    workers=st.integers(1, 3),
    max_batch=st.integers(1, 5),
    batch_delay_us=st.sampled_from([0, 0, 50, 200, 1000]),
)


def serve(service: ServiceTimes, queue: EndpointQueue, due_ns: np.ndarray) -> ServedRequests:
    drawn = service.draw(
        len(due_ns), most_requests=queue.max_batch, workers=queue.workers, random=np.random.default_rng(0)
    )
    return serve_connections(due_ns, drawn, queue)


@given(services(), QUEUES, ARRIVALS)
def test_every_request_is_served_once_and_not_before_it_is_due(
    service: ServiceTimes, queue: EndpointQueue, due_ns: np.ndarray
) -> None:
    served = serve(service, queue, due_ns)
    assert np.array_equal(served.scheduled_ns, due_ns)
    assert len(served.started_ns) == len(served.ended_ns) == served.batches.sum() == len(due_ns)
    assert np.all((served.batches >= 1) & (served.batches <= queue.max_batch))
    assert np.all(served.started_ns >= due_ns)
    assert np.all(served.ended_ns >= served.started_ns)


@given(services(), QUEUES, ARRIVALS)
def test_a_worker_answers_its_requests_in_the_order_in_which_they_came(
    service: ServiceTimes, queue: EndpointQueue, due_ns: np.ndarray
) -> None:
    alone = replace(queue, workers=1)
    assert np.all(np.diff(serve(service, alone, due_ns).started_ns) >= 0)


@given(services(), QUEUES, ARRIVALS)
def test_work_takes_at_least_what_it_costs_of_all_workers_together(
    service: ServiceTimes, queue: EndpointQueue, due_ns: np.ndarray
) -> None:
    served = serve(service, queue, due_ns)
    costs_ns = len(due_ns) * queue.costs.request_ns + len(served.batches) * queue.costs.call_ns
    # The last answers may be on their way when their worker has done its part.
    latest_ns = served.ended_ns.max() + max(each.extra_ns[-1] for each in queue.costs.after_idle)
    assert queue.workers * (latest_ns - due_ns[0]) >= costs_ns * (1 - 1e-9)


@given(ARRIVALS, st.integers(0, 2_000_000))
def test_with_one_more_request_the_last_answer_is_never_earlier(due_ns: np.ndarray, another_ns: int) -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    queue = EndpointQueue(costs=costs(call_ns=5_000.0))
    more_ns = np.insert(due_ns, np.searchsorted(due_ns, another_ns), another_ns)
    before, after = (serve(constant, queue, due).ended_ns.max() for due in (due_ns, more_ns))
    assert after >= before - 1e-3


def test_what_comes_at_once_takes_the_sum_of_its_costs() -> None:
    batching = ServiceTimes(
        batches=(BatchTimes(requests=1, strata_ns=(100_000.0,)), BatchTimes(requests=4, strata_ns=(160_000.0,)))
    )
    queue = EndpointQueue(costs=costs(request_ns=10_000.0, call_ns=7_000.0), max_batch=4)
    served = serve(batching, queue, np.zeros(12))
    assert served.batches.tolist() == [4, 4, 4]
    assert served.ended_ns.max() == pytest.approx(12 * 10_000 + 3 * (7_000 + 160_000))


def test_what_meets_an_idle_worker_takes_longer_by_how_long_it_was_idle() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    woken = (AfterIdle(idle_ns=0.0, extra_ns=(1_000.0,)), AfterIdle(idle_ns=500_000.0, extra_ns=(60_000.0,)))
    queue = EndpointQueue(costs=costs(after_idle=woken))
    served = serve(constant, queue, np.array([1 * MS, 1.2 * MS, 3 * MS]))
    response_ns = served.ended_ns - served.scheduled_ns
    assert response_ns.tolist() == pytest.approx([40_000 + 60_000, 40_000 + 1_000, 40_000 + 60_000])


def test_a_batch_that_is_not_full_waits_for_others_as_long_as_the_delay() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    queue = EndpointQueue(costs=costs(), max_batch=4, batch_delay_us=1000)
    alone = serve(constant, queue, np.array([1 * MS]))
    assert alone.started_ns[0] - 1 * MS >= 1 * MS
    full = serve(constant, queue, 1 * MS + 10_000.0 * np.arange(4))
    assert full.batches.tolist() == [4]
    assert full.started_ns[0] < 1.2 * MS
    assert EndpointQueue(costs=costs(), batch_delay_us=1000).delay_ns == 0, "there is nobody to wait for"


def test_a_client_reads_answers_that_come_at_once_one_after_the_other() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    due_ns = np.array([1 * MS] * 4 + [100 * MS])
    read = serve(constant, EndpointQueue(costs=costs(request_ns=2.0, client_ns=20_000.0), max_batch=4), due_ns)
    assert np.diff(read.ended_ns[:4]).tolist() == pytest.approx([10_000] * 3, abs=10)
    at_once = serve(constant, EndpointQueue(costs=costs(request_ns=2.0), max_batch=4), due_ns)
    assert np.ptp(at_once.ended_ns[:4]) < 10


def test_a_client_has_as_many_processes_as_the_rate_takes() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(1_000.0,)),))
    due_ns = 5_000.0 * np.arange(1000)
    served = serve(constant, EndpointQueue(costs=costs(request_ns=2.0, client_ns=20_000.0)), due_ns)
    assert np.max(served.ended_ns - served.scheduled_ns) < 10_000, (
        "one that takes 20 us a request cannot send 200,000/s"
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_whose_costs_are_next_to_nothing_are_as_many_queues_of_their_own(workers: int) -> None:
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    service = ServiceTimes(batches=(BatchTimes.of(1, -100 * MS * np.log1p(-quantiles)),))
    queue = EndpointQueue(costs=costs(request_ns=1.0), workers=workers)
    found = predict(service, queue, rate_per_s=5.0 * workers, percentiles=(95.0,), requests=60_000, seed=1)
    # M/M/1 each: the response time is exponential with rate mu - lambda.
    assert found.latency_ms["p95"] == pytest.approx(1000 * log(20) / (10 - 5), rel=0.1)
    assert found.capacity_per_s == pytest.approx(10 * workers, rel=1e-3)


def test_the_capacity_is_that_of_calls_and_of_what_they_cost_beside() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    queue = EndpointQueue(costs=costs(request_ns=15_000.0, call_ns=5_000.0), workers=2)
    found = predict(constant, queue, rate_per_s=None, percentiles=(95.0,))
    assert found.capacity_per_s == pytest.approx(2 * 1e9 / 50_000)
    assert not found.saturated
    assert predict(constant, queue, rate_per_s=50_000.0, percentiles=(95.0,)).saturated


def test_a_prediction_at_a_rate_says_how_many_requests_a_call_joined() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    queue = EndpointQueue(costs=costs(), max_batch=8)
    busy, quiet = (
        predict(constant, queue, rate_per_s=rate_per_s, percentiles=(95.0,), requests=300).largest_call
        for rate_per_s in (20_000.0, 1.0)
    )
    assert quiet == 1
    assert busy is not None
    assert 1 < busy <= 8


def test_more_users_are_answered_more_often_up_to_the_capacity() -> None:
    constant = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)),))
    slow_alone = (AfterIdle(idle_ns=0.0, extra_ns=(60_000.0,)),)
    queue = EndpointQueue(costs=costs(request_ns=20_000.0, after_idle=slow_alone), workers=2)
    capacity_per_s = predict(constant, queue, rate_per_s=None, percentiles=(50.0,)).capacity_per_s
    found = [predict_users(constant, queue, users=users, percentiles=(50.0,)) for users in (1, 2, 8, 64)]
    answered_per_s = [each.capacity_per_s for each in found]
    assert answered_per_s == sorted(answered_per_s)
    assert answered_per_s[0] == pytest.approx(1e9 / 110_000)
    assert answered_per_s[-1] == pytest.approx(capacity_per_s)
    assert found[-1].latency_ms["p50"] == pytest.approx(64 / capacity_per_s * 1000)


def test_the_queue_of_a_deployment_is_that_of_the_endpoint_where_its_costs_are_known() -> None:
    configuration = Configuration(vcpus=2, backend="b", workers=2, max_batch=4, batch_delay_us=50)
    assert queue_of(configuration, None) == Discipline.of(configuration)
    known = costs()
    assert queue_of(configuration, known) == EndpointQueue(costs=known, workers=2, max_batch=4, batch_delay_us=50)


def test_what_a_request_takes_longer_is_that_of_the_longest_idle_time_it_reached() -> None:
    woken = (
        AfterIdle(idle_ns=0.0, extra_ns=(1.0, 2.0, 9.0)),
        AfterIdle(idle_ns=100.0, extra_ns=(5.0,)),
        AfterIdle(idle_ns=1000.0, extra_ns=(7.0,)),
    )
    found = costs(after_idle=woken)
    assert [found.after(idle_ns) for idle_ns in (0.0, 99.0, 100.0, 1e9)] == [
        (1.0, 2.0, 9.0),
        (1.0, 2.0, 9.0),
        (5.0,),
        (7.0,),
    ]
    assert found.typical_extra_ns(50.0) == 2.0


def test_a_slower_worker_has_higher_costs_and_wakes_up_as_before() -> None:
    woken = (AfterIdle(idle_ns=0.0, extra_ns=(3.0,)),)
    found = costs(request_ns=10.0, call_ns=4.0, after_idle=woken).stretched(1.5)
    assert (found.request_ns, found.call_ns, found.after_idle) == (15.0, 6.0, woken)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"request_ns": 0.0}, "request_ns"),
        ({"request_ns": float("nan")}, "request_ns"),
        ({"call_ns": -1.0}, "call_ns"),
        ({"rows": 0}, "rows"),
        ({"joined": 0}, "joined"),
        ({"after_idle": ()}, "after_idle"),
        ({"after_idle": (AfterIdle(idle_ns=5.0, extra_ns=(0.0,)),)}, "after_idle"),
        ({"after_idle": (*NO_EXTRA, *NO_EXTRA)}, "after_idle"),
    ],
)
def test_costs_that_cannot_be_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        replace(costs(), **wrong)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"idle_ns": -1.0}, "idle_ns"),
        ({"extra_ns": ()}, "extra_ns"),
        ({"extra_ns": (-1.0, 2.0)}, "extra_ns"),
        ({"extra_ns": (2.0, 1.0)}, "extra_ns"),
    ],
)
def test_times_after_an_idle_worker_that_cannot_be_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        AfterIdle(**{"idle_ns": 0.0, "extra_ns": (0.0,), **wrong})
    assert caught.value.field == field


@pytest.mark.parametrize("wrong", [{"workers": 0}, {"max_batch": 0}, {"batch_delay_us": -1}])
def test_an_endpoint_without_workers_batches_or_with_a_negative_delay_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SpecError):
        EndpointQueue(costs=costs(), **wrong)
