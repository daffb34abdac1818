"""Service times of a predictor: those of calls that were measured, and times drawn from them for a simulation.

Distributions are kept as the means of equal shares of the sorted times, which is short enough to be stored and keeps
the mean exactly. Measuring is left to the profiler.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import Self

import numpy as np

from servefit.checks import check_above_zero, check_whole
from servefit.errors import SpecError
from servefit.profiler.queueing.after_idle import AfterIdle, check_ascending_from_0
from servefit.profiler.queueing.changing_sizes import ChangingSizes, check_changing_sizes, times_as_long
from servefit.profiler.queueing.serial_order import SerialOrder, check_serial_order, ranks_of
from servefit.showing import shown
from servefit.stored import Stored, StoredMember

MAX_STRATA = 100
"""A stratum is a percent, so that a p99 has its own. Chosen, not measured."""


def strata_of(times_ns: np.ndarray) -> tuple[float, ...]:
    """Return the means of a hundred equal shares of ``times_ns`` (n,), ascending, or all times if they are fewer."""
    times = np.sort(np.asarray(times_ns, dtype=np.float64))
    if len(times) > MAX_STRATA:
        below = np.concatenate([[0.0], np.cumsum(times)])
        bounds = np.linspace(0, len(times), MAX_STRATA + 1)
        # Rounding may turn around shares that are equal.
        times = np.sort(np.diff(np.interp(bounds, np.arange(len(below)), below)) * MAX_STRATA / len(times))
    return tuple(times.tolist())


@shown()
class BatchTimes(Stored, frozen=True, kw_only=True):
    """Times of calls that join ``requests`` requests, made by one worker alone.

    ``strata_ns`` are the means of equal shares of the sorted times, ascending, at most a hundred. Raises SpecError.
    """

    requests: int
    strata_ns: tuple[float, ...]

    def __post_init__(self) -> None:
        check_whole("requests", self.requests, least=1)
        if not self.strata_ns:
            raise SpecError("strata_ns", self.strata_ns, "is empty")
        if len(self.strata_ns) > MAX_STRATA:
            raise SpecError("strata_ns", len(self.strata_ns), f"is more than {MAX_STRATA} values")
        # Those between are between them where all are ascending, which they are not beside a NaN.
        check_above_zero("strata_ns", self.strata_ns[0])
        check_above_zero("strata_ns", self.strata_ns[-1])
        if not all(low <= high for low, high in pairwise(self.strata_ns)):
            raise SpecError("strata_ns", self.strata_ns, "is not ascending")

    @classmethod
    def of(cls, requests: int, times_ns: np.ndarray) -> Self:
        """Summarize ``times_ns`` (n,) of calls as a hundred strata, or as many as there are values if fewer.

        Their mean is that of the times: one that lies between two shares belongs to both in part. Raises SpecError.
        """
        return cls(requests=requests, strata_ns=strata_of(times_ns))

    @property
    def mean_ns(self) -> float:
        return fmean(self.strata_ns)

    def stretched(self, factor: float) -> Self:
        """Return times that are all ``factor`` times as long."""
        return replace(self, strata_ns=tuple(factor * value for value in self.strata_ns))


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnTimes:
    """Service times for the calls of a simulation. With ``requests`` requests, and ``busy`` workers in a call as it
    begins, the n-th takes ``means_ns[requests] * shapes[requests][n] * slowdowns[busy]`` nanoseconds.

    Indices 0 of requests and of busy stand for nothing. ``calls`` is how many calls there are times for. A call that
    begins after its worker was idle takes longer by what ``after_idle`` has at ``ranks[n]`` (0..1); where that is
    empty it does not.
    """

    calls: int
    means_ns: tuple[float, ...]
    shapes: tuple[Sequence[float] | np.ndarray, ...]
    slowdowns: tuple[float, ...]
    after_idle: tuple[AfterIdle, ...] = ()
    ranks: Sequence[float] = ()


@shown()
class ServiceTimes(StoredMember, frozen=True, kw_only=True):
    """The service times of a configuration's predictor, as far as they are known.

    ``batches`` has the measured batch sizes, ascending. With ``workers`` workers busy at once a call takes
    ``contention`` times as long as alone, on average. ``after_idle`` is what calls take longer that begin after their
    worker was idle, by how long, ascending from 0: the larger part of a call's own time goes with the larger of that.
    It is empty where that was not measured. ``changing_sizes`` is what calls take longer among calls of other sizes;
    times are those of calls among their like, as in a closed loop. ``serial_order`` is in which order a worker's calls
    were quick and slow as requests came by themselves. Raises SpecError.
    """

    batches: tuple[BatchTimes, ...]
    workers: int = 1
    contention: float = 1.0
    after_idle: tuple[AfterIdle, ...] = ()
    changing_sizes: ChangingSizes = ()
    serial_order: SerialOrder = ()

    def __post_init__(self) -> None:
        if self.after_idle:
            check_ascending_from_0(self.after_idle)
        check_changing_sizes(self.changing_sizes)
        check_serial_order(self.serial_order)
        if not self.batches:
            raise SpecError("batches", self.batches, "is empty")
        if any(high.requests <= low.requests for low, high in pairwise(self.batches)):
            raise SpecError("batches", [batch.requests for batch in self.batches], "is not ascending")
        check_whole("workers", self.workers, least=1)
        check_above_zero("contention", self.contention)
        if self.workers == 1 and self.contention != 1:
            raise SpecError("contention", self.contention, "is not 1, and one worker has none to contend with")

    def mean_ns(self, requests: int, busy: int = 1) -> float:
        """Return the mean time of a call of ``requests`` requests while ``busy`` workers are in a call, this one
        included.

        Linear in the number of requests between sizes that were measured. Beyond the last one the last segment goes on,
        where it does not fall; below the first one the first segment does, where it stays between the first mean and
        its proportional part. A single size is scaled in proportion.
        """
        if requests < 1:
            raise SpecError("requests", requests, "is not above zero")
        return self._mean_alone_ns(requests) * self.slowdown(busy)

    def slowdown(self, busy: int) -> float:
        """Return how many times longer a call takes with ``busy`` workers busy than with one.

        Linear from 1 to ``contention`` at ``workers``, and beyond; where it falls, it falls no further than that.
        """
        if busy < 1:
            raise SpecError("busy", busy, "is not above zero")
        if self.workers == 1:
            return 1.0
        grown = 1 + (self.contention - 1) * (busy - 1) / (self.workers - 1)
        return max(grown, min(self.contention, 1.0))

    def strata_ns(self, requests: int, busy: int = 1) -> np.ndarray:
        """Return the distribution behind :meth:`mean_ns`: float64, equally likely, ascending. Its shape is that of the
        nearest size that was measured."""
        shape = self._nearest(requests)
        return np.array(shape.strata_ns) * (self.mean_ns(requests, busy) / shape.mean_ns)

    def among_changing_sizes(self) -> ServiceTimes:
        """Return these times as calls take them in an open loop, in which sizes change from call to call."""
        if not self.changing_sizes:
            return self
        batches = (batch.stretched(times_as_long(batch.requests, self.changing_sizes)) for batch in self.batches)
        return replace(self, batches=tuple(batches), changing_sizes=())

    def draw(self, calls: int, *, most_requests: int, workers: int, random: np.random.Generator) -> DrawnTimes:
        """Draw times for ``calls`` calls of up to ``most_requests`` requests, with up to ``workers`` workers busy.

        The strata come in their serial order where one worker has one, else in any, and all of them equally often (but
        for a remainder): the means of two simulations differ by less than those of independent draws, so that shorter
        ones will do.
        """
        # What several workers are slowed down by at the same time is not in the order of one.
        ranks = ranks_of(calls, self.serial_order if workers == 1 else (), random)
        shapes: dict[int, tuple[float, ...]] = {}
        for batch in self.batches:
            strata = np.array(batch.strata_ns) / batch.mean_ns
            shapes[batch.requests] = tuple(strata[(ranks * len(strata)).astype(np.int64)].tolist())
        sizes = range(1, most_requests + 1)
        return DrawnTimes(
            calls=calls,
            means_ns=(0.0, *(self._mean_alone_ns(requests) for requests in sizes)),
            shapes=((), *(shapes[self._nearest(requests).requests] for requests in sizes)),
            slowdowns=(0.0, *(self.slowdown(count) for count in range(1, workers + 1))),
            after_idle=self.after_idle,
            ranks=ranks.tolist() if self.after_idle else (),
        )

    def _nearest(self, requests: int) -> BatchTimes:
        return min(self.batches, key=lambda batch: abs(batch.requests - requests))

    def _mean_alone_ns(self, requests: int) -> float:
        first, last = self.batches[0], self.batches[-1]
        if len(self.batches) == 1:
            return first.mean_ns * requests / first.requests
        # The segment that ends at the first size above, or else the last one.
        ends = bisect_right(self.batches, requests, 1, len(self.batches) - 1, key=lambda batch: batch.requests)
        low, high = self.batches[ends - 1], self.batches[ends]
        slope = (high.mean_ns - low.mean_ns) / (high.requests - low.requests)
        mean_ns = low.mean_ns + slope * (requests - low.requests)
        if requests > last.requests:
            return max(mean_ns, last.mean_ns)
        if requests < first.requests:
            return min(max(mean_ns, first.mean_ns * requests / first.requests), first.mean_ns)
        return mean_ns
