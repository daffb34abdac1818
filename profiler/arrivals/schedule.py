"""The one place where arrival times are drawn. Whatever shape they come from, they are checked before they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import ServefitError, SpecError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, NS_PER_S
from servefit.profiler.arrivals.guarded import GuardedShape

if TYPE_CHECKING:
    from servefit.profiler.arrivals.contract import Arrivals

MIN_EXPECTED = 20
"""Where so many arrivals or more are expected there are some: a Poisson process has none in one run of 5 * 10^8."""

_REMEDY = "mend the shape, or choose another"


def draw_arrivals_ns(shape: Arrivals, *, rate_per_s: float, duration_s: float, seed: int) -> np.ndarray:
    """Draw the arrivals of a run from ``shape``, as its ``times_ns`` does, and check them.

    Returns:
        Times from 0 to the duration, int64 nanoseconds, ascending, at most MAX_ARRIVALS of them.

    Raises:
        SpecError: too many are asked for, which is found before they are drawn; or the shape raises, goes backwards,
            leaves the run, or gives none, too many, or something that is no time.
    """
    if rate_per_s * duration_s > MAX_ARRIVALS:
        raise SpecError("rate", rate_per_s, f"makes more than {MAX_ARRIVALS:,} arrivals in {duration_s:g} s")
    try:
        times_ns = shape.times_ns(rate_per_s=rate_per_s, duration_s=duration_s, seed=seed)
    except (ServefitError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise _shape_error(shape, f"cannot be drawn: {type(error).__name__}: {error}") from error
    # A part of a cycle may be one in which nothing comes.
    expected = rate_per_s * duration_s if duration_s >= shape.cycle_s else 0.0
    if problem := _problem(times_ns, expected=expected, end_ns=duration_s * NS_PER_S):
        raise _shape_error(shape, problem)
    return times_ns


def _shape_error(shape: Arrivals, problem: str) -> SpecError:
    if isinstance(shape, GuardedShape):
        return shape.error(problem)
    return SpecError("arrivals", str(shape), problem, remedy=_REMEDY)


def _problem(times_ns: object, *, expected: float, end_ns: float) -> str | None:
    """Return what is wrong with ``times_ns``, as the end of a sentence on arrivals; None where nothing is."""
    if not isinstance(times_ns, np.ndarray) or times_ns.ndim != 1:
        return "are no array of times, of shape (n,)"
    if len(times_ns) > MAX_ARRIVALS:
        return f"are {len(times_ns):,}, more than the {MAX_ARRIVALS:,} that a run may have"
    if times_ns.dtype != np.int64:
        if times_ns.dtype.kind == "f" and not np.isfinite(times_ns).all():
            return "hold times that are no finite numbers"
        return f"are {times_ns.dtype}, not int64 nanoseconds"
    if not len(times_ns):
        return f"are none, where some {expected:,.0f} were asked for" if expected >= MIN_EXPECTED else None
    back = np.flatnonzero(times_ns[1:] < times_ns[:-1])
    if len(back):
        nth = int(back[0])
        return f"go backwards: number {nth + 1} comes at {times_ns[nth]} ns, and the next one at {times_ns[nth + 1]} ns"
    if times_ns[0] < 0 or times_ns[-1] >= end_ns:
        return f"lie outside the run: from {times_ns[0]} to {times_ns[-1]} ns, where it ends at {end_ns:.0f} ns"
    return None
