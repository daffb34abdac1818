"""The arrivals that are asked for: their shape, their rate, and whether there is time to see all that they do.

A shape is checked here, once, before anything is measured. What is kept is its text, which is not looked at again until
arrivals are drawn: a job can be read where a package or a trace is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, STEADY
from servefit.profiler.arrivals.mean_rate import check_mean_rate
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.schedule import draw_arrivals_ns
from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.procedures.open_loops import check_search
from servefit.profiler.procedures.traffic_rules import own_rate_per_s
from servefit.profiler.record.traffic import MAX_DURATION_S, MIN_PLATEAU_S

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.sla import Sla


def canonical_text(text: str, *, folder: Path | None = None) -> str:
    """Return ``text`` as it is kept: with all parameters, and with absolute paths, which are relative to ``folder``.

    Raises SpecError for a shape that is not known, or parameters that make no sense.
    """
    return str(arrivals_named(text, folder=folder))


def short_text(text: str, *, folder: Path | None = None) -> str:
    """Return ``text`` as it is written into a file in ``folder``: without defaults, and with paths below the folder
    relative to that. A text whose package is gone stays as it is, as does one that would not read back the same."""
    try:
        shape = arrivals_named(text)
        short = shape.typed(folder=folder)
        # A relative path such as "speed=2" would be taken for a parameter.
        return short if str(arrivals_named(short, folder=folder)) == str(shape) else text
    except SpecError:
        return text


def with_own_rate(text: str, sla: Sla) -> tuple[str, Sla]:
    """Return ``text`` as it is kept, and ``sla`` at the rate that the arrivals have by themselves where it has none.

    Raises SpecError for arrivals that are not known or cannot be read, and where nothing says at which rate they come.
    """
    shape = arrivals_named(text)
    if sla.rate_per_s is None and str(shape) != ARRIVALS:
        sla = replace(sla, rate_per_s=own_rate_per_s(shape))
    return str(shape), sla


def check_arrivals(request: JobRequest) -> None:
    """Raise SpecError where no test of ``request`` could have its arrivals: they are not known or cannot be read or
    drawn, or do not keep to the rate."""
    rate_per_s = request.sla.rate_per_s
    if rate_per_s is None or request.arrivals in STEADY:
        return
    shape = arrivals_named(request.arrivals)
    shape.describe()
    check_mean_rate(shape, rate_per_s=rate_per_s)
    duration_s = min(max(shape.cycle_s, MIN_PLATEAU_S), shape.longest_s, MAX_DURATION_S)
    if rate_per_s * duration_s <= MAX_ARRIVALS:
        draw_arrivals_ns(shape, rate_per_s=rate_per_s, duration_s=duration_s, seed=request.seed)


def resolve_arrivals(request: JobRequest) -> JobRequest:
    """Return ``request`` with its arrivals checked, at the rate that is asked or else their own.

    Raises SpecError for arrivals that are not known, cannot be read or drawn, have no rate or do not keep to it, or
    take too long for the job's time.
    """
    arrivals, sla = with_own_rate(request.arrivals, request.sla)
    if request.time_limit_s is not None:
        check_search(arrivals, request.time_limit_s)
    resolved = replace(request, arrivals=arrivals, sla=sla)
    check_arrivals(resolved)
    return resolved


def cycle_s(request: JobRequest) -> float:
    """Return how long a run at the rate asked takes to show all that its arrivals do; 0 where any run does.

    Raises SpecError where what says so cannot be read.
    """
    if request.sla.rate_per_s is None or request.arrivals in STEADY:
        return 0.0
    return arrivals_named(request.arrivals).cycle_s
