"""Whether the requests that wait at the end of a run are a backlog that grows, or a peak that drains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.evidence.backlog import cannot_drain, is_large
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.record.traffic import OpenLoop

if TYPE_CHECKING:
    from tests.profiler.made_runs import MakeRun

MS = 1_000_000


def served(due_ms: np.ndarray, service_ms: float) -> tuple[np.ndarray, np.ndarray]:
    """Due and started of requests that one server serves in turn, in ns."""
    before = np.arange(len(due_ms)) * service_ms
    started = np.maximum.accumulate(due_ms - before) + before
    return (due_ms * MS).astype(np.int64), (started * MS).astype(np.int64) + 1


def rush(per_s: float, from_s: float, to_s: float) -> np.ndarray:
    return np.arange(from_s * 1000, to_s * 1000, 1000 / per_s)


@pytest.mark.parametrize(("part", "cannot"), [(0.7, False), (0.97, False), (1.03, True), (2.0, True)])
def test_a_backlog_drains_where_the_mean_rate_can_be_served(part: float, cannot: bool) -> None:
    """A server of 100 requests a second, at the end of a second of twice as many as in the second before."""
    due, started = served(np.concatenate([rush(66.6 * part, 0, 1), rush(133.3 * part, 1, 2)]), 10.0)
    assert cannot_drain(due, started, begin_ns=0, end_ns=2e9) is cannot


def test_where_nothing_waits_at_the_end_everything_was_served() -> None:
    due, started = served(np.concatenate([rush(500, 0, 1), rush(1, 1, 8)]), 10.0)
    assert not cannot_drain(due, started, begin_ns=0, end_ns=8e9)


def test_nothing_that_was_served_at_all_cannot_drain() -> None:
    due = np.arange(0, 1000 * MS, MS)
    assert cannot_drain(due, np.zeros(1000, dtype=np.int64), begin_ns=0, end_ns=1e9)


def test_what_is_due_after_the_end_does_not_count() -> None:
    due, started = served(rush(50, 0, 3), 10.0)
    assert not cannot_drain(due, started, begin_ns=0, end_ns=1e9)


@pytest.mark.parametrize(("backlog", "large"), [(50, False), (51, True)])
def test_a_twentieth_may_wait(backlog: int, large: bool) -> None:
    assert is_large(backlog, offered=1000, workers=1) is large
    assert not is_large(backlog, offered=1000, workers=60)


def test_a_run_that_ends_in_a_peak_is_saturated_only_where_its_rate_is_steady(make_run: MakeRun) -> None:
    run = make_run(1000)
    peak = np.concatenate([rush(20, 0, 1), rush(150, 1, 1.6)])
    due, started = served(peak, 10.0)
    end = 1_600_000_000
    ended = started + 10 * MS
    samples = replace(run.samples, scheduled=due.tobytes(), started=started.tobytes(), ended=ended.tobytes())
    waiting = int(((due < end) & (started >= end)).sum())
    assert waiting > 20

    def saturated(arrivals: str) -> bool:
        traffic = OpenLoop(rate_per_s=70, duration_s=1.6, arrivals=arrivals)
        recorded = replace(
            run, traffic=traffic, samples=samples, plateau_ns=(0, end), offered=len(due), backlog=waiting, stopped=None
        )
        return summarize(recorded).saturated

    assert saturated("poisson")
    assert not saturated("steps:rates=20/s+150/s,each=1s")
    assert not saturated("of-a-package-that-is-gone")


def test_where_the_rate_varies_there_are_no_intervals(make_run: MakeRun) -> None:
    run = make_run(5000)
    steady, varying = (
        summarize(replace(run, traffic=OpenLoop(rate_per_s=1000, duration_s=5, arrivals=arrivals)))
        for arrivals in ("constant", "sine:amplitude=0.5,period=4s")
    )
    assert steady.latency_ms == varying.latency_ms
    assert steady.latency_ms_ci95
    assert not varying.latency_ms_ci95
