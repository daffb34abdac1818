"""The conditions on which a closed loop ends before its time: those of SageMaker Inference Recommender.

Pure and deterministic: a rule is told what happened so far, now and then, and says which condition is reached. Who
counts the answers, and how the run is ended, is for the driver. What is told comes in portions, one a look. They show
by how much a figure swings, so that neither chance nor one hiccup of the machine ends a run (batch means [Conway
1963]).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.evidence.autocorrelation import time_of_unevenness
from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.summary import CONFIDENCE, samples_needed
from servefit.profiler.record.traffic import MIN_STEP_S
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.record.traffic import Plateau

StoppingCondition: TypeAlias = Literal["flat", "rate", "latency"]

MAX_THRESHOLDS = 5
"""As many limits as a worker has counters for."""

MIN_GROWTH = 0.02
"""More users that bring less than this are in doubt; that is so on two levels before a run is flat."""

_MORE_USERS = 1.1
"""Levels are held against those with a tenth fewer users: half as much growth as theirs is 5 %, well above 2 %."""

_MIN_OF_USERS_GROWTH = 0.5
"""Throughput of a server with capacity to spare grows as its users do; half of that is neither. Chosen."""

_FLAT_LEVELS = 2
"""A single level may have met a hiccup of the machine."""

_MIN_LOOKS = 30
"""Looks at a level before its answers are surely too slow: in the first second a single slow phase may be all that was
seen. By experiment: with ten, 4 % of levels at the limit end for that where looks have an autocorrelation of 0.9, with
thirty 0.5 % (tests/profiler/evidence/test_stopping.py has a short version)."""

_MIN_TO_VARY = 10
"""Batches that a variance takes: it errs by a factor of 1.5 then. Chosen."""

_MIN_BATCHES = 5
"""Batches between two looks, of which a mean and its margin are made: four degrees of freedom. Chosen."""

_SURELY = 0.01
"""The probability that a level whose answers are as slow as a limit allows is ever ended for that, however often it is
looked at."""

_TUNED_TO = 20.0
"""Batches after which the boundary of ``_surely_above_zero`` is the nearest to the mean: half of the levels that people
ask for have more looks, and half have fewer. Chosen, not measured."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConditions:
    """The conditions that end a closed loop before its time. Raises SpecError.

    ``flat``: throughput has stopped growing although users are added. ``most_per_s``: so many requests a second are
    answered, and nobody asks for more. ``thresholds``: one of them is broken.
    """

    flat: bool = True
    most_per_s: float | None = None
    thresholds: tuple[LatencyThreshold, ...] = ()

    def __post_init__(self) -> None:
        if self.most_per_s is not None:
            check_above_zero("max invocations", self.most_per_s)
        if len(self.thresholds) > MAX_THRESHOLDS:
            limits = ", ".join(map(str, self.thresholds))
            raise SpecError("sla", limits, f"are more limits than the {MAX_THRESHOLDS} that are watched")


class StoppingRule:
    """Watches one run of a closed loop, whose users stay the same on each of ``plateaus``, in order.

    Levels are the plateaus of MIN_STEP_S at least; ramps between them are not judged.

    - flat: two levels in a row gained nothing. Their throughput is not 2 % above the best of the levels before that had
      a tenth fewer users, and surely (99 %) grew by less than half of what these users did.
    - rate: the throughput of a level, so far, has reached what is asked for.
    - latency: more answers of a level, so far, took longer than a threshold allows, surely (99 %, however often it is
      looked at), and there are as many as the percentile takes.
    """

    def __init__(self, conditions: StoppingConditions, plateaus: Sequence[Plateau]) -> None:
        self._conditions = conditions
        self._ahead = deque(plateau for plateau in plateaus if plateau.is_step)
        self._level: _Level | None = None
        self._over: list[_Throughput] = []
        self._flat_levels = 0

    def update(self, elapsed_s: float, answered: int, slower: Sequence[int]) -> StoppingCondition | None:
        """Look at the run: ``answered`` requests in the first ``elapsed_s`` seconds, of which ``slower``, an entry a
        threshold, took longer than it allows. Counts never fall. Gives the condition that is reached now, if any."""
        while self._ahead and elapsed_s >= self._ahead[0].end_s:
            if reached := self._reached_after(self._ahead.popleft()):
                return reached
        if not self._ahead or elapsed_s < self._ahead[0].begin_s:
            return None
        if self._level is None:
            self._level = _Level(self._conditions.thresholds, elapsed_s, answered, slower)
            return None
        self._level.add(elapsed_s, answered, slower)
        if elapsed_s - self._ahead[0].begin_s < MIN_STEP_S:
            return None
        return self._reached(self._level)

    def _reached(self, level: _Level) -> StoppingCondition | None:
        most_per_s = self._conditions.most_per_s
        if most_per_s is not None and level.per_s >= most_per_s:
            return "rate"
        return "latency" if level.breaks_a_threshold() else None

    def _reached_after(self, plateau: Plateau) -> StoppingCondition | None:
        """Return the condition that is reached now that the level of ``plateau`` is over."""
        level, self._level = self._level, None
        if level is None or level.rates.count < _MIN_BATCHES:
            self._flat_levels = 0
            return None
        fewer = [earlier for earlier in self._over if earlier.users * _MORE_USERS <= plateau.users]
        best = max(fewer, key=lambda earlier: earlier.per_s, default=None)
        gained_nothing = best is not None and _gained_nothing(best, level, plateau.users)
        self._flat_levels = self._flat_levels + 1 if gained_nothing else 0
        self._over.append(_Throughput(users=plateau.users, per_s=level.per_s))
        if self._conditions.flat and self._flat_levels >= _FLAT_LEVELS:
            return "flat"
        return self._reached(level)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Throughput:
    """The throughput of a level that is over."""

    users: int
    per_s: float


