"""Extra time of requests that meet an idle worker, by how long it was idle, from what open loops of one worker
recorded: of an endpoint beside what a busy one takes, and of a model alone beside calls that follow each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import strata_of

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import BatchTimes
    from servefit.profiler.record.types import Run

IDLE_BOUNDS_NS = (0.0, 20_000.0, 50_000.0, 200_000.0, 1_000_000.0)
"""Idle times are told apart by these bounds. A kernel keeps a CPU awake for up to 200 us after it has become idle
(haltpoll), and it sleeps more deeply the longer it does."""

MIN_SEEN = 40
"""Requests that an idle time takes to be told apart: p95 is the second slowest then. Chosen, not measured."""


NO_LONGER = (AfterIdle(idle_ns=0.0, extra_ns=(0.0,)),)
"""A pause makes no difference, or none that could be seen."""


def longer_than(usual_ns: float, runs: Sequence[Run]) -> tuple[AfterIdle, ...]:
    """Return what requests of ``runs`` that met an idle worker took longer than ``usual_ns``; 0 where none did."""
    after_idle = [
        AfterIdle(idle_ns=low, extra_ns=strata_of(np.maximum(0.0, seen_ns - usual_ns)))
        for low, seen_ns in _by_idle_time(runs, least=1)
    ]
    return tuple(after_idle) or NO_LONGER


def longer_than_calls(calls: BatchTimes, runs: Sequence[Run]) -> tuple[AfterIdle, ...]:
    """Return what requests of ``runs`` that met an idle worker took longer than ``calls`` of one request that follow
    each other: the shortest than the shortest, and so on; 0 where too few met one."""
    after_idle = [
        AfterIdle(idle_ns=low, extra_ns=_beyond(strata_of(seen_ns), calls.strata_ns))
        for low, seen_ns in _by_idle_time(runs, least=MIN_SEEN)
    ]
    return tuple(after_idle) or NO_LONGER


def _beyond(seen_ns: Sequence[float], usual_ns: Sequence[float]) -> tuple[float, ...]:
    """Return how far each of the ascending ``seen_ns`` is beyond that of the same rank; no less than the one before."""
    ranks = (np.arange(len(seen_ns)) + 0.5) / len(seen_ns)
    same_rank = np.array(usual_ns)[(ranks * len(usual_ns)).astype(np.int64)]
    return tuple(np.maximum.accumulate(np.maximum(0.0, np.array(seen_ns) - same_rank)).tolist())


def _by_idle_time(runs: Sequence[Run], *, least: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield how long the requests of ``runs`` took that met an idle worker, by how long it had been idle, from 0 on.
    Idle times that too few met are taken together with shorter ones, the shortest with longer ones; none where not even
    ``least`` met any."""
    idle_ns, took_ns = (np.concatenate(parts) for parts in zip(*map(_met_idle, runs), strict=True))
    if len(took_ns) < least:
        return
    groups = [(low, took_ns[(idle_ns >= low) & (idle_ns < high)]) for low, high in pairwise([*IDLE_BOUNDS_NS, np.inf])]
    enough = [(low, seen) for low, seen in groups if len(seen) >= MIN_SEEN] or [(0.0, took_ns)]
    for nth, (low, seen) in enumerate(enough):
        yield low if nth else 0.0, seen


def _met_idle(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return, of the answered requests of ``run`` that met an idle worker, how long it had been idle, and how long they
    took, float64 nanoseconds."""
    samples = counted(run).samples
    due, ended = samples.scheduled_ns(), samples.ended_ns()
    answered = ended > 0
    due, ended = due[answered], ended[answered]
    before = np.maximum.accumulate(ended)[:-1]
    idle = (due[1:] - before).astype(np.float64)
    met = idle > 0
    return idle[met], (ended - due)[1:][met].astype(np.float64)
