"""What a run recorded of its calls."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from benchmarks import queues
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.queueing.recorded_calls import (
    CallsInOrder,
    RecordedCalls,
    discipline_of,
    served_as_by_one,
    served_requests,
    with_seen_overhead,
)
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import ClientRecord, Configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Run

TRAFFIC = OpenLoop(rate_per_s=5, duration_s=1)


def run_at(due: list[int], started: list[int], ended: list[int]) -> Run:
    """A run of requests with these times in ns from the start of its plateau; 0 stays 0, which is never."""
    times = [np.array([time + S if time else 0 for time in each], dtype=np.int64) for each in (due, started, ended)]
    return recorded_run(TRAFFIC, times[0], times[2], until_ns=2 * S, started=times[1])


def served(sizes: list[int], times_ns: Sequence[float]) -> ServedRequests:
    """Requests of calls of these sizes, one after the other."""
    ends = np.cumsum(times_ns)
    batches = np.array(sizes, dtype=np.int64)
    started = np.repeat(ends - times_ns, batches)
    return ServedRequests(scheduled_ns=started, started_ns=started, ended_ns=np.repeat(ends, batches), batches=batches)


def test_requests_that_begin_and_end_together_are_one_call() -> None:
    found = served_requests(run_at([1, 2, 3, 40], [5, 5, 12, 40], [10, 10, 20, 50]))
    assert found.batches.tolist() == [2, 1, 1]
    assert found.scheduled_ns.tolist() == [1, 2, 3, 40]
    assert RecordedCalls.of([found]).service_ns.tolist() == [5, 8, 10]


def test_calls_of_two_workers_stay_in_the_order_of_their_claims() -> None:
    found = served_requests(run_at([1, 2, 3], [1, 2, 6], [9, 5, 8]))
    assert RecordedCalls.of([found]).service_ns.tolist() == [8, 3, 2]


def test_requests_without_an_answer_belong_to_no_call() -> None:
    found = served_requests(run_at([1, 2, 3], [1, 0, 0], [4, 0, 0]))
    assert found.batches.tolist() == [1]
    assert len(served_requests(run_at([1], [0], [0])).batches) == 0


def test_calls_of_several_runs_follow_each_other() -> None:
    calls = RecordedCalls.of([served([1, 3], [10, 20]), served([2], [30])])
    assert calls.requests.tolist() == [1, 3, 2]
    assert calls.service_ns.tolist() == [10, 20, 30]
    assert len(calls) == 3


def test_means_of_sizes_that_lie_on_no_line_are_kept_where_calls_are_alike() -> None:
    calls = RecordedCalls.of([served([1] * 30 + [2] * 30 + [4] * 30, [100] * 30 + [110] * 30 + [400] * 30)])
    means_ns = calls.mean_times_ns(4)
    assert means_ns[[0, 1, 3]] == pytest.approx([100, 110, 400])
    assert 110 < means_ns[2] < 400


def test_a_size_of_few_uneven_calls_is_drawn_to_the_line_of_the_others() -> None:
    random = np.random.default_rng(1)
    times = [size * 100 * random.exponential() for size in [1] * 3000 + [2] * 3000 + [3] * 3000]
    calls = RecordedCalls.of([served([1] * 3000 + [2] * 3000 + [3] * 3000 + [4] * 2, [*times, 1000, 900])])
    assert calls.mean_times_ns(4)[3] == pytest.approx(400, rel=0.1)


def test_calls_of_one_size_alone_are_scaled_in_proportion() -> None:
    calls = RecordedCalls.of([served([2] * 10, [200] * 10)])
    assert calls.mean_times_ns(4) == pytest.approx([100, 200, 300, 400])


def test_a_call_takes_as_much_longer_than_its_size_does_as_the_recorded_one_did() -> None:
    recorded = RecordedCalls.of([served([1, 1] * 20 + [2, 2] * 20, [50, 150] * 20 + [100, 300] * 20)])
    calls = CallsInOrder(recorded, max_batch=2, workers=1)
    assert calls.relative.tolist() == pytest.approx([0.5, 1.5] * 40)
    assert calls.full_call_ns == pytest.approx(200)
    drawn = calls.drawn(np.array([1, 0]))
    assert drawn.means_ns == pytest.approx((0, 100, 200))
    assert [list(shape) for shape in drawn.shapes] == [[], [1.5, 0.5], [1.5, 0.5]]


def test_calls_of_two_workers_that_begin_and_end_at_once_are_no_larger_than_a_call_may_be() -> None:
    recorded = RecordedCalls(requests=np.array([2, 4, 1]), service_ns=np.array([200.0, 200.0, 100.0]))
    calls = CallsInOrder(recorded, max_batch=2, workers=2)
    assert calls.relative == pytest.approx([1, 1, 1])


def test_waiting_for_others_to_join_is_no_time_between_calls() -> None:
    run = ServedRequests(
        scheduled_ns=np.array([0.0, 50, 60, 150, 400]),
        started_ns=np.array([0.0, 104, 104, 304, 550]),
        ended_ns=np.array([100.0, 200, 200, 380, 640]),
        batches=np.array([1, 2, 1, 1]),
    )
    joining = Discipline(max_batch=2, batch_delay_us=200, request_overhead_ns=1)
    waits = replace(
        run, scheduled_ns=run.scheduled_ns * 1000, started_ns=run.started_ns * 1000, ended_ns=run.ended_ns * 1000
    )
    assert with_seen_overhead(joining, [waits]).call_overhead_ns == 4000 - 1


def test_the_time_between_calls_is_that_of_workers_for_whom_requests_waited() -> None:
    run = ServedRequests(
        scheduled_ns=np.array([0.0, 1, 2, 900]),
        started_ns=np.array([0.0, 107, 214, 901]),
        ended_ns=np.array([100.0, 207, 314, 999]),
        batches=np.ones(4, dtype=np.int64),
    )
    alone = Discipline(request_overhead_ns=2)
    assert with_seen_overhead(alone, [run]).call_overhead_ns == 5
    assert with_seen_overhead(alone, []) == alone
    several = Discipline(workers=2)
    assert with_seen_overhead(several, [run]) == several


def test_answers_of_one_worker_tell_how_long_it_took_for_each() -> None:
    random = np.random.default_rng(2)
    due = np.sort(random.uniform(0, 1e6, 800))
    times = random.exponential(1000, 800)
    ended = due + queues.simulate(due, times)
    inferred = served_as_by_one(random.permutation(due), random.permutation(ended))
    assert RecordedCalls.of([inferred]).service_ns == pytest.approx(times)
    assert inferred.scheduled_ns == pytest.approx(due)


def test_over_http_requests_are_those_of_one_server() -> None:
    run = run_at([1, 2, 30], [1, 2, 30], [11, 16, 34])
    client = ClientRecord(
        processes=1, cpus=(1,), cpu_percent=None, connections=1, reconnections=0, errors={}, shares_cpus=False
    )
    over_http = replace(run, client=client)
    assert RecordedCalls.of([served_requests(over_http)]).service_ns.tolist() == [10, 5, 4]
    assert discipline_of(over_http, Configuration(vcpus=1, backend="forest", workers=4)).workers == 1
    assert discipline_of(run, Configuration(vcpus=1, backend="forest", workers=4)).workers == 4
