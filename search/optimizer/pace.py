"""How long things take, and how many of them there will be: what the time left is reckoned from.

Whatever a job does is expected to take as long as its like took so far. Rounds are expected to go on until the interval
of what was measured, as it narrows with more rounds, tells the best apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, fsum, isfinite, log, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.profiler.evidence.comparing.intervals import t_quantile
from servefit.search.optimizer.finalists import MAX_FINALISTS, WITHIN
from servefit.search.results.measure_trial import USUAL_START_S
from servefit.search.results.ranking import MIN_DIFFERENCE
from servefit.search.results.ratios import MIN_ROUNDS

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.ratios import Ratio

Kind: TypeAlias = Literal["timing", "test", "round"]

ROUND_SD = 0.04
"""How far ratios of two configurations in a round are apart (of logarithms) before anything is known of it."""

GAP_SD = 0.06
"""How far a gap turns out from what is expected of it before anything is known of it (of logarithms)."""

QUARTERS = (-1.15, -0.32, 0.32, 1.15)
"""In the middle of each quarter of what may happen: quantiles of a standard normal distribution."""

_QUICKEST = 2
"""So many starts of fresh processes say what the next will take."""

_MIN_S = 1e-3


class Pace:
    """How long each kind of thing took in this job, and what is expected of the next.

    At first it is what ``usual_s`` says of earlier jobs, else ``under_load_s`` with the start of fresh processes as it
    was seen so far. Before one was seen it is no less than ``typical_s``.
    """

    def __init__(
        self, usual_s: Mapping[Kind, float], typical_s: Mapping[Kind, float], under_load_s: Mapping[Kind, float]
    ) -> None:
        self._usual_s = usual_s
        self._typical_s = typical_s
        self._under_load_s = under_load_s
        self._seen_s: dict[Kind, list[float]] = {}
        self._starts_s: list[float] = []
        self._rounds_s: dict[Configuration, float] = {}

    def took(self, kind: Kind, seconds: float, configuration: Configuration, *, beside_s: float = 0.0) -> None:
        """``beside_s`` is what it took beside the start of fresh processes, where that is known."""
        self._seen_s.setdefault(kind, []).append(max(seconds, _MIN_S))
        if kind == "round":
            self._rounds_s[configuration] = seconds
        if beside_s:
            self._starts_s.append(max(0.0, seconds - beside_s))

    def expected_s(self, kind: Kind) -> float:
        """The mean of those seen."""
        if seen := self._seen_s.get(kind):
            return fmean(seen)
        if kind == "round" and (tests := self._seen_s.get("test")):
            # A machine that disturbs tests, so that they are made again, will disturb rounds.
            return max(0.0, fmean(tests) - self._under_load_s["test"]) + self._under_load_s["round"]
        if kind in self._usual_s:
            return self._usual_s[kind]
        if self._starts_s:
            # The others began with imports, which are done by now.
            return fmean(sorted(self._starts_s)[:_QUICKEST]) + self._under_load_s[kind]
        return max(self._typical_s.get(kind, 0.0), USUAL_START_S + self._under_load_s[kind])

    def round_s(self, configuration: Configuration) -> float:
        """What the part of ``configuration`` in a round is expected to take."""
        return self._rounds_s.get(configuration, self.expected_s("round"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Somebody whom the leader of rounds is expected to be exp(``gap``) times better than, give or take ``gap_sd`` (of
    logarithms). A part in a round takes ``each_s``. Both took part in so many ``rounds``, in which their ratios were
    ``sd`` apart."""

    gap: float
    each_s: float
    gap_sd: float = GAP_SD
    sd: float = ROUND_SD
    rounds: int = 0

    @classmethod
    def of(cls, measured: Ratio, expected_gap: float, each_s: float) -> Contestant:
        """One that the leader is ``measured.ratio`` times better than. What was expected before counts as a round."""
        sd = ROUND_SD
        if measured.ci95 is not None and min(measured.ci95) > 0:
            half = (log(measured.ci95[1]) - log(measured.ci95[0])) / 2
            sd = half * sqrt(measured.rounds) / t_quantile(0.975, measured.rounds - 1)
        gap = (measured.rounds * log(measured.ratio) + expected_gap) / (measured.rounds + 1)
        return cls(gap=gap, each_s=each_s, gap_sd=sd / sqrt(measured.rounds), sd=sd, rounds=measured.rounds)

    def turning_out(self, sds: float) -> Contestant:
        """The same where the gap turns out so many standard deviations wider. The better one is the leader."""
        return replace(self, gap=abs(self.gap + sds * self.gap_sd), gap_sd=0.0)

    def more_rounds(self, most: int) -> int:
        """How many more rounds it is expected to take part in, ``most`` where they do not tell it apart."""
        for more in range(most):
            rounds = self.rounds + more
            if rounds < MIN_ROUNDS:
                continue
            half = t_quantile(0.975, rounds - 1) * self.sd / sqrt(rounds)
            if self.gap - half > log(1 + MIN_DIFFERENCE):
                return more
        return most


