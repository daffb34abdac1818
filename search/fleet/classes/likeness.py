"""Finds hosts that take as long as each other for the same work, among hosts with the same facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from servefit.search.results.host_timing import HostTiming

ALIKE = 0.03
"""Twins whose times differ by 3 % at most are alike: less than that is within what the placement of code and data does
to the same machine from one process to the next."""

SIGMAS = 4.0
"""A host may be off by so many of its standard errors: of a normal distribution one value in 16,000 is beyond, and
what disturbs hosts is not quite as kind."""

NOISIEST = 0.10
"""A host that may be off by more than 10 % cannot be told from its twins. What is off by that much is another class
anyhow."""

_MIN_HOSTS = 6
"""Of fewer, the two or so that are nearest to each other are near by chance."""

_QUARTILE_SDS = 0.6745
"""Standard deviations between the middle of a normal distribution and its quartiles."""

_REFINEMENTS = 10
"""Medians hardly ever move a second time."""

_ROUNDING = 1e-9

_FIXED_WORK = ("arithmetic", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Hosts that are alike, sorted; ``centre_ns`` has the median of each piece of work, in the order of ``works``."""

    hosts: tuple[str, ...]
    representative: str
    works: tuple[str, ...]
    centre_ns: tuple[float, ...]

    def slower_than(self, other: Self) -> Mapping[str, float]:
        """Return by which part of the other's time these hosts take longer for each piece of work; below zero where
        they are faster."""
        pairs = zip(self.works, self.centre_ns, other.centre_ns, strict=True)
        return {work: own_ns / other_ns - 1 for work, own_ns, other_ns in pairs}


def may_be_off(timing: HostTiming) -> Mapping[str, float]:
    """Return how far each piece of work of a host may be off from its twins' by its own noise, as a part of it."""
    return {work: SIGMAS * time.error for work, time in timing.works().items()}


def noisy_works(timing: HostTiming) -> tuple[str, ...]:
    """Return the pieces of work that are too noisy to tell the host from its twins."""
    return tuple(work for work, part in may_be_off(timing).items() if part > NOISIEST)


def find_alike(timings: Mapping[str, HostTiming]) -> tuple[Alike, ...]:
    """Return the hosts in groups of those that are alike, the largest first, then the fastest.

    Of several pieces of work those count that were timed on every host. A group begins with the host that has the most
    others within their tolerances, which are 3 %, or what noise makes of that, and 10 % at most; then it is those
    within their tolerances of its median. What is left is grouped in the same way.
    """
    names = sorted(timings)
    works = _common_works([timings[name] for name in names])
    logs = np.log([[timings[name].works()[work].time_ns for work in works] for name in names])
    own_errors = np.array([[timings[name].works()[work].error for work in works] for name in names])
    errors = np.maximum(own_errors, _usual_deviation(logs))
    allowed = np.log1p(np.clip(SIGMAS * errors, ALIKE, NOISIEST))
    quiet = np.array([not noisy_works(timings[name]) for name in names])
    left, groups = np.arange(len(names)), []
    while len(left):
        members = _densest(logs, allowed, left)
        centre = np.median(logs[members], axis=0)
        fit = members[quiet[members]] if quiet[members].any() else members
        nearest = fit[np.argmin(np.abs(logs[fit] - centre).max(axis=1))]
        groups.append(
            Alike(
                hosts=tuple(names[nth] for nth in members),
                representative=names[nearest],
                works=works,
                centre_ns=tuple(np.exp(centre).tolist()),
            )
        )
        left = np.setdiff1d(left, members)
    return tuple(sorted(groups, key=lambda group: (-len(group.hosts), sum(np.log(group.centre_ns)), group.hosts)))


def _common_works(timings: Sequence[HostTiming]) -> tuple[str, ...]:
    """Return the pieces of work that every host was timed with; calls of different models are different work."""
    same_model = len({timing.subject for timing in timings}) == 1
    common = set.intersection(*({*timing.works()} for timing in timings))
    return tuple(work for work in timings[0].works() if work in common and (same_model or work in _FIXED_WORK))


def _usual_deviation(logs: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each piece of work among the hosts of which most are twins, as that of a normal
    distribution whose middle half is as wide as the narrowest half of the hosts, with the factor for few values of
    [Rousseeuw and Leroy 1987, Robust Regression and Outlier Detection, 5.1]; 0 for so few that a half says nothing.

    Two calibrations of one host differ by more than rounds within one do, as memory that others use is slow for
    minutes. Other than a median absolute deviation this is not wide where half of the hosts are slow.
    """
    half = len(logs) // 2
    if len(logs) < _MIN_HOSTS:
        return np.zeros(logs.shape[1])
    ordered = np.sort(logs, axis=0)
    narrowest: np.ndarray = (ordered[half - 1 :] - ordered[: len(logs) - half + 1]).min(axis=0)
    return (1 + 5 / (len(logs) - 1)) * narrowest / (2 * _QUARTILE_SDS)


def _densest(logs: np.ndarray, allowed: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return which of the hosts that are ``left`` are alike, ascending, around the one with the most like it, and of
    several such the fastest."""
    likes = [int(_within(logs[left], allowed[left], logs[seed]).sum()) for seed in left]
    speeds = logs[left].sum(axis=1)
    seed = min(range(len(left)), key=lambda nth: (-likes[nth], speeds[nth], nth))
    members: np.ndarray = left[_within(logs[left], allowed[left], logs[left[seed]])]
    for _ in range(_REFINEMENTS):
        nearer = left[_within(logs[left], allowed[left], np.median(logs[members], axis=0))]
        if not len(nearer) or np.array_equal(nearer, members):
            break
        members = nearer
    return members


def _within(logs: np.ndarray, allowed: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return which hosts are within their tolerances of ``centre``, in every piece of work."""
    within: np.ndarray = np.all(np.abs(logs - centre) <= allowed + _ROUNDING, axis=1)
    return within
