"""The time that a job will still take, as far as its search can tell.

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

from servefit.search.optimizer.call_timing import IN_TRAFFIC_S, TIMING_A_SIZE_S, rate_in_process
from servefit.search.optimizer.clock import FINISHING_S
from servefit.search.optimizer.confirmation_plan import start_of_run_s
from servefit.search.optimizer.finalists import MAX_ROUNDS
from servefit.search.optimizer.leads import usual_sd
from servefit.search.optimizer.pace import Challenger, Pace, Projection, expected_gaps
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.measure_trial import BETWEEN_S, SCREENING, turn_durations
from servefit.search.results.objectives.registry import objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.ranking import ranking_key
from servefit.search.results.ratios import ratio

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import ExpectedScore
    from servefit.search.optimizer.pace import Activity
    from servefit.search.optimizer.proposer import Proposer
    from servefit.search.optimizer.search_state import SearchState

Stage: TypeAlias = Literal["timing", "tests", "rounds", "confirmation", "closing"]
_STAGES: tuple[Stage, ...] = ("timing", "tests", "rounds", "confirmation", "closing")

MAX_REHEARSED = 40
"""Of more tests than that it cannot be said whether they will be worth it. Chosen, not measured."""

MAX_REHEARSED_SPACE, MAX_REHEARSED_SPACE_FOR_LATENCY = 12_000, 4_000
"""A rehearsal goes through the space for every test: so many configurations, in all its tests together, take no longer
than may be spent on saying how long a job takes. Latency takes a simulation each. Chosen, not measured."""

UNKNOWN_TESTS = 7
UNKNOWN_GAPS = (0.1, log(3.0))
"""Expected before calls were timed: so many tests, and a runner-up and a naive default so far behind (of logarithms).
As many tests are expected of a space that is too large to rehearse. Chosen, not measured; benchmarks/claims/progress.py
measures how far off the time left is."""


class TimeLeft:
    """The forecast of the end of ``search``: ``end_s``, by its clock, as of the last update."""

    def __init__(self, search: SearchState) -> None:
        self._search = search
        request = search.request
        at_rate = request.sla.rate_per_s is not None
        loaded_s = SCREENING.capacity_s if request.phases is None else request.phases.duration_s
        cycle, turn = cycle_s(request), turn_durations(request)
        self._pace = Pace(
            search.usual_s,
            {"test": search.test_s, "round": search.round_test_s},
            {
                "timing": len(search.survey.sizes) * TIMING_A_SIZE_S / 2
                + (0.0 if rate_in_process(request) is None else IN_TRAFFIC_S),
                "test": _loads_s(loaded_s, SCREENING.covering_cycle(cycle).at_rate_s if at_rate else 0.0),
                "round": _loads_s(turn.capacity_s, turn.covering_cycle(cycle).at_rate_s if turn.at_rate_s else 0.0),
            },
        )
        self.proposer: Proposer | None = None
        self.end_s = inf
        self._stage: Stage = "timing"
        self._turn: Sequence[Configuration] = ()
        self._rounds_left = MAX_ROUNDS
        self._rehearsed: list[ExpectedScore | None] = []

    @contextmanager
    def recording(self, kind: Activity, configuration: Configuration, *, beside_s: float = 0.0) -> Iterator[None]:
        """Learn from how long the block takes; ``beside_s`` as for ``Pace.record``."""
        began_s = self._search.clock.elapsed_s
        yield
        self._pace.record(kind, self._search.clock.elapsed_s - began_s, configuration, beside_s=beside_s)

    def turn_s(self) -> float:
        """Return how long a turn is expected to take."""
        return self._pace.expected_s("round")

    def set_next_round(self, nth: int, turn: Sequence[Configuration]) -> None:
        """Take note of the configurations that take part in the next round, the leader first."""
        self._rounds_left, self._turn = MAX_ROUNDS - nth, turn

    def update(self, stage: Stage | None = None, *, begun: Sequence[Configuration] = ()) -> None:
        """Forecast the end again, from the beginning of ``stage`` or from within the last; tests of ``begun`` begin
        now, in a round one after the other."""
        self._stage = stage or self._stage
        with self._search.clock.slowness.computing():
            self._forecast(begun)

    def _forecast(self, begun: Sequence[Configuration]) -> None:
        """Forecast the end, from within the stage that the search is in."""
        search, clock = self._search, self._search.clock
        projection = Projection(
            now_s=clock.elapsed_s,
            limit_s=clock.limit_s - clock.kept_s,
            tests_left=clock.tests_left,
            round_test_s=search.round_test_s,
        )
        ahead = _STAGES[_STAGES.index(self._stage) :]
        if "timing" in ahead:
            subjects = len(search.survey.untimed())
            projection.time_calls(subjects, self._pace.expected_s("timing"), search.timing_until_s())
        if "tests" in ahead:
            self._play_tests(projection, begun)
        winner = self._winner()
        if "rounds" in ahead and search.takes_turns():
            self._play_rounds(projection, begun, winner)
        if "confirmation" in ahead and self._is_confirmed(projection, winner):
            projection.advance(self._confirmation_s(projection, winner), tests=1)
        closing_s = search.min_closing_s(winner)
        if projection.left_s >= closing_s:
            projection.advance(closing_s * (1 + self._disturbed_part() / 2))
        # What would take longer is seldom begun.
        self.end_s = min(projection.now_s + FINISHING_S, max(clock.limit_s, clock.elapsed_s))

    def _play_tests(self, projection: Projection, begun: Sequence[Configuration]) -> None:
        """Have ``projection`` make the tests of the search that are still to come."""
        search, each_s = self._search, self._pace.expected_s("test")
        at_once, until_s = search.request.max_parallel_tests, search.trying_until_s()
        kept = 0.0 if search.exhaustive else search.clock.tests_for_finalists
        if begun:
            projection.advance(each_s, tests=len(begun))
        to_come = self._tests_worth_it(projection, begun)
        if to_come and not begun and not search.trials:
            projection.advance(each_s, tests=1)
            to_come -= 1
        projection.make_tests(to_come, each_s, at_once=at_once, until_s=until_s, kept=kept)

    def _tests_worth_it(self, projection: Projection, begun: Sequence[Configuration]) -> int:
        """Return how many more tests promise to gain anything, no more than there is time for."""
        search = self._search
        if self.proposer is None:
            return UNKNOWN_TESTS
        seconds, each_s = max(0.0, search.trying_until_s() - projection.now_s), self._pace.expected_s("test")
        in_time = MAX_REHEARSED if seconds == inf else 1 + int(seconds / each_s) * search.request.max_parallel_tests
        max_tests = in_time if search.exhaustive else self._max_rehearsed()
        rehearsed = self.proposer.rehearse(int(min(max_tests, in_time, max(0.0, projection.tests_left))))
        self._rehearsed = [*map(search.surrogate.expected_score, begun), *rehearsed]
        if search.exhaustive or len(rehearsed) < max_tests:
            return len(rehearsed)
        made = sum(trial.round is None for trial in search.trials) + len(begun)
        return max(len(rehearsed), UNKNOWN_TESTS - made)

    def _max_rehearsed(self) -> int:
        """Return how many tests are rehearsed at most, in a space of this size."""
        search = self._search
        looked_at = (
            MAX_REHEARSED_SPACE_FOR_LATENCY if objective_of(search.request).needs_latency else MAX_REHEARSED_SPACE
        )
        return min(MAX_REHEARSED, looked_at // max(1, len(search.space.grid)))

    def _play_rounds(
        self, projection: Projection, begun: Sequence[Configuration], winner: Configuration | None
    ) -> None:
        """Have ``projection`` carry out the rounds that are still to come."""
        search = self._search
        within = self._stage == "rounds" and bool(begun)
        if within:
            projection.advance(fsum(map(self._pace.round_s, begun)), tests=len(begun))
            projection.round_test_s = max(map(self._pace.round_s, self._turn))
        leader_s = self._pace.expected_s("round") if winner is None else self._pace.round_s(winner)
        challengers = [
            replace(challenger, rounds=challenger.rounds + within) for challenger in self._challengers(winner)
        ]
        projection.run_expected_rounds(
            leader_s,
            challengers,
            self._rounds_left - within,
            after_s=search.kept_for_the_end_s() - search.round_test_s,
        )

    def _challengers(self, winner: Configuration | None) -> list[Challenger]:
        """Return those that take part in the rounds beside the leader."""
        usual_s = self._pace.expected_s("round")
        if self._stage == "rounds":
            return [self._challenger(self._turn[0], other) for other in self._turn[1:]]
        gaps = list(UNKNOWN_GAPS)
        if self.proposer is not None and (figures := self._figures()):
            naive_gap = self._naive_gap(winner)
            gaps = [*expected_gaps(figures), *([] if naive_gap is None else [naive_gap])]
        return [Challenger(gap=gap, each_s=usual_s, sd=usual_sd(self._search.request)) for gap in gaps]

    def _challenger(self, leader: Configuration, other: Configuration) -> Challenger:
        """Return ``other`` as a challenger of ``leader``, by the rounds of both so far."""
        request, each_s, gap = self._search.request, self._pace.round_s(other), self._gap(leader, other)
        measured = ratio(self._search.trials, leader, other, request)
        if measured is None:
            return Challenger(gap=gap, each_s=each_s, sd=usual_sd(request))
        return Challenger.of(measured, gap, each_s, usual_sd=usual_sd(request))

    def _figures(self) -> list[float]:
        """Return the figures of all that was measured, or is expected to be, and ranks with the best."""
        search = self._search
        ranked: list[tuple[tuple[int, bool, float], float]] = []
        best = next(iter(search.recommendations()), None)
        if best is not None:
            fitting = dict(search.space.profiles)[best.profile]
            for pooled in pool_trials(search.trials):
                if pooled.configuration in fitting:
                    verdict, score = ranking_key(pooled, best.profile, search.request)
                    ranked.append(((verdict, score.unpriced, score.per_hour), score.figure))
        for expected_score in self._rehearsed:
            if expected_score is not None:
                score = expected_score.score
                ranked.append(((0, score.unpriced, score.per_hour), score.figure))
        first = min((rank for rank, _ in ranked), default=None)
        return [figure for rank, figure in ranked if rank == first]

    def _winner(self) -> Configuration | None:
        """Return the configuration that is expected to win: the best measured, else the best rehearsed."""
        best = next(iter(self._search.recommendations()), None)
        if best is not None:
            return best.trial.configuration
        expected_scores = [expected for expected in self._rehearsed if expected is not None]
        return min(expected_scores, key=lambda expected: expected.score).configuration if expected_scores else None

    def _naive_gap(self, winner: Configuration | None) -> float | None:
        """Return how far the naive default is behind ``winner``, None where it takes no part in rounds."""
        naive = None if winner is None else self._search.naive(winner.vcpus)
        if winner is None or naive is None or naive == winner or naive in self._search.failed:
            return None
        return self._gap(winner, naive)

    def _gap(self, leader: Configuration, other: Configuration) -> float:
        """Return by how much the leader is expected to answer more, as a logarithm."""
        mine, theirs = self._search.surrogate.capacities([leader, other])
        if mine is None or theirs is None:
            return UNKNOWN_GAPS[-1]
        return mine.log_mean - theirs.log_mean

    def _is_confirmed(self, projection: Projection, winner: Configuration | None) -> bool:
        """Return whether the winner is, or will be, measured again."""
        search = self._search
        in_time = projection.left_s >= search.min_confirmation_s(projection.round_test_s) and projection.tests_left >= 1
        return self._stage == "confirmation" or (winner not in search.confirmed and in_time)

    def _confirmation_s(self, projection: Projection, winner: Configuration | None) -> float:
        """Return the seconds of the confirmation."""
        search = self._search
        if search.request.phases is not None:
            return self._pace.expected_s("test")
        round_s = self._pace.expected_s("round") if winner is None else self._pace.round_s(winner)
        disturbed = self._disturbed_part()
        start_s = start_of_run_s(search.request, round_s / (1 + disturbed))
        plan = search.confirmation_plan(projection.left_s, winner)
        # What is kept for runs that are made again is traffic where none is.
        again_s = disturbed * (plan.loads_s - plan.spare_s)
        return plan.runs * start_s + plan.loads_s + max(0.0, again_s - plan.spare_s)

    def _disturbed_part(self) -> float:
        """Return the part of the tests that were made again."""
        if self._search.request.allow_noise or not self._search.trials:
            return 0.0
        return fmean(bool(trial.problems) for trial in self._search.trials)


def _loads_s(*loads_s: float) -> float:
    """Return how long loads take, each with what it takes beside itself; loads of zero seconds are none."""
    return fsum(BETWEEN_S + load_s for load_s in loads_s if load_s)
