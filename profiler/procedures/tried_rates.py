"""The runs of a search for the highest rate, and its answer. How one is searched is in ``highest_rate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from servefit.showing import shown

if TYPE_CHECKING:
    import numpy as np

    from servefit.profiler.evidence.limits import LatencyThreshold, Verdict
    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.profiler.queueing.discipline import ServedRequests

Stop: TypeAlias = "Callable[[np.ndarray], bool]"
"""Called now and then with the response times so far (ns, in order of arrival); True ends the run."""


UNMET = "the SLA is not met"
"""The beginning of ``ended`` where even the lowest rate that was tried breaks a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """The outcome of a run in an open loop: response times in ns in order of arrival, shape (n,), and how long it took;
    of that, ``left_out_s`` are the times that the machine got in the way, which nothing here is of.

    There are fewer than asked for if the run was stopped, or ``saturated``: ended because too many requests waited. A
    ``disturbed`` run says nothing, and is made again unless there are too many of them. ``served`` has the calls of
    what was answered, None where nothing shows them, or not all was answered.
    """

    response_ns: np.ndarray
    elapsed_s: float
    left_out_s: float = 0.0
    served: ServedRequests | None = None
    saturated: bool = False
    disturbed: bool = False


class Probe(Protocol):
    """Carries out one run: ``requests`` arrivals at ``rate_per_s``, fewer if ``stop`` says so."""

    def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun: ...


class ThresholdTest(Protocol):
    """Decides on one threshold, as SequentialTest does."""

    def surely_fails(self, response_ns: np.ndarray) -> bool: ...

    def conclude(self, response_ns: np.ndarray) -> Evidence: ...


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class TriedRate:
    """One run of the search. ``percentiles_ns``, one a threshold, leave out the first tenth of the requests; None when
    no request was answered."""

    rate_per_s: float
    requests: int
    percentiles_ns: tuple[float, ...] | None
    verdict: Verdict | Literal["SATURATED"]
    purpose: Literal["approach", "confirm"]

    def keeps(self, thresholds: Sequence[LatencyThreshold]) -> bool:
        """Return whether the percentiles, as they were measured, keep to ``thresholds``."""
        if self.percentiles_ns is None:
            return False
        return all(ns <= limit.limit_ns for ns, limit in zip(self.percentiles_ns, thresholds, strict=True))


@shown("rate_per_s", "root_per_s", "interval_per_s", "ended")
@dataclass(frozen=True, slots=True, kw_only=True)
class HighestRate:
    """``rate_per_s`` is the claim to make, None where there is none: with ``basis`` "replayed" all thresholds hold
    there with 95 % confidence by a replay of the calls, and a run at it did not fail; with "tested" a run passed the
    sequential test for every threshold, and so do all runs together.

    ``root_per_s`` is the best estimate of where the first threshold is reached: about half of the time it is too high,
    so it is no claim. By a replay it has a 95 % interval; without one, an interval from what runs differ holds the
    truth too seldom, as benchmarks/claims/rate_search.py measured, and is not given. ``ratio`` is the measured
    percentile over the replayed one. ``elapsed_s`` is the time of running, without warm-ups. ``ended`` says in words
    why the search ended; ``disturbed``, that runs that were disturbed are the reason, or took the time that was
    missing.
    """

    rate_per_s: float | None
    root_per_s: float | None
    interval_per_s: tuple[float, float] | None
    tried: tuple[TriedRate, ...]
    requests: int
    elapsed_s: float
    ended: str
    disturbed: bool
    basis: Literal["replayed", "tested"] = "tested"
    ratio: float | None = None

    @property
    def verdict(self) -> Verdict:
        """PASS with a rate, FAIL where the lowest that was tried breaks a limit, UNDECIDED where time ran out."""
        if self.rate_per_s is not None:
            return "PASS"
        return "FAIL" if self.ended.startswith(UNMET) else "UNDECIDED"
