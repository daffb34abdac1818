"""The service-level agreement: limits on latency percentiles, and a rate at which they must hold.

How people type limits ("p95=100ms") is known here too. Whether a measurement meets an SLA is decided in
``profiler.evidence.verdict``.
"""

from __future__ import annotations

import itertools

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import percentile_name
from servefit.quantities import given_text, parse_duration_ms
from servefit.showing import shown
from servefit.stored import Stored

MAX_RATE_PER_S = 1e12
"""More is a slip of the pen."""


@shown()
class Sla(Stored, frozen=True, kw_only=True):
    """All ``thresholds`` hold while requests arrive at ``rate_per_s`` over all instances (None: no rate was asked).

    Example:
        ::

            limit = sf.LatencyThreshold(percentile="p95", limit_ms=10)
            print(sf.Sla(thresholds=(limit,), rate_per_s=500))
    """

    thresholds: tuple[LatencyThreshold, ...] = ()
    rate_per_s: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        names = [threshold.percentile for threshold in self.thresholds]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SpecError("sla", ", ".join(sorted(repeated)), "is limited twice")
        for lower, higher in itertools.pairwise(sorted(self.thresholds, key=lambda threshold: threshold.rank)):
            if higher.limit_ms < lower.limit_ms:
                raise SpecError(
                    "sla",
                    str(lower),
                    f"contradicts {higher}, which already demands less of more requests",
                    remedy="give the higher percentile the higher limit, or leave one out",
                )
        if self.rate_per_s is not None:
            check_above_zero("rate", self.rate_per_s)
            if self.rate_per_s > MAX_RATE_PER_S:
                raise SpecError("rate", self.rate_per_s, f"is more than {MAX_RATE_PER_S:.0e} requests a second")

    @property
    def asks_nothing(self) -> bool:
        """True if there are neither limits nor a rate."""
        return not self.thresholds and self.rate_per_s is None

    def __str__(self) -> str:
        limits = ", ".join(str(threshold) for threshold in self.thresholds)
        rate = "" if self.rate_per_s is None else f"{given_text(self.rate_per_s)} requests/s"
        return " at ".join(part for part in (limits, rate) if part)


def parse_sla(text: str) -> tuple[LatencyThreshold, ...]:
    """Parse "p95=100ms", or several joined by commas. Raises SpecError."""
    return tuple(_parse_threshold(part.strip(), text) for part in text.split(","))


def _parse_threshold(part: str, text: str) -> LatencyThreshold:
    name, equals, limit = part.replace("<=", "=").partition("=")
    if not equals:
        raise SpecError("sla", text, "does not look like p95=100ms")
    percentile = percentile_name(name.strip(), field="sla")
    try:
        limit_ms = parse_duration_ms("sla", limit.strip())
    except SpecError as error:
        remedy = error.remedy or f"give a limit such as {percentile}=100ms"
        raise SpecError("sla", part, error.problem, remedy=remedy) from error
    return LatencyThreshold(percentile=percentile, limit_ms=limit_ms)
