"""The timing of calls, one after the other and in traffic."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from servefit.errors import TimedOut
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.queueing.after_idle import AfterIdle, extra_after
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.open_loop import serve_arrivals
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.call_timing import longest_call_ns, rate_in_process, time_service, timing_s
from servefit.search.optimizer.idle_times import NO_LONGER
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.record.traffic import OpenLoop
    from servefit.profiler.record.types import Run
    from servefit.search.request.job_request import Deployed

MS = 1e6


def configuration(*, workers: int = 1, batch: int = 1) -> Configuration:
    return Configuration(vcpus=4, backend="a", workers=workers, max_batch=batch)


class Calls:
    """Stands in for workers whose calls take so many milliseconds, by size."""

    def __init__(self, means_ms: dict[int, float]) -> None:
        self.configuration = configuration(workers=2, batch=max(means_ms))
        self.sizes: list[int] = []
        self._means_ms = means_ms

    def time_calls(self, order: WorkerTimeCalls) -> list[Calls.Recorded]:
        self.sizes.append(order.requests_per_call)
        mean_ns = MS * self._means_ms[order.requests_per_call]
        return [Calls.Recorded(mean_ns), Calls.Recorded(2 * mean_ns)]

    class Recorded:
        calls_per_duration = 10

        def __init__(self, mean_ns: float) -> None:
            self._mean_ns = mean_ns

        def durations_ns(self) -> np.ndarray:
            return np.full(50, 10 * self._mean_ns)


def test_all_workers_calls_count_together_and_blocks_of_calls_count_by_the_call() -> None:
    found = time_service(cast("Workers", Calls({1: 1.0, 8: 2.0})), (1, 8))
    assert found.workers == 2
    assert [batch.mean_ns / MS for batch in found.batches] == pytest.approx([1.5, 3.0])


def test_sizes_are_left_out_once_calls_are_long_and_larger_ones_serve_no_more() -> None:
    calls = Calls({1: 1.0, 2: 1.9, 4: 3.7, 8: 7.3, 16: 14.5})
    found = time_service(cast("Workers", calls), (1, 2, 4, 8, 16))
    assert calls.sizes == [1, 2, 4]
    assert found.mean_ns(16) == pytest.approx(4 * found.mean_ns(4), rel=0.05)
    slow_but_gaining = Calls({1: 20.0, 2: 22.0, 4: 26.0})
    time_service(cast("Workers", slow_but_gaining), (1, 2, 4))
    assert slow_but_gaining.sizes == [1, 2, 4]


def test_sizes_whose_call_alone_takes_longer_than_any_limit_allows_are_left_out() -> None:
    # The two workers take 1.5 times as long on average.
    images = {1: 20.0, 2: 30.0, 4: 48.0, 8: 80.0, 16: 144.0, 32: 270.0}
    for longest_ms, timed in ((200, [1, 2, 4, 8]), (300, [1, 2, 4, 8, 16]), (35, [1, 2]), (1, [1])):
        calls = Calls(images)
        time_service(cast("Workers", calls), tuple(images), longest_ns=longest_ms * MS)
        assert calls.sizes == timed


def test_the_longest_call_is_that_of_the_loosest_limit() -> None:
    limits = (LatencyThreshold(percentile="p50", limit_ms=10), LatencyThreshold(percentile="p99", limit_ms=80))
    assert longest_call_ns(JobRequest(name="job", sla=Sla(thresholds=limits))) == 80 * MS
    assert longest_call_ns(JobRequest(name="job")) == inf


class CallsInTraffic(Calls):
    """A worker whose calls of 20 us take 2 us longer after a pause, and 30 us after one of 0.2 ms, and whose calls of 8
    requests take half as long again among others than their 30 us; it records whatever traffic it is given, unless its
    time is over."""

    def __init__(self, *, workers: int = 1, over: bool = False) -> None:
        super().__init__({1: 0.02, 8: 0.03})
        self.configuration = configuration(workers=workers, batch=8)
        self.envelope = None
        self.traffic: list[OpenLoop] = []
        self._over = over

    def time_calls(self, order: WorkerTimeCalls) -> list[Calls.Recorded]:
        return super().time_calls(order)[:1]

    def run(self, traffic: OpenLoop, **_: Any) -> Run:
        if self._over:
            raise TimedOut("the run", limit_s=1.0)
        self.traffic.append(traffic)
        batches = tuple(BatchTimes(requests=size, strata_ns=(ms * MS,)) for size, ms in ((1, 0.02), (8, 0.03)))
        calls = ServiceTimes(batches=batches, after_idle=AFTER_IDLE, changing_sizes=((8, 1.5),)).among_changing_sizes()
        due = S + traffic.arrivals_ns()
        drawn = calls.draw(len(due), most_requests=8, workers=1, random=np.random.default_rng(0))
        served = serve_arrivals(due, drawn, Discipline(max_batch=8))
        started, ended = served.started_ns.astype(np.int64), served.ended_ns.astype(np.int64)
        return recorded_run(traffic, due, ended, until_ns=S + round(traffic.duration_s * 1e9), started=started)


AFTER_IDLE = (AfterIdle(idle_ns=0.0, extra_ns=(2_000.0,)), AfterIdle(idle_ns=200_000.0, extra_ns=(30_000.0,)))


@pytest.mark.parametrize(("rate_per_s", "idle_ns", "extra_ns"), [(inf, 40_000.0, 2_000.0), (500.0, 2 * MS, 30_000.0)])
def test_calls_are_timed_in_traffic_at_the_rate_asked_or_at_half_of_what_can_be_served(
    rate_per_s: float, idle_ns: float, extra_ns: float
) -> None:
    worker = CallsInTraffic()
    found = time_service(cast("Workers", worker), (1, 8), rate_per_s=rate_per_s, seed=3)
    traffic = worker.traffic[0]
    assert traffic.rate_per_s == pytest.approx(min(rate_per_s, 25_000.0), rel=0.5)
    assert traffic.seed == 3
    extras_ns = extra_after(idle_ns, found.after_idle)
    assert extras_ns[len(extras_ns) // 2] == pytest.approx(extra_ns, abs=500)


@pytest.mark.parametrize(
    ("rate_per_s", "at_per_s"), [(500.0, None), (20_000.0, None), (100_000.0, 100_000.0), (inf, 4e6 / 30)]
)
def test_where_requests_will_be_joined_calls_are_timed_among_others_of_other_sizes(
    rate_per_s: float, at_per_s: float | None
) -> None:
    worker = CallsInTraffic()
    found = time_service(cast("Workers", worker), (1, 8), rate_per_s=rate_per_s)
    assert [traffic.rate_per_s for traffic in worker.traffic[1:]] == (
        [] if at_per_s is None else [pytest.approx(at_per_s)]
    )
    if at_per_s is None:
        assert found.changing_sizes == ()
    else:
        assert dict(found.changing_sizes)[8] == pytest.approx(1.5, abs=0.1)
        assert found.mean_ns(8) == pytest.approx(0.03 * MS)


def test_calls_are_not_timed_in_traffic_that_will_not_come_or_has_no_time_or_shares_the_cpus() -> None:
    for worker, rate_per_s in (
        (CallsInTraffic(), None),
        (CallsInTraffic(workers=2), 500.0),
        (CallsInTraffic(over=True), 500.0),
    ):
        found = time_service(cast("Workers", worker), (1, 8), rate_per_s=rate_per_s)
        assert (len(found.batches), found.after_idle, found.changing_sizes) == (2, (), ())


def test_a_pause_makes_no_difference_where_too_few_calls_fit_to_see_one() -> None:
    slow = Calls({1: 20.0})
    slow.configuration = configuration()
    assert time_service(cast("Workers", slow), (1,), rate_per_s=500.0).after_idle == NO_LONGER


@pytest.mark.parametrize(
    ("deploy", "rate_per_s", "timed_at"),
    [("library", 500.0, 500.0), ("library", None, None), ("library", 100.0, None), ("endpoint", 500.0, None)],
)
def test_calls_are_timed_in_traffic_for_a_library_at_a_rate_that_brings_enough(
    deploy: Deployed, rate_per_s: float | None, timed_at: float | None
) -> None:
    request = JobRequest(name="job", deploy=deploy, sla=Sla(rate_per_s=rate_per_s))
    assert rate_in_process(request) == timed_at


def test_timing_in_traffic_takes_its_time() -> None:
    assert timing_s(configuration(), (1, 8), rate_per_s=500.0) > timing_s(configuration(), (1, 8), rate_per_s=None)
    together = configuration(workers=2)
    assert timing_s(together, (1, 8), rate_per_s=500.0) == timing_s(together, (1, 8), rate_per_s=None)
