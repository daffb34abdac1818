"""Made-up runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import Run, Samples, TelemetryPoint

S = 1_000_000_000
BOOT_NS = 123_456_789_012_345
MakeRun = Callable[..., Run]


@pytest.fixture
def make_run() -> MakeRun:
    """An open loop at 1000/s of ten thousand requests, which one worker serves in 0.4 ms or more, in order."""

    def make(requests: int = 10_000, **facts: Any) -> Run:
        random = np.random.default_rng(1)
        scheduled = BOOT_NS + np.cumsum(random.exponential(1e6, requests)).astype(np.int64)
        service = 400_000 + random.exponential(1e5, requests).astype(np.int64)
        # One server: a request ends one service after it arrived, or after the one before it ended [Lindley].
        done = np.cumsum(service)
        ended = np.maximum.accumulate(scheduled - (done - service)) + done
        run = Run(
            driver="inprocess",
            traffic=OpenLoop(rate_per_s=1000, duration_s=max(1, requests / 1000)),
            samples=Samples(scheduled=scheduled.tobytes(), started=(ended - service).tobytes(), ended=ended.tobytes()),
            plateau_ns=(BOOT_NS, int(scheduled.max(initial=BOOT_NS)) + 1),
            offered=requests,
            backlog=0,
            lags=random.exponential(500, requests // 2).astype(np.int64).tobytes(),
            busy_cpu_ns=int(service.sum()),
            threads_per_worker=(3,),
            threads_outside=0,
            peak_memory_bytes=100_000_000,
            telemetry=(
                TelemetryPoint(at_ns=BOOT_NS + S, over_ns=S, cpu_percent=41.5, memory_bytes=10**8),
                TelemetryPoint(at_ns=BOOT_NS + 2 * S, over_ns=S, cpu_percent=40.25, memory_bytes=10**8),
            ),
        )
        return replace(run, **facts)

    return make