def expected_gaps(figures: Sequence[float]) -> list[float]:
    """How far behind the best those are expected to be that take part in the rounds beside it: of ``figures``, to be
    minimised, of all that will have been measured, the nearest."""
    ranked = sorted(one for one in figures if one > 0 and isfinite(one))
    gaps = [log(one / ranked[0]) for one in ranked[1:]]
    near = [gap for gap in gaps if exp(gap) <= 1 + WITHIN][: MAX_FINALISTS - 1]
    return near or gaps[:1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round to come: how many tests, and how long they, and the longest of them, take."""

    tests: int
    seconds: float
    longest_s: float


def expected_rounds(leader_s: float, contestants: Sequence[Contestant], most: int) -> list[Round]:
    """The rounds to come, up to ``most``, in which the leader takes ``leader_s`` each."""
    ends = [(one, one.more_rounds(most)) for one in contestants]
    turns = [[one for one, end in ends if end > nth] for nth in range(most)]
    each_s = [[leader_s, *(one.each_s for one in turn)] for turn in turns if turn]
    return [Round(tests=len(one), seconds=fsum(one), longest_s=max(one)) for one in each_s]


@dataclass(slots=True, kw_only=True)
class Future:
    """The rest of a job, played forward: ``now_s`` and ``tests_left`` change as it goes, and ``round_test_s``, which is
    the longest test of the last round, or what one is taken for before the first."""

    now_s: float
    limit_s: float
    tests_left: float
    round_test_s: float = 0.0

    @property
    def left_s(self) -> float:
        return self.limit_s - self.now_s

    def go_on(self, seconds: float, *, tests: float = 0) -> None:
        self.now_s += seconds
        self.tests_left -= tests

    def time_calls(self, subjects: int, each_s: float, until_s: float) -> None:
        """Time calls of so many ``subjects``, none of which begins after ``until_s``."""
        if self.now_s < until_s:
            in_time = ceil((until_s - self.now_s) / each_s) if isfinite(until_s) else subjects
            self.go_on(min(subjects, in_time) * each_s)

    def try_out(self, tests: int, each_s: float, *, at_once: int, until_s: float, kept: float) -> None:
        """Make so many ``tests``, none of which begins after ``until_s``, and keep as many as ``kept``."""
        while tests > 0 and self.tests_left > kept and self.now_s < until_s and each_s <= self.left_s:
            made = min(tests, at_once, int(min(self.tests_left - kept, tests)))
            self.go_on(each_s, tests=made)
            tests -= made

    def take_turns_of(self, leader_s: float, contestants: Sequence[Contestant], most: int, *, after_s: float) -> None:
        """Carry out up to ``most`` rounds, in which the leader takes ``leader_s`` each: the mean of what may happen."""
        futures = [replace(self) for _ in QUARTERS]
        for future, sds in zip(futures, QUARTERS, strict=True):
            rounds = expected_rounds(leader_s, [one.turning_out(sds) for one in contestants], most)
            future.take_turns(rounds, after_s=after_s)
        self.now_s = fmean(one.now_s for one in futures)
        self.tests_left = fmean(one.tests_left for one in futures)
        self.round_test_s = max(one.round_test_s for one in futures)

    def take_turns(self, rounds: Sequence[Round], *, after_s: float) -> None:
        """Carry out ``rounds``, while there is room for the next, one more test and ``after_s`` behind it, were all of
        them as long as the longest of the round before."""
        for one in rounds:
            if self.left_s < (one.tests + 1) * self.round_test_s + after_s or self.tests_left <= one.tests:
                return
            self.go_on(one.seconds, tests=one.tests)
            self.round_test_s = one.longest_s
