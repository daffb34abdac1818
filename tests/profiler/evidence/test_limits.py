"""Limits on latency percentiles."""

from __future__ import annotations

import math

import pytest

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold


@pytest.mark.parametrize(
    ("spelt", "name", "rank"),
    [
        ("p95", "p95", 95.0),
        ("P95", "p95", 95.0),
        ("p95.0", "p95", 95.0),
        ("p99.90", "p99.9", 99.9),
        ("p7.5", "p7.5", 7.5),
    ],
)
def test_any_percentile_can_be_limited(spelt: str, name: str, rank: float) -> None:
    threshold = LatencyThreshold(percentile=spelt, limit_ms=20)
    assert (threshold.percentile, threshold.rank, threshold.limit_ns) == (name, rank, 20_000_000)
    assert threshold == LatencyThreshold(percentile=name, limit_ms=20)
    assert str(threshold) == f"{name} <= 20 ms"


@pytest.mark.parametrize("nonsense", ["p100", "p0", "p099", "95", "average"])
def test_nonsense_is_refused_with_an_example(nonsense: str) -> None:
    with pytest.raises(SpecError, match=r"^sla: .* no percentile between 0 and 100; write it like p95 or p99\.9"):
        LatencyThreshold(percentile=nonsense, limit_ms=20)


@pytest.mark.parametrize("limit_ms", [0, -1, math.inf, math.nan])
def test_a_limit_is_a_latency_above_zero(limit_ms: float) -> None:
    with pytest.raises(SpecError, match=r"is not above zero|is not finite"):
        LatencyThreshold(percentile="p95", limit_ms=limit_ms)
