"""The rules about the traffic that a measurement is asked for: what excludes what, and at which rate arrivals come.

They are the same for a model (``profile``) and for a running endpoint (``search.endpoints``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from servefit.errors import SpecError
from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.procedures.open_loops import check_search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.arrivals.contract import Arrivals
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.record.traffic import ClosedLoop


class TrafficOptions(TypedDict, total=False):
    """Keywords about the traffic of a measurement: an open loop, a closed loop, or the search for the highest rate."""

    rate: float | None
    arrivals: str
    users: int | None
    traffic: ClosedLoop | None
    thresholds: Sequence[LatencyThreshold]
    duration_s: float | None


TRAFFIC_DEFAULTS = {"arrivals": ARRIVALS, "thresholds": ()}


def given_traffic(
    *,
    rate: float | None,
    users: int | None,
    phases: ClosedLoop | None,
    duration_s: float | None,
) -> str | None:
    """Return the name of the one of ``rate``, ``users`` and ``phases`` that is set; None if none is.

    Raises SpecError if several are set, and for a duration beside phases.
    """
    asked = {"rate": rate, "users": users, "phases": phases}
    names = [name for name, value in asked.items() if value is not None]
    if len(names) > 1:
        raise SpecError(names[1], None, f"cannot be combined with {names[0]}", remedy="give one of them")
    if phases is not None and duration_s is not None:
        raise SpecError("duration", duration_s, "is said by the phases already")
    return names[0] if names else None


def limits_without_rate(thresholds: Sequence[LatencyThreshold]) -> SpecError:
    """Return the error for limits on a closed loop, which has no rate at which they could hold."""
    limits = ", ".join(map(str, thresholds))
    return SpecError("sla", limits, "is not held against users who take turns", remedy="give a rate")


def rate_where_none_is_asked(shape: Arrivals, *, closed: bool, limited: bool, search_s: float) -> float | None:
    """Return the rate at which requests come where no rate is asked for: that of ``shape``, None without an open loop.

    Args:
        shape: How requests arrive.
        closed: Users or phases are given, which arrivals say nothing of.
        limited: There are limits, so that the highest rate is looked for where ``shape`` has none.
        search_s: The seconds of that search.

    Raises:
        SpecError: Nothing says at which rate requests of ``shape`` come, or the search is too short for it.
    """
    if str(shape) == ARRIVALS:
        return None
    if closed:
        raise _no_rate(shape)
    if not limited or shape.own_rate_per_s is not None:
        return own_rate_per_s(shape)
    check_search(str(shape), search_s)
    return None


def own_rate_per_s(shape: Arrivals) -> float:
    """Return the rate that ``shape`` has by itself. Raises SpecError where it has none."""
    if shape.own_rate_per_s is None:
        raise _no_rate(shape)
    return shape.own_rate_per_s


def _no_rate(shape: Arrivals) -> SpecError:
    return SpecError("arrivals", str(shape), "says how a rate arrives, and there is none", remedy="give a rate")