def _gained_nothing(best: _Throughput, level: _Level, users: int) -> bool:
    """Return whether ``users``, more than those of ``best``, did not bring ``level`` more answers."""
    in_proportion = 1 + _MIN_OF_USERS_GROWTH * (users / best.users - 1)
    surely_below = level.per_s + level.rates.margin() < in_proportion * best.per_s
    return surely_below and level.per_s < (1 + MIN_GROWTH) * best.per_s


class _Level:
    """Counts of a level so far, from the first look at it on."""

    def __init__(
        self, thresholds: Sequence[LatencyThreshold], elapsed_s: float, answered: int, slower: Sequence[int]
    ) -> None:
        self._thresholds = thresholds
        self._first = self._last = (elapsed_s, answered, tuple(slower))
        self._excesses = [_Excess() for _ in thresholds]
        self.rates = _Batches()

    def add(self, elapsed_s: float, answered: int, slower: Sequence[int]) -> None:
        seconds, answers = elapsed_s - self._last[0], answered - self._last[1]
        if seconds <= 0:
            return  # nothing was told since
        self.rates.add(answers / seconds)
        for threshold, excess, now, before in zip(self._thresholds, self._excesses, slower, self._last[2], strict=True):
            excess.add(now - before - _allowed(threshold) * answers)
        self._last = (elapsed_s, answered, tuple(slower))

    @property
    def per_s(self) -> float:
        seconds = self._last[0] - self._first[0]
        return (self._last[1] - self._first[1]) / seconds if seconds else 0.0

    def breaks_a_threshold(self) -> bool:
        answers = self._last[1] - self._first[1]
        return any(
            answers >= samples_needed(threshold.rank)
            and excess.is_surely_above_zero(least_variance=_allowed(threshold) * threshold.rank / 100 * answers)
            for threshold, excess in zip(self._thresholds, self._excesses, strict=True)
        )


def _allowed(threshold: LatencyThreshold) -> float:
    """Return the share of answers that may take longer."""
    return 1 - threshold.rank / 100


class _Batches:
    """The mean of batches, each of what came between two looks, and how far it may be off [Conway 1963]."""

    def __init__(self) -> None:
        self.count = 0
        self._total = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self._total += value
        self._squares += value * value

    @property
    def mean(self) -> float:
        return self._total / self.count if self.count else 0.0

    def margin(self) -> float:
        """Return by how much the true mean may be above, or below, this one (one-sided, 99 %); infinite for few."""
        if self.count < _MIN_BATCHES:
            return inf
        variance = max(0.0, self._squares - self.count * self.mean**2) / (self.count - 1)
        return t_quantile(CONFIDENCE, self.count - 1) * sqrt(variance / self.count)


class _Excess:
    """By how many more answers than a limit allows took too long, from look to look."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, value: float) -> None:
        self._values.append(value)

    def is_surely_above_zero(self, *, least_variance: float) -> bool:
        """Return whether the sum so far is further above zero than it comes in one of a hundred levels, at any look,
        whose mean is zero.

        A confidence sequence: the boundary of the normal mixture [Robbins 1970; Howard et al. 2021], with the variance
        of the sum estimated [Waudby-Smith et al. 2021], by means of batches, since slow answers come together. It is
        ``least_variance`` at least, that of independent answers.
        """
        number = len(self._values)
        if number < _MIN_LOOKS:
            return False
        total = sum(self._values)
        if total <= 0:
            return False
        variance = max(least_variance, _variance_of_sum(np.array(self._values)))
        scale = _TUNED_TO * variance / number
        return total > sqrt((variance + scale) * (2 * log(1 / _SURELY) + log((variance + scale) / scale)))


def _variance_of_sum(values: np.ndarray) -> float:
    """Return the variance of the sum of ``values``, which may be correlated: by the longest autocorrelation time that
    batches of any length show of which there are enough. As ``sequential_test``, which has 40 of one length."""
    number, variance = len(values), float(values.var(ddof=1))
    time, length = 1.0, 2
    while variance > 0 and number // length >= _MIN_TO_VARY:
        batches = number // length
        means = values[number - batches * length :].reshape(batches, length).mean(axis=1)
        unevenness = float(means.var(ddof=1)) / variance
        time = max(time, time_of_unevenness(unevenness, length))
        length *= 2
    return number * variance * min(time, number)
