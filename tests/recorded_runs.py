"""Runs as a driver in this process records them, with the times of requests that a test gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.record.types import Run, Samples

if TYPE_CHECKING:
    import numpy as np

    from servefit.profiler.record.traffic import Traffic

S = 1_000_000_000


def recorded_run(
    traffic: Traffic, due: np.ndarray, ended: np.ndarray, *, until_ns: int, started: np.ndarray | None = None
) -> Run:
    """Return the run of one worker, from the first second to ``until_ns``, in which requests started when they were
    due, or at ``started``. Times are int64 ns; one that ended at 0 got no answer."""
    begun = due if started is None else started
    return Run(
        driver="inprocess",
        traffic=traffic,
        samples=Samples(scheduled=due.tobytes(), started=begun.tobytes(), ended=ended.tobytes()),
        plateau_ns=(S, until_ns),
        offered=len(due),
        backlog=0,
        lags=b"",
        busy_cpu_ns=S,
        threads_per_worker=(1,),
        threads_outside=0,
        peak_memory_bytes=2**20,
        telemetry=(),
    )
