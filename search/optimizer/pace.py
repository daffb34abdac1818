"""The time that things take, and the number of them to come, from which the time left is reckoned.

Whatever a job does is expected to take as long as its like took so far. Rounds are expected to go on until the interval
of what was measured, as it narrows with more rounds, tells the best apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, fsum, isfinite, log, sqrt
from statistics import fmean
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.profiler.evidence.intervals import t_quantile
from servefit.search.optimizer.leads import CAPACITY_SD, ENOUGH, FAR_BEHIND, MAX_CHANCE, PRIOR_ROUNDS
from servefit.search.results.measure_trial import USUAL_START_S
from servefit.search.results.ratios import MIN_ROUNDS

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.ratios import Ratio

Activity: TypeAlias = Literal["timing", "test", "round"]

GAP_SD = 0.06
"""The standard deviation of a gap from what is expected of it (of logarithms), before anything is known of it. Chosen,
not measured."""

QUARTERS = (-1.15, -0.32, 0.32, 1.15)
"""The middle of each quarter of what may happen: the 0.125, 0.375, 0.625 and 0.875 quantiles of a standard normal
distribution."""

MAX_RIVALS, _NEAR = 2, 0.15
"""So many finalists are expected beside the leader, of those that are expected to be behind it by no more than that
part. Chosen, not measured; benchmarks/claims/progress.py measures how far off the time left is."""

_QUICKEST = 2
"""So many starts of fresh processes, the quickest seen, say what the next will take. Chosen, not measured."""

_MIN_S = 1e-3
"""Nothing is taken to be over in less than a millisecond: expected times are divided by."""


class Pace:
    """The seconds that each kind of thing took in this job, and those expected of the next.

    At first the latter are what ``usual_s`` says of earlier jobs, else ``under_load_s`` with the start of fresh
    processes as it was seen so far. Before one was seen they are no less than ``typical_s``.
    """

    def __init__(
        self,
        usual_s: Mapping[Activity, float],
        typical_s: Mapping[Activity, float],
        under_load_s: Mapping[Activity, float],
    ) -> None:
        self._usual_s = usual_s
        self._typical_s = typical_s
        self._under_load_s = under_load_s
        self._seen_s: dict[Activity, list[float]] = {}
        self._starts_s: list[float] = []
        self._rounds_s: dict[Configuration, float] = {}

    def record(self, kind: Activity, seconds: float, configuration: Configuration, *, beside_s: float = 0.0) -> None:
        """Take into account that something took ``seconds``, of which ``beside_s`` passed beside the start of fresh
        processes, where that is known."""
        self._seen_s.setdefault(kind, []).append(max(seconds, _MIN_S))
        if kind == "round":
            self._rounds_s[configuration] = seconds
        if beside_s:
            self._starts_s.append(max(0.0, seconds - beside_s))

    def expected_s(self, kind: Activity) -> float:
        """Return the seconds that the next of its kind is expected to take: the mean of those seen."""
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
        """Return the seconds that the part of ``configuration`` in a round is expected to take."""
        return self._rounds_s.get(configuration, self.expected_s("round"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """A configuration in rounds that the leader is expected to be exp(``gap``) times better than, give or take
    ``gap_sd`` (of logarithms). A part in a round takes ``each_s``. Both took part in so many ``rounds``, in which their
    ratios were ``sd`` apart."""

    gap: float
    each_s: float
    gap_sd: float = GAP_SD
    sd: float = CAPACITY_SD
    rounds: int = 0

    @classmethod
    def of(cls, measured: Ratio, expected_gap: float, each_s: float, *, usual_sd: float = CAPACITY_SD) -> Challenger:
        """Return a challenger that the leader is ``measured.ratio`` times better than. What was expected before counts
        as a round."""
        sd = usual_sd
        if measured.ci95 is not None and min(measured.ci95) > 0:
            half = (log(measured.ci95[1]) - log(measured.ci95[0])) / 2
            sd = half * sqrt(measured.rounds) / t_quantile(0.975, measured.rounds - 1)
        gap = (measured.rounds * log(measured.ratio) + expected_gap) / (measured.rounds + 1)
        return cls(gap=gap, each_s=each_s, gap_sd=sd / sqrt(measured.rounds), sd=sd, rounds=measured.rounds)

    def with_wider_gap(self, sds: float) -> Challenger:
        """Return the challenger whose gap turns out so many standard deviations wider. The better of the two is the
        leader."""
        return replace(self, gap=abs(self.gap + sds * self.gap_sd), gap_sd=0.0)

    def more_rounds(self, max_rounds: int) -> int:
        """Return how many more rounds it is expected to take part in, ``max_rounds`` where they do not tell it
        apart."""
        for more in range(max_rounds):
            rounds = self.rounds + more
            if rounds and self.gap >= log(FAR_BEHIND):
                return more
            if rounds < MIN_ROUNDS:
                continue
            half = t_quantile(1 - MAX_CHANCE / MAX_RIVALS, PRIOR_ROUNDS + rounds - 1) * self.sd / sqrt(rounds)
            if self.gap - half > -log(1 + ENOUGH):
                return more
        return max_rounds


def expected_gaps(figures: Sequence[float]) -> list[float]:
    """Return the expected gaps (of logarithms) between the best and those that take part in the rounds beside it: the
    nearest of ``figures``, which are to be minimised, and of all that will have been measured."""
    ranked = sorted(figure for figure in figures if figure > 0 and isfinite(figure))
    gaps = [log(figure / ranked[0]) for figure in ranked[1:]]
    near = [gap for gap in gaps if exp(gap) <= 1 + _NEAR][:MAX_RIVALS]
    return near or gaps[:1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round to come: its number of tests, and the seconds that they, and the longest of them, take."""

    tests: int
    seconds: float
    longest_s: float


