"""A limit on a latency percentile, and the verdicts on it: what a measurement is held against."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from servefit.checks import check_above_zero
from servefit.field_types import check_types
from servefit.profiler.evidence.summary import NS_PER_MS, percentile_name, rank_of
from servefit.quantities import given_duration_text
from servefit.showing import shown
from servefit.stored import Stored

Verdict: TypeAlias = Literal["PASS", "FAIL", "UNDECIDED", "INVALID"]
"""INVALID never counts against what was measured: the measurement itself is bad."""


@shown()
class LatencyThreshold(Stored, frozen=True, kw_only=True):
    """``percentile`` ("p95", "p99.9") of the response time is to be at most ``limit_ms``. Raises SpecError.

    Example:
        ::

            limit = sf.LatencyThreshold(percentile="p95", limit_ms=50)
            print(sf.profile("model.ubj", rate=100.0, thresholds=[limit]).decision.verdict)
    """

    percentile: str
    limit_ms: float

    def __post_init__(self) -> None:
        check_types(self)
        msgspec.structs.force_setattr(self, "percentile", percentile_name(self.percentile, field="sla"))
        check_above_zero("sla", self.limit_ms)

    @property
    def rank(self) -> float:
        """The percentile as a number: 95.0."""
        return rank_of(self.percentile)

    @property
    def limit_ns(self) -> float:
        return self.limit_ms * NS_PER_MS

    @property
    def limit_text(self) -> str:
        """The limit as a person reads it: 10 ms."""
        return given_duration_text(self.limit_ms / 1000)

    def __str__(self) -> str:
        return f"{self.percentile} <= {self.limit_text}"
