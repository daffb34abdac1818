"""The service-level agreement: limits on latency percentiles, and a rate at which they must hold.

Parsing of the forms that people type ("p95=100ms", "30000/min") lives here too. Whether a measurement meets an SLA is
decided in ``verdict``.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass

from servefit.errors import SpecError
from servefit.profiler.limits import LatencyThreshold

_DURATION = re.compile(r"(?P<number>[0-9.eE+-]+)\s*(?P<unit>us|µs|ms|s|m|min|h)?")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """All ``thresholds`` hold while requests arrive at ``rate_per_s`` over all instances (None: no rate was asked)."""

    thresholds: tuple[LatencyThreshold, ...] = ()
    rate_per_s: float | None = None

    def __post_init__(self) -> None:
        names = [threshold.percentile for threshold in self.thresholds]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise SpecError("sla", ", ".join(sorted(repeated)), "is limited twice")
        for lower, higher in itertools.pairwise(sorted(self.thresholds, key=lambda one: one.rank)):
            if higher.limit_ms < lower.limit_ms:
                raise SpecError(
                    "sla",
                    str(lower),
                    f"contradicts {higher}, which already demands less of more requests",
                    remedy="give the higher percentile the higher limit, or leave one out",
                )
        if self.rate_per_s is not None and not (self.rate_per_s > 0 and math.isfinite(self.rate_per_s)):
            raise SpecError("rate", self.rate_per_s, "is not a rate above zero")

    @property
    def asks_nothing(self) -> bool:
        return not self.thresholds and self.rate_per_s is None

    def __str__(self) -> str:
        limits = ", ".join(str(threshold) for threshold in self.thresholds)
        rate = "" if self.rate_per_s is None else f"{self.rate_per_s:g} requests/s"
        return " at ".join(part for part in (limits, rate) if part)


def parse_sla(text: str) -> tuple[LatencyThreshold, ...]:
    """Parse "p95=100ms", or several joined by commas. Raises SpecError."""
    return tuple(_parse_threshold(part.strip(), text) for part in text.split(","))


def _parse_threshold(part: str, text: str) -> LatencyThreshold:
    name, equals, limit = part.replace("<=", "=").partition("=")
    if not equals or not re.fullmatch(r"p[0-9.]+", name.strip(), re.IGNORECASE):
        raise SpecError("sla", text, "does not look like p95=100ms")
    return LatencyThreshold(percentile=name.strip().lower(), limit_ms=parse_limit_ms(limit.strip()))


def parse_limit_ms(text: str) -> float:
    """Parse the duration that limits a latency, into milliseconds. Raises SpecError."""
    seconds = parse_duration_s("sla", text)
    # What is in milliseconds stays as it is, and 20us are 0.02 ms, not the next binary fraction.
    return float(text.removesuffix("ms")) if text.endswith("ms") else float(f"{1000 * seconds:.12g}")


def parse_duration_s(field: str, text: str) -> float:
    """Parse "100ms", "60s", "2m" or a bare number of seconds into seconds; limits and delays, mostly milliseconds, take
    a unit. Raises SpecError for ``field``."""
    match = _DURATION.fullmatch(text.strip())
    number = _number(match["number"]) if match else None
    if match is None or number is None:
        raise SpecError(field, text, "is not a duration such as 100ms, 60s or 2m")
    if not number > 0:
        raise SpecError(field, text, "is not above zero")
    if match["unit"] is None and field in ("sla", "batch_delay"):
        raise SpecError(field, text, "has no unit", remedy=f"say {text}ms or {text}s")
    return number * _SECONDS[match["unit"] or "s"]


def parse_rate_per_s(text: str) -> float:
    """Parse "500/s", "30000/min" or a bare number a second into requests a second. Raises SpecError."""
    amount, slash, unit = text.strip().partition("/")
    number = _number(amount)
    per = _SECONDS.get(unit.strip()) if slash else 1.0
    if number is None or per is None:
        raise SpecError("rate", text, "is not a rate such as 500/s or 30000/min")
    if not number > 0:
        raise SpecError("rate", text, "is not above zero")
    return number / per


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
