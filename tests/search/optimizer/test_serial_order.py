"""The order of calls, as an open loop shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run

from benchmarks import queues
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.optimizer.serial_order import order_of_calls
from servefit.search.simulation.prediction import predict

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

MS = 1e6


def slow_phases(calls: int, random: np.random.Generator) -> np.ndarray:
    """Times of 1 ms on average, half as long again for 40 calls of every 200."""
    slow = np.arange(calls) % 200 < 40
    return random.exponential(1.0, calls) * np.where(slow, 1.5, 1.0) / 1.1


def run_of(times_ms: np.ndarray, *, rate_per_s: float = 500.0, seed: int = 0) -> Run:
    duration_s = len(times_ms) / rate_per_s
    due_ms = np.sort(np.random.default_rng(seed).uniform(0, 1000 * duration_s, len(times_ms)))
    ended_ms = due_ms + queues.simulate(due_ms, times_ms)
    due, started, ended = (S + (each * MS).astype(np.int64) for each in (due_ms, ended_ms - times_ms, ended_ms))
    traffic = OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s)
    return recorded_run(traffic, due, ended, started=started, until_ns=S + round(duration_s * S))


def test_slow_phases_are_in_it_and_queues_behind_them_are_foretold() -> None:
    random = np.random.default_rng(1)
    times_ms = slow_phases(4000, random)
    batches = (BatchTimes.of(1, times_ms * MS),)
    order = order_of_calls(run_of(times_ms))
    assert len(order) == 4000

    def p95_ms(service: ServiceTimes) -> float:
        found = predict(service, Discipline(), rate_per_s=750.0, percentiles=(95.0,), requests=50_000)
        assert found.latency_ms["p95"] is not None
        return found.latency_ms["p95"]

    arrivals = queues.poisson_arrivals(0.75, 400_000, random)
    truth_ms = float(np.percentile(queues.simulate(arrivals, np.resize(times_ms, 400_000)), 95))
    shuffled, in_order = (p95_ms(ServiceTimes(batches=batches, serial_order=each)) for each in ((), order))
    assert shuffled < 0.85 * truth_ms
    assert in_order == pytest.approx(truth_ms, rel=0.15)


def test_what_a_pause_makes_of_a_call_is_not_in_it() -> None:
    """A call that meets an idle worker takes twice as long, and in no other way do calls differ."""
    random = np.random.default_rng(2)
    due_ms = np.sort(random.uniform(0, 8000, 4000))
    ended_ms, free = np.empty(4000), 0.0
    times_ms = np.empty(4000)
    for nth, due in enumerate(due_ms.tolist()):
        times_ms[nth] = (1.0 if due < free else 2.0) * random.uniform(0.9, 1.1)
        free = ended_ms[nth] = max(due, free) + times_ms[nth]
    due, started, ended = (S + (each * MS).astype(np.int64) for each in (due_ms, ended_ms - times_ms, ended_ms))
    run = recorded_run(OpenLoop(rate_per_s=500, duration_s=8), due, ended, started=started, until_ns=9 * S)
    order = np.array(order_of_calls(run))
    correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
    assert abs(correlation) < 0.06
    assert abs(np.corrcoef(order, due_ms[:4000] - np.append(0.0, ended_ms[:-1]) > 0)[0, 1]) < 0.06


def test_of_few_calls_there_is_none() -> None:
    assert order_of_calls(run_of(np.ones(999))) == ()
    assert len(order_of_calls(run_of(np.ones(1000)))) == 1000
