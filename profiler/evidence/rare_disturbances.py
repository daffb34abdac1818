"""Disturbances that a run may have missed by chance, because they are rare."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.evidence.summary import Summary

LONG_S = 30.0
"""After so much traffic a PASS stands by itself. Before, what prints it says how rare a disturbance may be missed. In
queues that stall or share their CPUs for a part of the time, no more than 1 % of such runs pass wrongly where twice the
violations allowed occur (benchmarks/claims/verdicts.py)."""

_MISSED = 0.01
"""The probability that a disturbance as rare as that does not show."""


def disturbance_excluded_s(summary: Summary) -> float | None:
    """Return how often, once in so many seconds, a disturbance at random moments has to come to show in the run of
    ``summary`` with 99 % probability; None for a closed loop."""
    return disturbance_excluded_in_s(summary.samples / summary.offered_per_s) if summary.offered_per_s else None


def disturbance_excluded_in_s(traffic_s: float) -> float:
    """Return the same for ``traffic_s`` seconds of traffic.

    One that comes once in X seconds is not there for T seconds with probability exp(-T / X), which is 1 % where T is
    4.6 X.
    """
    return traffic_s / -log(_MISSED)
