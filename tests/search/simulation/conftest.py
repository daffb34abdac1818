"""Service times with known distributions, and the reference simulations of the benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from servefit.profiler.queueing.service import BatchTimes, ServiceTimes

MS = 1e6

sys.path.append(str(Path(__file__).parents[3]))


@pytest.fixture
def constant_ms() -> ServiceTimes:
    """Every call takes a millisecond."""
    return ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(MS,)),))


@pytest.fixture
def exponential_ms() -> ServiceTimes:
    """Calls take a millisecond on average, exponentially distributed."""
    quantiles = (np.arange(100_000) + 0.5) / 100_000
    return ServiceTimes(batches=(BatchTimes.of(1, -MS * np.log1p(-quantiles)),))


@pytest.fixture
def batching_ms() -> ServiceTimes:
    """A call of k requests takes 0.6 + 0.4 k milliseconds, half of them 0.5 and half of them 1.5 times as long."""
    return ServiceTimes(
        batches=tuple(
            BatchTimes(requests=size, strata_ns=((0.3 + 0.2 * size) * MS, (0.9 + 0.6 * size) * MS)) for size in (1, 8)
        )
    )
