"""How long a job will still take, as far as its search can tell.

What is left is played forward: calls to be timed, tests for as long as they are expected to promise anything, rounds
until they are expected to tell the best apart, the confirmation, and what follows on the search; each only where the
search itself would begin it. Nothing is decided here, and nothing takes longer for what was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import fsum, inf, log
from statistics import fmean
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.search.optimizer.clock import FINISHING_S
from servefit.search.optimizer.finalists import MAX_ROUNDS
from servefit.search.optimizer.pace import Contestant, Future, Pace, expected_gaps
from servefit.search.optimizer.service_time_survey import TIMING_A_SIZE_S
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.measure_trial import BETWEEN_S, CONFIRMING, ROUND, SCREENING
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.ranking import order
from servefit.search.results.ratios import ratio
from servefit.search.results.standings import standings

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import Promise
    from servefit.search.optimizer.pace import Kind
    from servefit.search.optimizer.proposer import Proposer
    from servefit.search.optimizer.search_state import SearchState
    from servefit.search.results.recommendation import Trial

Stage: TypeAlias = Literal["timing", "tests", "rounds", "confirmation", "closing"]
_STAGES: tuple[Stage, ...] = ("timing", "tests", "rounds", "confirmation", "closing")

MAX_REHEARSED = 40
"""Of more tests than that nobody can say whether they will be worth it."""

LOOKED_AT, LOOKED_AT_FOR_LATENCY = 12_000, 4_000
"""A rehearsal goes through the space for every test; more configurations than that take too long to look at."""

UNKNOWN_TESTS = 7
UNKNOWN_GAPS = (0.1, log(3.0))
"""What is expected before calls were timed: so many tests, and a runner-up and a naive default so far behind. As many
tests are expected of a space that is too large to rehearse."""

_NEARLY = 0.95


class TimeLeft:
    """Of ``search``. ``end_s`` is when it is expected to end, by its clock, as it was when that was last looked at."""

    def __init__(self, search: SearchState) -> None:
        self._search = search
        request = search.request
        at_rate = request.sla.rate_per_s is not None
        rounds_at_rate = at_rate and objective_of(request).needs_rate
        loaded_s = SCREENING.capacity_s if request.phases is None else request.phases.duration_s
        cycle = cycle_s(request)
        self._pace = Pace(
            search.usual_s,
            {"test": search.test_s, "round": search.round_test_s},
            {
                "timing": len(search.survey.sizes) * TIMING_A_SIZE_S / 2,
                "test": _loads_s(loaded_s, SCREENING.showing(cycle).at_rate_s if at_rate else 0.0),
                "round": _loads_s(ROUND.capacity_s, ROUND.showing(cycle).at_rate_s if rounds_at_rate else 0.0),
            },
        )
        self.proposer: Proposer | None = None
        self.end_s = inf
        self._stage: Stage = "timing"
        self._turn: Sequence[Configuration] = ()
        self._rounds_left = MAX_ROUNDS
        self._rehearsed: list[Promise | None] = []

    @contextmanager
    def taking(self, kind: Kind, configuration: Configuration, *, beside_s: float = 0.0) -> Iterator[None]:
        """Learn from how long the block takes; ``beside_s`` as for ``Pace.took``."""
        began_s = self._search.clock.elapsed_s
        yield
        self._pace.took(kind, self._search.clock.elapsed_s - began_s, configuration, beside_s=beside_s)

    def next_round(self, nth: int, turn: Sequence[Configuration]) -> None:
        """``turn`` takes part in the next round, the leader first."""
        self._rounds_left, self._turn = MAX_ROUNDS - nth, turn

    def look(self, stage: Stage | None = None, *, begun: Sequence[Configuration] = ()) -> None:
        """Look ahead, from the beginning of ``stage`` or from within the last; tests of ``begun`` begin now, in a round
        one after the other."""
        self._stage = stage or self._stage
        search, clock = self._search, self._search.clock
        future = Future(
            now_s=clock.elapsed_s,
            limit_s=clock.limit_s - clock.finishing_s,
            tests_left=clock.tests_left,
            round_test_s=search.round_test_s,
        )
        ahead = _STAGES[_STAGES.index(self._stage) :]
        if "timing" in ahead:
            subjects = len(search.survey.untimed())
            future.time_calls(subjects, self._pace.expected_s("timing"), search.timing_until_s())
        if "tests" in ahead:
            self._play_tests(future, begun)
        winner = self._winner()
        if "rounds" in ahead and search.takes_turns():
            self._play_rounds(future, begun, winner)
        if "confirmation" in ahead and self._is_confirmed(future, winner):
            future.go_on(self._confirmation_s(future, winner), tests=1)
        closing_s = search.closing_least_s(winner)
        if future.left_s >= closing_s:
            future.go_on(closing_s * (1 + self._disturbed() / 2))
        # What would take longer is seldom begun.
        self.end_s = min(future.now_s + FINISHING_S, max(clock.limit_s, clock.elapsed_s))

    def _play_tests(self, future: Future, begun: Sequence[Configuration]) -> None:
        search, each_s = self._search, self._pace.expected_s("test")
        at_once, until_s = search.request.max_parallel_tests, search.trying_until_s()
        kept = 0.0 if search.exhaustive else search.clock.tests_for_finalists
        if begun:
            future.go_on(each_s, tests=len(begun))
        to_come = self._tests_worth_it(future, begun)
        if to_come and not begun and not search.trials:
            future.go_on(each_s, tests=1)
            to_come -= 1
        future.try_out(to_come, each_s, at_once=at_once, until_s=until_s, kept=kept)

    def _tests_worth_it(self, future: Future, begun: Sequence[Configuration]) -> int:
        """How many more tests promise to gain anything, no more than there is time for."""
        search = self._search
        if self.proposer is None:
            return UNKNOWN_TESTS
        seconds, each_s = max(0.0, search.trying_until_s() - future.now_s), self._pace.expected_s("test")
        in_time = MAX_REHEARSED if seconds == inf else 1 + int(seconds / each_s) * search.request.max_parallel_tests
        most = in_time if search.exhaustive else self._most_rehearsed()
        rehearsed = self.proposer.rehearse(int(min(most, in_time, max(0.0, future.tests_left))))
        self._rehearsed = [*map(search.outlook.promise, begun), *rehearsed]
        if search.exhaustive or len(rehearsed) < most:
            return len(rehearsed)
        made = sum(one.round is None for one in search.trials) + len(begun)
        return max(len(rehearsed), UNKNOWN_TESTS - made)

    def _most_rehearsed(self) -> int:
        search = self._search
        looked_at = LOOKED_AT_FOR_LATENCY if objective_of(search.request).needs_latency else LOOKED_AT
        return min(MAX_REHEARSED, looked_at // max(1, len(search.space.grid)))

    def _play_rounds(self, future: Future, begun: Sequence[Configuration], winner: Configuration | None) -> None:
        search = self._search
        within = self._stage == "rounds" and bool(begun)
        if within:
            future.go_on(fsum(map(self._pace.round_s, begun)), tests=len(begun))
            future.round_test_s = max(map(self._pace.round_s, self._turn))
        leader_s = self._pace.expected_s("round") if winner is None else self._pace.round_s(winner)
        contestants = [replace(one, rounds=one.rounds + within) for one in self._contestants(winner)]
        future.take_turns_of(
            leader_s,
            contestants,
            self._rounds_left - within,
            after_s=search.confirmation_least_s(0.0) + search.closing_least_s(winner),
        )

    def _contestants(self, winner: Configuration | None) -> list[Contestant]:
        """Who takes part in the rounds beside the leader."""
        usual_s = self._pace.expected_s("round")
        if self._stage == "rounds":
            return [self._contestant(self._turn[0], one) for one in self._turn[1:]]
        gaps = list(UNKNOWN_GAPS)
        if self.proposer is not None and (figures := self._figures()):
            naive_gap = self._naive_gap(winner)
            gaps = [*expected_gaps(figures), *([] if naive_gap is None else [naive_gap])]
        return [Contestant(gap=gap, each_s=usual_s) for gap in gaps]

    def _contestant(self, leader: Configuration, other: Configuration) -> Contestant:
        request, each_s, gap = self._search.request, self._pace.round_s(other), self._gap(leader, other)
        measured = ratio(self._search.trials, leader, other, request)
        if measured is None:
            return Contestant(gap=gap, each_s=each_s)
        return Contestant.of(measured, gap, each_s)

    def _figures(self) -> list[float]:
        """Of all that was measured, or is expected to be, and ranks with the best."""
        search = self._search
        ranked: list[tuple[tuple[int, bool, float], float]] = []
        best = next(iter(search.recommendations()), None)
        if best is not None:
            fitting = dict(search.space.profiles)[best.profile]
            for one in standings(search.trials):
                if one.configuration in fitting:
                    verdict, score = order(one, best.profile, search.request)
                    ranked.append(((verdict, score.unpriced, score.per_hour), score.figure))
        for promise in self._rehearsed:
            if promise is not None:
                score = promise.score
                ranked.append(((0, score.unpriced, score.per_hour), score.figure))
        first = min((rank for rank, _ in ranked), default=None)
        return [figure for rank, figure in ranked if rank == first]

    def _winner(self) -> Configuration | None:
        best = next(iter(self._search.recommendations()), None)
        if best is not None:
            return best.trial.configuration
        promises = [one for one in self._rehearsed if one is not None]
        return min(promises, key=lambda one: one.score).configuration if promises else None

    def _naive_gap(self, winner: Configuration | None) -> float | None:
        naive = None if winner is None else self._search.naive(winner.vcpus)
        if winner is None or naive is None or naive == winner or naive in self._search.failed:
            return None
        return self._gap(winner, naive)

    def _gap(self, leader: Configuration, other: Configuration) -> float:
        """By how much the leader is expected to answer more, as a logarithm."""
        mine, theirs = self._search.outlook.capacities([leader, other])
        if mine is None or theirs is None:
            return UNKNOWN_GAPS[-1]
        return mine.log_mean - theirs.log_mean

    def _is_confirmed(self, future: Future, winner: Configuration | None) -> bool:
        """Whether the winner is, or will be, measured again."""
        search = self._search
        in_time = future.left_s >= search.confirmation_least_s(future.round_test_s) and future.tests_left >= 1
        return self._stage == "confirmation" or (winner not in search.confirmed and in_time)

    def _confirmation_s(self, future: Future, winner: Configuration | None) -> float:
        """It ends when the limits are decided, as the test of the winner did."""
        search = self._search
        if search.request.phases is not None:
            return self._pace.expected_s("test")
        round_s = self._pace.expected_s("round") if winner is None else self._pace.round_s(winner)
        disturbed = self._disturbed()
        start_s = max(0.0, round_s - ROUND.capacity_s * (1 + disturbed))
        if search.request.sla.rate_per_s is None:
            return start_s + CONFIRMING.capacity_s * (1 + disturbed)
        decided_s = max((at_rate_s(one) for one in search.trials if one.configuration == winner), default=0.0)
        if decided_s >= _NEARLY * SCREENING.at_rate_most_s:
            decided_s = search.confirming_most_s(future.left_s, winner)
        return start_s + (CONFIRMING.capacity_s + max(search.confirming.at_rate_s, decided_s)) * (1 + disturbed)

    def _disturbed(self) -> float:
        """The part of the tests that were made again."""
        if self._search.request.allow_noise or not self._search.trials:
            return 0.0
        return fmean(bool(one.problems) for one in self._search.trials)


def _loads_s(*loads_s: float) -> float:
    """How long loads take, those that there are."""
    return fsum(BETWEEN_S + one for one in loads_s if one)


def at_rate_s(trial: Trial) -> float:
    """How long the open loop of ``trial`` took."""
    if trial.at_rate is None or not trial.at_rate.throughput_per_s or trial.round is not None:
        return 0.0
    return trial.at_rate.samples / trial.at_rate.throughput_per_s