def expected_rounds(leader_s: float, challengers: Sequence[Challenger], max_rounds: int) -> list[Round]:
    """Return the rounds to come, up to ``max_rounds``, in which the leader takes ``leader_s`` each."""
    ends = [(challenger, challenger.more_rounds(max_rounds)) for challenger in challengers]
    turns = [[challenger for challenger, end in ends if end > nth] for nth in range(max_rounds)]
    rounds_s = [[leader_s, *(challenger.each_s for challenger in turn)] for turn in turns if turn]
    return [Round(tests=len(tests_s), seconds=fsum(tests_s), longest_s=max(tests_s)) for tests_s in rounds_s]


@dataclass(slots=True, kw_only=True)
class Projection:
    """The rest of a job, played forward: ``now_s`` and ``tests_left`` change as it goes, and ``round_test_s``, the
    seconds of the longest test of the last round, which before the first are assumed."""

    now_s: float
    limit_s: float
    tests_left: float
    round_test_s: float = 0.0

    @property
    def left_s(self) -> float:
        """The seconds up to the limit."""
        return self.limit_s - self.now_s

    def advance(self, seconds: float, *, tests: float = 0) -> None:
        """Let ``seconds`` pass, and ``tests`` be made."""
        self.now_s += seconds
        self.tests_left -= tests

    def time_calls(self, subjects: int, each_s: float, until_s: float) -> None:
        """Time calls of so many ``subjects``, none of which begins after ``until_s``."""
        if self.now_s < until_s:
            in_time = ceil((until_s - self.now_s) / each_s) if isfinite(until_s) else subjects
            self.advance(min(subjects, in_time) * each_s)

    def make_tests(self, tests: int, each_s: float, *, at_once: int, until_s: float, kept: float) -> None:
        """Make so many ``tests``, none of which begins after ``until_s``, and keep as many as ``kept``."""
        while tests > 0 and self.tests_left > kept and self.now_s < until_s and each_s <= self.left_s:
            made = min(tests, at_once, int(min(self.tests_left - kept, tests)))
            self.advance(each_s, tests=made)
            tests -= made

    def run_expected_rounds(
        self, leader_s: float, challengers: Sequence[Challenger], max_rounds: int, *, after_s: float
    ) -> None:
        """Carry out up to ``max_rounds`` rounds, in which the leader takes ``leader_s`` each: the mean of what may
        happen."""
        projections = [replace(self) for _ in QUARTERS]
        for projection, sds in zip(projections, QUARTERS, strict=True):
            turned_out = [challenger.with_wider_gap(sds) for challenger in challengers]
            rounds = expected_rounds(leader_s, turned_out, max_rounds)
            projection.run_rounds(rounds, after_s=after_s)
        self.now_s = fmean(projection.now_s for projection in projections)
        self.tests_left = fmean(projection.tests_left for projection in projections)
        self.round_test_s = max(projection.round_test_s for projection in projections)

    def run_rounds(self, rounds: Sequence[Round], *, after_s: float) -> None:
        """Carry out ``rounds``, while there is room for the next, one more test and ``after_s`` behind it, were all of
        them as long as the longest of the round before."""
        for round_ in rounds:
            if self.left_s < (round_.tests + 1) * self.round_test_s + after_s or self.tests_left <= round_.tests:
                return
            self.advance(round_.seconds, tests=round_.tests)
            self.round_test_s = round_.longest_s
