"""The calls of a run, in the order in which they were begun, to be put behind other arrivals.

Those of an endpoint are not seen, and inferred from when its answers came.

Their order is kept: a machine that is slow for a while makes calls that follow each other slow, and these make queues.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.queueing.service import DrawnTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.record.types import Configuration, Run


def discipline_of(run: Run, configuration: Configuration | None) -> Discipline:
    """Return the queue that ``served_requests`` are of: that of the workers in process, and one server over HTTP."""
    if run.client is None and configuration is not None:
        return Discipline.of(configuration)
    return Discipline(call_overhead_ns=0, request_overhead_ns=0)


def served_requests(run: Run) -> ServedRequests:
    """Return what an open loop recorded of the requests that were answered. Times are from the start of its plateau.

    In process, requests of one call begin and end at the same times. Over HTTP nothing shows the calls, and requests
    are taken to be served by one server (see ``served_as_by_one``).
    """
    begin, samples = run.plateau_ns[0], run.samples
    ended = samples.ended_ns()
    answered = ended > 0
    due_ns, ended_ns = samples.scheduled_ns()[answered] - begin, ended[answered] - begin
    if run.client is not None:
        return served_as_by_one(due_ns, ended_ns)
    started_ns = samples.started_ns()[answered] - begin
    changes = np.flatnonzero(np.diff(started_ns) | np.diff(ended_ns)) + 1
    bounds = np.concatenate([[0], changes, [len(started_ns)]]) if len(started_ns) else np.zeros(1, dtype=np.int64)
    return ServedRequests(
        scheduled_ns=due_ns.astype(np.float64),
        started_ns=started_ns.astype(np.float64),
        ended_ns=ended_ns.astype(np.float64),
        batches=np.diff(bounds).astype(np.int64),
    )


def served_as_by_one(due_ns: np.ndarray, ended_ns: np.ndarray) -> ServedRequests:
    """Return requests that were due and answered at these times, (n,), as one server would have answered them.

    It answers one after the other, in their order: each takes the time from its arrival, or from the answer before it
    if that is later, to its own answer. Behind a single worker these are its service times, and what lies between
    client and server on top where nothing waited. Several workers are taken for one that is quick when it has much to
    do, and slow when it has little, which leaves rates 7 to 15 % too low (M/M/2 to M/M/8 near a limit).
    """
    due_ns, ended_ns = np.sort(due_ns).astype(np.float64), np.sort(ended_ns).astype(np.float64)
    before_ns = np.concatenate([due_ns[:1], ended_ns[:-1]])
    return ServedRequests(
        scheduled_ns=due_ns,
        started_ns=np.maximum(due_ns, before_ns),
        ended_ns=ended_ns,
        batches=np.ones(len(due_ns), dtype=np.int64),
    )


def with_seen_overhead(discipline: Discipline, runs: Sequence[ServedRequests]) -> Discipline:
    """Return ``discipline`` with the time that a worker was seen to take between two calls while requests waited, on
    average: a machine that holds it up does so between calls too.

    With several workers it cannot be told whose call was next, and all stays as it is.
    """
    if discipline.workers > 1:
        return discipline
    between_ns = [np.empty(0)]
    for run in runs:
        firsts = np.cumsum(run.batches) - run.batches
        ended_ns, sizes, nexts = run.ended_ns[firsts[:-1]], run.batches[1:], firsts[1:]
        full = (sizes == discipline.max_batch) & (run.scheduled_ns[nexts + sizes - 1] <= ended_ns)
        # What waits for others to join does so with the worker idle.
        waited = full | (run.scheduled_ns[nexts] + discipline.delay_ns <= ended_ns)
        of_requests_ns = discipline.request_overhead_ns * run.batches[:-1][waited]
        between_ns.append(run.started_ns[firsts[1:]][waited] - ended_ns[waited] - of_requests_ns)
    seen_ns = np.concatenate(between_ns)
    return replace(discipline, call_overhead_ns=max(0.0, float(seen_ns.mean()))) if len(seen_ns) else discipline


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedCalls:
    """``requests`` (n,) has how many requests each call joined, int64, and ``service_ns`` (n,) how long it took."""

    requests: np.ndarray
    service_ns: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[ServedRequests]) -> Self:
        """Return the calls of ``runs``, one run after the other."""
        firsts = [np.cumsum(run.batches) - run.batches for run in runs]
        return cls(
            requests=np.concatenate([run.batches for run in runs]),
            service_ns=np.concatenate(
                [run.ended_ns[first] - run.started_ns[first] for run, first in zip(runs, firsts, strict=True)]
            ),
        )

    def __len__(self) -> int:
        return len(self.requests)

    def mean_times_ns(self, most_requests: int) -> np.ndarray:
        """Return the mean time of a call of 1, 2, ... ``most_requests`` requests.

        The means of the recorded sizes, drawn towards a line through all of them: the more, the fewer calls a size had,
        and the closer to the line the others lie [empirical Bayes: Efron and Morris 1975]. Sizes that did not come are
        on the line, or half of the least mean, whichever is more.
        """
        sizes, place, counts = np.unique(self.requests, return_inverse=True, return_counts=True)
        means_ns = np.bincount(place, self.service_ns) / counts
        around = np.average(sizes, weights=counts)
        spread = np.average((sizes - around) ** 2, weights=counts)
        middle_ns = np.average(means_ns, weights=counts)
        # One size only: in proportion, as if a call had no time of its own.
        slope_ns = middle_ns / around
        if spread:
            slope_ns = np.average((sizes - around) * (means_ns - middle_ns), weights=counts) / spread
        every = np.arange(1, max(most_requests, sizes[-1]) + 1)
        line_ns = np.maximum(middle_ns + slope_ns * (every - around), means_ns.min() / 2)
        off = means_ns / line_ns[sizes - 1] - 1
        # The errors of the means, by how much calls of the same size differ.
        errors = np.square(self.service_ns / means_ns[place] - 1).sum() / max(1, len(self) - len(sizes)) / counts
        bent = max(0.0, float(np.average(off**2 - errors, weights=counts)))
        kept = np.divide(bent, bent + errors, out=np.ones(len(sizes)), where=bent + errors > 0)
        line_ns[sizes - 1] *= 1 + kept * off
        times_ns: np.ndarray = line_ns[:most_requests]
        return times_ns


class CallsInOrder:
    """Recorded calls as service times of a simulation: the n-th call there takes as much longer than the mean of its
    size as the call at the n-th place of an ``order`` did."""

    def __init__(self, calls: RecordedCalls, *, max_batch: int, workers: int) -> None:
        # Two workers may begin and end a call in the same nanosecond, and then look like one call of both.
        calls = RecordedCalls(requests=np.minimum(calls.requests, max_batch), service_ns=calls.service_ns)
        means_ns = calls.mean_times_ns(max_batch)
        self.relative = calls.service_ns / means_ns[calls.requests - 1]
        self.longest_ns = float(calls.service_ns.max())
        self._means_ns = (0.0, *means_ns.tolist())
        self._workers = workers

    @classmethod
    def of(cls, runs: Sequence[ServedRequests], discipline: Discipline) -> Self:
        """Return the calls of ``runs``, one run after the other, for simulations of ``discipline``."""
        return cls(RecordedCalls.of(runs), max_batch=discipline.max_batch, workers=discipline.workers)

    @property
    def full_call_ns(self) -> float:
        """The mean time of a call that joins as many requests as may be."""
        full_ns: float = self._means_ns[-1]
        return full_ns

    def drawn(self, order: np.ndarray) -> DrawnTimes:
        """Return the times of calls in ``order`` (n,), places among those recorded."""
        shape = self.relative[order]
        # A loop over single calls reads a list faster, a sum over all of them an array.
        sizes = len(self._means_ns) - 1
        shapes = [shape] if sizes == self._workers == 1 else [shape.tolist()] * sizes
        return DrawnTimes(
            calls=len(order),
            means_ns=self._means_ns,
            shapes=((), *shapes),
            # What workers take from each other is in the recorded times.
            slowdowns=(0.0, *[1.0] * self._workers),
        )
