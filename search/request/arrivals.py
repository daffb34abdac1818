"""The arrivals that are asked for: their shape, their rate, and whether there is time to see all that they do.

A shape is checked here, once, before anything is measured. What is kept is its text, which is not looked at again until
arrivals are drawn: a job can be read where a package or a trace is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.procedures.open_loops import check_search
from servefit.profiler.procedures.traffic_rules import own_rate_per_s

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.arrivals.contract import Arrivals
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.sla import Sla


def canonical_text(text: str, *, folder: Path | None = None) -> str:
    """Return ``text`` as it is kept: with all parameters, and with absolute paths, which are relative to ``folder``.

    Raises SpecError for a shape that is not known, or parameters that make no sense.
    """
    return str(arrivals_named(text, folder=folder))


def with_own_rate(text: str, sla: Sla) -> tuple[str, Sla]:
    """Return ``text`` as it is kept, and ``sla`` at the rate that the arrivals have by themselves where it has none.

    Raises SpecError for arrivals that are not known or cannot be read, and where nothing says at which rate they come.
    """
    shape = arrivals_named(text)
    if sla.rate_per_s is None and str(shape) != ARRIVALS:
        sla = replace(sla, rate_per_s=own_rate_per_s(shape))
    elif str(shape) not in STEADY:
        _check_readable(shape)
    return str(shape), sla


def _check_readable(shape: Arrivals) -> None:
    """Raise SpecError where what ``shape`` is made from cannot be read, such as the trace of a replay."""
    # A shape reads its file when it is asked how long its cycle takes.
    _ = shape.cycle_s


def resolve_arrivals(request: JobRequest) -> JobRequest:
    """Return ``request`` with its arrivals checked, at the rate that is asked or else their own.

    Raises SpecError for arrivals that are not known or cannot be read, have no rate, or take too long for the job's
    time.
    """
    arrivals, sla = with_own_rate(request.arrivals, request.sla)
    if request.time_limit_s is not None:
        check_search(arrivals, request.time_limit_s)
    return replace(request, arrivals=arrivals, sla=sla)


def cycle_s(request: JobRequest) -> float:
    """Return how long a run at the rate asked takes to show all that its arrivals do; 0 where any run does.

    Raises SpecError where what says so cannot be read.
    """
    if request.sla.rate_per_s is None or request.arrivals in STEADY:
        return 0.0
    return arrivals_named(request.arrivals).cycle_s
