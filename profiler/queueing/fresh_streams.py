"""Recorded calls behind fresh arrivals: streams of requests as they might as well have come.

What follows from how long the requests of a stream take is for those who draw it to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.arrivals.schedule import draw_arrivals_ns
from servefit.profiler.queueing.open_loop import serve_arrivals
from servefit.profiler.record.traffic import NS_PER_S

if TYPE_CHECKING:
    from servefit.profiler.queueing.discipline import Discipline, ServedRequests
    from servefit.profiler.queueing.recorded_calls import CallsInOrder
    from servefit.profiler.queueing.service import DrawnTimes

_FILLS = 0.05
"""Of a stream, while the queue fills up."""

_SCALE_PER_S = 1000.0
"""Arrivals are drawn at this rate once, and stretched to others."""

Section: TypeAlias = tuple[int, int]
"""Calls that stay together: the first of them, and how many."""


def equal_sections(calls: int, count: int) -> tuple[Section, ...]:
    """Return ``count`` sections of so many ``calls`` in all, at least one. The last goes on with the first calls.

    Example:
        >>> equal_sections(10, 3)
        ((0, 4), (4, 4), (8, 4))
    """
    length = -(-calls // max(1, count))
    return tuple((nth * length, length) for nth in range(max(1, count)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Arrivals at a rate of 1,000 a second, and the times of as many calls."""

    due_ns: np.ndarray
    drawn: DrawnTimes


class FreshStreams:
    """Streams of ``calls``, of which ``sections`` stay together, for the queue ``discipline``.

    ``arrivals`` names the shape of fresh ones, a steady one.
    """

    def __init__(
        self,
        calls: CallsInOrder,
        sections: Sequence[Section],
        discipline: Discipline,
        *,
        arrivals: str,
        seed: int,
    ) -> None:
        self._calls, self._sections, self._discipline = calls, sections, discipline
        self._shape = arrivals_named(arrivals)
        self._random = np.random.default_rng(seed)

    def draw(self, requests: int, section: Section | None = None) -> Stream:
        """Draw a stream of the calls of one ``section``, or of those of all, in another order, as often as it takes."""
        recorded = len(self._calls.relative)
        sections = self._sections if section is None else (section,)
        offset = int(self._random.integers(recorded)) if section is None else 0
        length = sum(calls for _, calls in sections)
        shuffled = [self._random.permutation(len(sections)) for _ in range(-(-requests // length))]
        places = [np.arange(first, first + calls) for first, calls in sections]
        order = np.concatenate([places[nth] for nth in np.concatenate(shuffled)])[:requests] + offset
        due_ns = draw_arrivals_ns(
            self._shape,
            rate_per_s=_SCALE_PER_S,
            duration_s=requests / _SCALE_PER_S,
            seed=int(self._random.integers(2**31)),
        )
        return Stream(due_ns=due_ns[:requests], drawn=self._calls.drawn(order % recorded))

    def response_ns(self, stream: Stream, rate_per_s: float) -> np.ndarray:
        """Return how long the requests of ``stream`` take at a rate, without those that come while the queue fills
        up."""
        due_ns = stream.due_ns * (_SCALE_PER_S / rate_per_s)
        taken_ns = served_response_ns(serve_arrivals(due_ns, stream.drawn, self._discipline))
        return taken_ns[int(_FILLS * len(taken_ns)) :]


def replayed_response_ns(run: ServedRequests, calls: CallsInOrder, discipline: Discipline) -> np.ndarray:
    """Return how long the requests of ``run`` take by ``calls``, its own, behind its own arrivals."""
    order = np.arange(len(run.scheduled_ns)) % len(calls.relative)
    return served_response_ns(serve_arrivals(run.scheduled_ns, calls.drawn(order), discipline))


def served_response_ns(served: ServedRequests) -> np.ndarray:
    """Return the response times of requests, shape (n,)."""
    response_ns: np.ndarray = served.ended_ns - served.scheduled_ns
    return response_ns


def capacity_per_s(calls: CallsInOrder, discipline: Discipline) -> float:
    """Return the rate at which all workers are always busy with as many requests as they may join."""
    busy_ns = calls.full_call_ns + discipline.overhead_ns(discipline.max_batch)
    return float(NS_PER_S * discipline.workers * discipline.max_batch / busy_ns)
