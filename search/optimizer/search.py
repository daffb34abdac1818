"""The search of a job, from the first microbenchmark to the confirmed winner: what is measured, in which order, and
when it is enough.

How something is measured is for the ``Bench`` that it is given, so the same search runs on workers and on a table of
figures that were measured before. Fidelity rises from stage to stage: calls timed alone, a simulation of the whole
space, load tests where they promise most, the finalists in turns, and the winner once more, for longer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, log
from typing import TYPE_CHECKING

from servefit.search.optimizer.bench import OutOfTime
from servefit.search.optimizer.finalists import MAX_ROUNDS, finalists, still_in
from servefit.search.optimizer.importance import importance
from servefit.search.optimizer.progress import Moment
from servefit.search.optimizer.proposer import Proposer
from servefit.search.optimizer.search_state import EXHAUSTIVE_SHARE, MIN_TESTS_FOR_ROUNDS, SearchState
from servefit.search.optimizer.service_time_survey import TIMING_A_SIZE_S
from servefit.search.optimizer.time_left import TimeLeft
from servefit.search.results.measure_trial import least_test_s
from servefit.search.results.objectives.guarded import figure_of_standing
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommend
from servefit.search.results.ratios import ratio
from servefit.search.results.standings import standings

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.bench import Bench
    from servefit.search.optimizer.progress import Progress
    from servefit.search.optimizer.time_left import Stage
    from servefit.search.queueing.service import ServiceTimes
    from servefit.search.results.measure_trial import Durations
    from servefit.search.results.recommendation import Trial

MAX_CONFIRMATIONS = 2
NOT_CONFIRMED = "the winner was not confirmed: the tests or the time asked for ran out"


@dataclass(slots=True, kw_only=True)
class Search(SearchState):
    """Adds to its state what it has ``bench`` measure, and tells ``progress`` where it stands."""

    bench: Bench
    progress: Progress
    time_left: TimeLeft = field(init=False)

    def __post_init__(self) -> None:
        SearchState.__post_init__(self)
        self.time_left = TimeLeft(self)

    def carry_out(self) -> None:
        """Search to the end, or as far as there is time. Raises what else the bench raises."""
        try:
            self.exhaustive = self._whole_grid_fits()
            if not self.exhaustive:
                self._begin("timing", "timing calls")
                self.survey.carry_out(self._time, self._may_time_more)
            self._try_configurations()
            self._measure_in_turns()
            self._confirm()
        except OutOfTime as error:
            self.remarks.append(f"{error} was cut short: the time asked for ran out")
            if self.best() not in {None, *self.confirmed}:
                self.remarks.append(NOT_CONFIRMED)

    def give_up(self, configuration: Configuration) -> None:
        """Leave out what is of the same backend: it does not answer one request to one worker in time."""
        alike = [one for one in self.space.grid if _same_backend(one, configuration)]
        if self.given_up.union(alike) < set(self.space.grid):
            self.survey.failed.update(one for one in self.survey.subjects if _same_backend(one, configuration))
            self.given_up.update(alike)

    def untried(self) -> Iterator[str]:
        """The profiles of which nothing was tried."""
        tried = {one.configuration for one in self.trials} | self.failed
        for profile, fitting in self.space.profiles:
            if fitting and not tried & fitting:
                yield profile.name

    def moment(self, ended: Trial | None = None) -> Moment:
        """Where the job stands; ``ended`` is a test that has only just."""
        trials = self.trials if ended is None else [*self.trials, ended]
        known = [one for one in trials if one.configuration not in self.failed]
        best = next(iter(recommend(self.space, known, self.request)), None)
        limit, elapsed_s = self.clock.test_limit, self.clock.elapsed_s
        left_s = self.time_left.end_s - elapsed_s
        return Moment(
            elapsed_s=elapsed_s,
            left_s=max(0.0, left_s) if isfinite(left_s) else None,
            tests=self.clock.tests,
            most_tests=int(limit) if isfinite(limit) else None,
            best=best,
            goal=self.request.goal,
            asked=not self.request.sla.asks_nothing,
        )

    def importance(self) -> dict[str, float]:
        """How much each parameter explains of the differences between all configurations, as they are expected to be
        now. Cost is counted in vCPUs, since some prices may be unknown."""
        objective = objective_of(self.request)
        figures = self.outlook.figures(self.space.grid)
        # What is expected at the least latency does not compare with what was measured.
        if not (objective.needs_latency and figures):
            for one in standings(self.trials):
                context = context_of(self.request, Price.in_vcpus(one.configuration.vcpus))
                measured = figure_of_standing(objective, one, context)
                if measured is not None:
                    figures.setdefault(one.configuration, objective.lower(measured))
        return importance({one: log(figure) for one, figure in figures.items() if 0 < figure < inf})

    def _begin(self, stage: Stage, text: str) -> None:
        self.time_left.look(stage)
        self.progress.stage(text, self.moment())

    def _time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        self.time_left.look()
        self.progress.timing(subject, self.moment())
        with self.time_left.taking("timing", subject, beside_s=len(sizes) * TIMING_A_SIZE_S):
            return self.bench.time(subject, sizes)

    def _whole_grid_fits(self) -> bool:
        """Whether every configuration can be tried before the rounds begin, and within the tests."""
        tried = {one.configuration for one in self.trials} | self.failed
        tests_in_time = (EXHAUSTIVE_SHARE * self.clock.limit_s - self.clock.elapsed_s) / self.test_s
        return len(set(self.space.grid) - tried) <= min(tests_in_time, self.clock.tests_left)

    def _may_time_more(self) -> bool:
        return self.clock.elapsed_s < self.timing_until_s()

    def _try_configurations(self) -> None:
        proposer = Proposer(
            self.space.grid,
            self.request,
            outlook=self.outlook if self.survey.known else None,
            exhaustive=self.exhaustive,
        )
        for trial in self.earlier:
            if trial.verdict != "INVALID":
                self.outlook.learn(trial, earlier=True)
        for trial in self.trials:
            if trial.round is None:
                _tell(proposer, trial.configuration, trial)
        for one in self.failed:
            proposer.fail(one)
        self.time_left.proposer = proposer
        self._begin("tests", "measuring")
        while (tests := self._tests_to_make()) > 0:
            proposer.leave_out(self.given_up)
            batch = self._batch(proposer, tests)
            if not batch:
                return
            began_s = self.clock.elapsed_s
            self.time_left.look(begun=batch)
            with self.time_left.taking("test", batch[0]):
                results = self.bench.load_tests(batch)
            self.test_s += (self.clock.elapsed_s - began_s - self.test_s) / 2
            for one in batch:
                self._keep(one, results[one])
                _tell(proposer, one, results[one])

    def _tests_to_make(self) -> float:
        """How many tests may be made next. While nothing was measured there is one if there is any time for it."""
        if not self.trials:
            return self.clock.tests_left if least_test_s(self.request) <= self.clock.left_s else 0
        in_time = self.clock.elapsed_s < self.trying_until_s() and self.test_s <= self.clock.left_s
        return (self.clock.tests_left if self.exhaustive else self.clock.tests_to_search) if in_time else 0

    def _batch(self, proposer: Proposer, tests: float) -> list[Configuration]:
        """As many proposals as may run, and can run, at once."""
        wanted = int(min(self.request.max_parallel_tests, tests))
        batch: list[Configuration] = []
        crowded = False

        def at_once(vcpus: Sequence[int]) -> bool:
            nonlocal crowded
            fits = self.bench.at_once(vcpus)
            crowded |= not fits
            return fits

        while len(batch) < wanted and (proposal := proposer.next(beside=batch, at_once=at_once)) is not None:
            batch.append(proposal.configuration)
        if batch and crowded and len(batch) < wanted:
            self.remarks.append(
                f"{self.request.max_parallel_tests} tests at once were asked for: as many ran as had CPUs of their own"
            )
        return batch

    def _keep(self, configuration: Configuration, result: Trial | None) -> None:
        if result is None:
            self.failed.add(configuration)
        else:
            self.trials.append(result)

    def _measure_in_turns(self) -> None:
        """Measure the finalists in turns, so that they are told apart as well as the time allows. Not where the user's
        own traffic says what they can do, which takes its time."""
        if self.request.phases is not None:
            self.remarks.append("the best were not compared in turns: the traffic given says what they can do")
            return
        if not self.takes_turns():
            if len(self.trials) > 1:
                self.remarks.append(f"the best were not compared in turns: that takes {MIN_TESTS_FOR_ROUNDS} tests")
            return
        chosen = finalists(self.recommendations(), self.space, self.trials, self.request)
        naive = self.naive(chosen[0].vcpus) if chosen else None
        if naive in self.failed or naive in chosen:
            naive = None
        if any(one.round is not None for one in self.trials):
            chosen, naive = still_in(chosen, naive, self.trials, self.request, self.failed)
        coin = random.Random(self.request.seed)
        # A job that is taken up again goes on with the round after the last.
        first = 1 + max((one.round for one in self.trials if one.round is not None), default=-1)
        self.time_left.next_round(first, [*chosen, *([] if naive is None else [naive])])
        self._begin("rounds", "measuring the best in turns")
        for nth in range(first, MAX_ROUNDS):
            turn = [*chosen, *([] if naive is None else [naive])]
            if len(turn) < 2 or not self._round_fits(len(turn)):
                return
            longest_s = 0.0
            self.time_left.next_round(nth, turn)
            drawn = coin.sample(turn, len(turn))
            for done, one in enumerate(drawn):
                began_s = self.clock.elapsed_s
                self.time_left.look(begun=drawn[done:])
                with self.time_left.taking("round", one):
                    self._keep(one, self.bench.in_turn(one, nth, self._instances(one)))
                longest_s = max(longest_s, self.clock.elapsed_s - began_s)
            # The mean would be too short once the quickest of them has left.
            self.round_test_s = longest_s
            chosen, still_naive = still_in(chosen, naive, self.trials, self.request, self.failed)
            naive = self._taken_seriously(naive, chosen) if still_naive is not None else None

    def _taken_seriously(self, naive: Configuration | None, chosen: Sequence[Configuration]) -> Configuration | None:
        """The naive default, put under the load of the SLA as soon as it is ahead in the rounds: so far it was only
        there to be compared with."""
        if naive is None or not chosen or any(one.round is None for one in self.trials if one.configuration == naive):
            return naive
        found = ratio(self.trials, naive, chosen[0], self.request)
        if found is not None and found.ratio > 1 and self._round_fits(1):
            self._keep(naive, self.bench.load_tests([naive])[naive])
        return None if naive in self.failed else naive

    def _instances(self, configuration: Configuration) -> int:
        """How many instances of ``configuration`` its last test held against the SLA."""
        held = [one.instance_count for one in self.trials if one.configuration == configuration and one.round is None]
        return held[-1] if held else 1

    def _round_fits(self, tests: int) -> bool:
        """Whether there is room for a round, and for the confirmation and the closing after it."""
        confirmation_s = self.confirmation_least_s(self.round_test_s)
        expected_s = tests * self.round_test_s + confirmation_s + self.closing_least_s(self.best())
        return self.clock.left_s >= expected_s and self.clock.tests_left > tests

    def _confirm(self) -> None:
        """Measure the winner again, for longer: the best of many measurements is partly the luckiest. If that makes
        another one the winner, that one is confirmed too."""
        while recommendations := self.recommendations():
            best = recommendations[0].trial
            if best.configuration in self.confirmed:
                return
            if len(self.confirmed) >= MAX_CONFIRMATIONS:
                self.remarks.append("the winner was not confirmed: it won by the confirmation of others")
                return
            if not self._confirmation_fits():
                self.remarks.append(NOT_CONFIRMED)
                return
            self._begin("confirmation", "measuring the winner again")
            result = self.bench.confirm(best.configuration, self._confirming())
            self.confirmed.add(best.configuration)
            self._keep(best.configuration, result)
            if result is not None and result.verdict == "INVALID" and best.verdict != "INVALID":
                self.remarks.append(f"the second measurement of the winner was disturbed: {result.reason}")

    def _confirming(self) -> Durations:
        """How long the confirmation may take: as long as it needs, within the time that is left."""
        most_s = self.confirming_most_s(self.clock.left_s, self.best())
        return replace(self.confirming, at_rate_most_s=most_s)

    def _confirmation_fits(self) -> bool:
        """Whether tests and time are left to measure once more."""
        return self.clock.left_s >= self.confirmation_least_s(self.round_test_s) and self.clock.tests_left >= 1


def _same_backend(one: Configuration, other: Configuration) -> bool:
    return (one.backend, one.target) == (other.backend, other.target)


def _tell(proposer: Proposer, configuration: Configuration, trial: Trial | None) -> None:
    if trial is None or trial.verdict == "INVALID":  # that says nothing about the configuration
        proposer.fail(configuration)
    else:
        proposer.learn(trial)
