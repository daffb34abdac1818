"""The length of open loops whose rate of arrivals varies: whole cycles, so that nothing that they do is left out.

What the shapes are is in ``profiler.arrivals``; how runs are decided, and rates searched for, in ``decided_runs`` and
``highest_rate``.
"""

from __future__ import annotations

from math import ceil, isfinite

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.arrivals.mean_rate import check_mean_rate
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.record.traffic import OpenLoop, Traffic
from servefit.quantities import duration_text, given_duration_text

CYCLES_IN_A_SEARCH = 8
"""A search makes some eight runs; where the rate of arrivals goes through a cycle each takes one at least."""

MAX_USUAL_S = 120.0
"""Longer runs are made only for those who say so: a trace may be of a day."""

_USUAL_RATE_PER_S = 1_000.0
"""A rate at which shapes are tried where none is asked for. Chosen, not measured."""

_ROUNDING = 1e-9
"""So near to a whole number of cycles is one: what is missing is the noise of binary fractions."""


def open_loop(arrivals: str, *, rate_per_s: float, duration_s: float, usual: bool, seed: int) -> OpenLoop:
    """Make an open loop, and see that its arrivals can be drawn.

    Args:
        arrivals: The text of a shape.
        rate_per_s: The mean rate.
        duration_s: How long it takes.
        usual: Nobody asked for this duration: it may be as much longer as it takes to show a cycle.
        seed: Of the arrivals.

    Returns:
        The loop, with the text of the shape in full.

    Raises:
        SpecError: the shape is not known or cannot be drawn, ends before the run does, or has a cycle that takes longer
            than anybody would expect.
    """
    if arrivals in STEADY:
        return OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s, arrivals=arrivals, seed=seed)
    shape = arrivals_named(arrivals)
    if usual:
        duration_s = min(max(duration_s, shape.cycle_s), shape.longest_s)
        if duration_s > MAX_USUAL_S:
            takes = given_duration_text(shape.cycle_s)
            raise SpecError("arrivals", arrivals, f"take {takes} to show all that they do", remedy="give a duration")
        duration_s = whole_cycles_s(duration_s, shape.cycle_s)
    loop = OpenLoop(rate_per_s=rate_per_s, duration_s=duration_s, arrivals=str(shape), seed=seed)
    check_mean_rate(shape, rate_per_s=rate_per_s)
    shape.describe()
    loop.arrivals_ns()
    return loop


def remarks_on(traffic: Traffic) -> tuple[str, ...]:
    """Return the remarks on figures of ``traffic`` with a varying rate of arrivals, a line each."""
    if not isinstance(traffic, OpenLoop) or traffic.is_steady:
        return ()
    shape = arrivals_named(traffic.arrivals)
    remarks = [f"requests arrived {shape.describe()}; percentiles are of all of it, and have no intervals"]
    if traffic.duration_s < shape.cycle_s * (1 - _ROUNDING):
        shown, whole = given_duration_text(traffic.duration_s), duration_text(shape.cycle_s)
        remarks.append(f"the run shows {shown} of the {whole} that its arrivals take to show all that they do")
    return tuple(remarks)


def check_search(arrivals: str, budget_s: float) -> float:
    """Return how long each run of a search takes at least with ``arrivals``, for all that they do to be seen.

    Raises SpecError for arrivals that are not known, that end, that do not keep to a rate, or that take too long for a
    search of ``budget_s``.
    """
    if arrivals in STEADY:
        return 0.0
    shape = arrivals_named(arrivals)
    if isfinite(shape.longest_s):
        raise SpecError("arrivals", arrivals, "end, and a search takes as long as it needs", remedy="say loop=yes")
    if CYCLES_IN_A_SEARCH * shape.cycle_s > budget_s:
        takes, most = duration_text(shape.cycle_s), duration_text(budget_s / CYCLES_IN_A_SEARCH)
        raise SpecError(
            "arrivals",
            arrivals,
            f"take {takes} to show all that they do, and a search of {duration_text(budget_s)} has {most} for a run",
            remedy=f"give {ceil(CYCLES_IN_A_SEARCH * shape.cycle_s)}s or more, or make their cycle shorter",
        )
    # The rates that will be tried are not known yet, and a shape is the same at all of them.
    check_mean_rate(shape, rate_per_s=_USUAL_RATE_PER_S)
    return shape.cycle_s


def whole_cycles_s(seconds: float, cycle_s: float) -> float:
    """Return so much of ``seconds`` as holds whole cycles, and one at least; all of it where there is no cycle."""
    return max(1, int(seconds / cycle_s + _ROUNDING)) * cycle_s if cycle_s else seconds
