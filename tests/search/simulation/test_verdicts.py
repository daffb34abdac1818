"""Verdicts on simulated runs with a varying rate of arrivals are wrong no more often than claimed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.profiler.evidence.sequential_test import SequentialTest
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.simulation.simulated_run import simulate

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes

RUNS = 60
SHAPES = ("sine:amplitude=0.5,period=1s", "bursts:factor=8,burst=50ms,quiet=250ms", "steps:rates=1/s+3/s,each=1s")


@pytest.mark.parametrize("rate_per_s", [100, 300])
@pytest.mark.parametrize("arrivals", SHAPES)
def test_runs_on_the_limit_are_seldom_decided_and_those_far_from_it_are(
    arrivals: str, rate_per_s: float, exponential_ms: ServiceTimes
) -> None:
    def response_ns(duration_s: float, seed: int) -> np.ndarray:
        loop = OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s, arrivals=arrivals, seed=seed)
        return simulate(exponential_ms, loop, workers=1, seed=seed).response_ns

    p95_ns = float(np.percentile(response_ns(300, 10**6), 95))
    runs = [response_ns(60, seed) for seed in range(RUNS)]

    def verdicts(limit_ns: float) -> Counter[str]:
        tests = (SequentialTest(percentile=95, limit_ns=limit_ns) for _ in runs)
        return Counter(test.conclude(run).verdict for test, run in zip(tests, runs, strict=True))

    on_the_limit = verdicts(p95_ns)
    assert on_the_limit["PASS"] <= 0.1 * RUNS
    assert on_the_limit["FAIL"] <= 0.05 * RUNS
    assert verdicts(30 * p95_ns)["PASS"] >= 0.8 * RUNS
