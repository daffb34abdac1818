"""The search of a job, from the first microbenchmark to the confirmed winner: the order in which things are measured,
and its end.

The ``Bench`` that it is given measures, so the same search runs on workers and on a table of
figures that were measured before. Fidelity rises from stage to stage: calls timed alone, a simulation of the whole
space, load tests where they promise most, the finalists in turns, and the winner once more, for longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from servefit.search.optimizer.bench import OutOfTime
from servefit.search.optimizer.call_timing import rate_in_process, timing_s
from servefit.search.optimizer.confirmation_plan import MAX_CONFIRMATIONS
from servefit.search.optimizer.guide import OnItsOwn
from servefit.search.optimizer.progress import Moment
from servefit.search.optimizer.proposer import Proposer
from servefit.search.optimizer.search_state import (
    EXHAUSTIVE_SHARE,
    SearchState,
)
from servefit.search.optimizer.time_left import TimeLeft
from servefit.search.optimizer.turns import Turns
from servefit.search.results.measure_trial import min_test_s
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommend
from servefit.search.simulation.endpoint import SURVEY_S

if TYPE_CHECKING:
    from servefit.backends.types import Target
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.bench import Bench
    from servefit.search.optimizer.guide import Guide, ToConfirm
    from servefit.search.optimizer.progress import Progress
    from servefit.search.optimizer.time_left import Stage
    from servefit.search.results.recommendation import Recommendation, Trial

_NOT_CONFIRMED = "the winner was not confirmed"


@dataclass(slots=True, kw_only=True)
class Search(SearchState):
    """A search: it adds to its state what it has ``bench`` measure, and reports to ``progress``. ``guide`` says what it
    cannot know itself."""

    bench: Bench
    progress: Progress
    guide: Guide = field(default_factory=OnItsOwn)
    time_left: TimeLeft = field(init=False)

    def __post_init__(self) -> None:
        SearchState.__post_init__(self)
        self.time_left = TimeLeft(self)

    def carry_out(self) -> None:
        """Search to the end, or as far as there is time: a stage that is cut short leaves their time to those after it.
        Raises whatever else the bench raises."""
        for stage in (self._time_calls, self._try_configurations, self._measure_in_turns):
            self._ends_in_time(stage)
        if not self._ends_in_time(self._confirm) and self.best() not in {None, *self.confirmed}:
            self.remarks.append(f"{_NOT_CONFIRMED}: {self._ran_out()}")

    def _ran_out(self) -> str:
        """Return which limit left no confirmation, in words."""
        return self.clock.ran_out(self.min_confirmation_s(self.round_test_s))

    def _measure_in_turns(self) -> None:
        """Measure the finalists in turns, so that they are told apart as well as the time allows."""
        Turns(
            search=self,
            bench=self.bench,
            time_left=self.time_left,
            keep=self._keep,
            begin=self._begin,
            goes_on=lambda: self.guide.goes_on(self),
        ).carry_out()

    def _ends_in_time(self, stage: Callable[[], None]) -> bool:
        """Carry out ``stage``, and return whether it came to its end; a remark says where it did not."""
        try:
            stage()
        except OutOfTime as error:
            remark = f"{error} was cut short: {self.clock.budget.ran_out()}"
            if remark not in self.remarks:
                self.remarks.append(remark)
            return False
        return True

    def _time_calls(self) -> None:
        """Time calls, unless everything can be tested anyway. What is less exact has to be quicker for that first."""
        self.exhaustive = not self.guide.needs_predictions and self._whole_grid_fits()
        if self.exhaustive and not self.space.less_exact:
            return
        self._begin("timing", "timing calls")
        self.survey.carry_out(self._time, self._may_time_more, reference=self.reference)
        for backend, target, rival, times_as_long in self.survey.slower(self.space.less_exact):
            self._leave_out(backend, target)
            self.remarks.append(
                f"{backend} was left out: it predicts less exactly than {rival}, and at best a call takes "
                f"{times_as_long:.3g} times as long"
            )
        if not self.exhaustive:
            self._survey_endpoint()

    def give_up(self, configuration: Configuration) -> None:
        """Leave out what is of the same backend: it does not answer one request to one worker in time."""
        self._leave_out(configuration.backend, configuration.target)

    def _leave_out(self, backend: str, target: Target) -> None:
        """Neither time nor test what is of ``backend`` on ``target``, if that leaves anything."""

        def is_of_it(configuration: Configuration) -> bool:
            return (configuration.backend, configuration.target) == (backend, target)

        alike = set(filter(is_of_it, self.space.grid))
        if self.given_up | alike < set(self.space.grid):
            self.survey.failed.update(filter(is_of_it, self.survey.subjects))
            self.given_up.update(alike)

    def untried(self) -> Iterator[str]:
        """Yield the names of the profiles of which nothing was tried."""
        tried = {trial.configuration for trial in self.trials} | self.failed
        for profile, fitting in self.space.profiles:
            if fitting and not tried & fitting:
                yield profile.name

    def moment(self, ended: Trial | None = None) -> Moment:
        """Return the progress of the job; ``ended`` is a test that ended only now, and is not among the trials."""
        trials = self.trials if ended is None else [*self.trials, ended]
        measured = [trial for trial in trials if trial.configuration not in self.failed]
        best = next(iter(recommend(self.space, measured, self.request)), None)
        limit, elapsed_s = self.clock.test_limit, self.clock.elapsed_s
        left_s = self.time_left.end_s - elapsed_s
        return Moment(
            elapsed_s=elapsed_s,
            left_s=max(0.0, left_s) if isfinite(left_s) else None,
            tests=self.clock.tests,
            most_tests=int(limit) if isfinite(limit) else None,
            best=best,
            figure="" if best is None else self._figure_text(best),
            asked=not self.request.sla.asks_nothing,
        )

    def _figure_text(self, best: Recommendation) -> str:
        """Return the figure of ``best`` as text."""
        price = Price.of(best.profile.price_per_hour, best.profile.vcpus)
        return objective_of(self.request).figure_text(best, context_of(self.request, price))

    def _begin(self, stage: Stage, text: str) -> None:
        """Report that ``stage`` begins, with the time that is left."""
        self.time_left.update(stage)
        self.progress.stage(text, self.moment())

    def _time(self, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes | None:
        """Have the bench time calls of ``subject``; None where that failed."""
        self.time_left.update()
        self.progress.timing(subject, self.moment())
        beside_s = timing_s(subject, sizes, rate_per_s=rate_in_process(self.request))
        with self.time_left.recording("timing", subject, beside_s=beside_s):
            return self.bench.time(subject, sizes)

    def _survey_endpoint(self) -> None:
        """Measure what requests cost in an endpoint, if one is deployed, that is not known, and there is time."""
        if self.request.deployment == "library" or self.costs is not None:
            return
        quickest = self.survey.quickest()
        if quickest is not None and not self._is_late_for_survey():
            self._begin("timing", "timing requests to an endpoint")
            self._know_costs(quickest)

    def _know_costs(self, subject: Configuration) -> None:
        """Measure what requests cost in an endpoint of ``subject``, and predict endpoints with that from now on."""
        self.costs = self.bench.endpoint_costs(subject)
        if self.costs is not None:
            self.surrogate.predict_endpoints(self.costs)

    def _know_costs_of_tests(self, batch: Sequence[Configuration]) -> None:
        """Measure what requests cost in an endpoint before tests that are predicted with that, if it is not known: it
        is no part of their time."""
        predicted = [configuration for configuration in batch if self.bench.is_predicted(configuration)]
        if predicted and self.costs is None:
            self._know_costs(self.survey.quickest() or predicted[0])

    def _unpredictable(self) -> set[Configuration]:
        """Return the configurations that cannot be predicted, since there is no time to measure the costs of an
        endpoint; none where there are no others."""
        if self.request.deployment == "library" or self.costs is not None or not self._is_late_for_survey():
            return set()
        predicted = {configuration for configuration in self.space.grid if self.bench.is_predicted(configuration)}
        return predicted if predicted < set(self.space.grid) else set()

    def _is_late_for_survey(self) -> bool:
        return self.clock.elapsed_s + SURVEY_S > self.trying_until_s() - self.test_s

    def _whole_grid_fits(self) -> bool:
        """Return whether every configuration can be tried before the rounds begin, and within the tests."""
        tried = {trial.configuration for trial in self.trials} | self.failed | self.given_up
        limit_s = self.clock.limit_s
        closing_s = max(map(self.closing_s, self.space.grid), default=0.0)
        until_s = min(EXHAUSTIVE_SHARE * limit_s, limit_s - self.kept_for_the_end_s() - closing_s)
        tests_in_time = max(0.0, until_s - self.clock.elapsed_s) / self.test_s
        return len(set(self.space.grid) - tried) <= min(tests_in_time, self.clock.tests_left)

    def _may_time_more(self) -> bool:
        """Return whether there is time to time more calls."""
        return self.clock.elapsed_s < self.timing_until_s()

    def _try_configurations(self) -> None:
        """Test what the proposer proposes, until nothing is worth a test or its part of the time is over, and then what
        is as the best but simpler."""
        self.timed_by_s = self.clock.elapsed_s
        proposer = Proposer(self.space.grid, self.request, surrogate=self.surrogate, exhaustive=self.exhaustive)
        for trial in self.earlier:
            if trial.verdict != "INVALID":
                self.surrogate.learn(trial, earlier=True)
        for trial in self.trials:
            if trial.round is None:
                _tell(proposer, trial.configuration, trial)
        for configuration in self.failed:
            proposer.fail(configuration)
        proposer.leave_out(self._unpredictable())
        self.time_left.proposer = proposer
        self._begin("tests", "measuring")
        while (tests := self._tests_to_make()) > 0 and self.guide.goes_on(self):
            proposer.leave_out(self.given_up)
            batch = self._batch(proposer, tests)
            if not batch:
                break
            self._test(batch, proposer)
        self.searched = True
        single = self.untried_single()
        in_time = self.test_s <= self.clock.left_s - self.kept_for_the_end_s()
        if single is not None and in_time and self.clock.tests_to_search >= 1:
            self._test([single], proposer)

    def _test(self, batch: Sequence[Configuration], proposer: Proposer) -> None:
        """Test ``batch``, all at once, and have ``proposer`` learn from it."""
        self._know_costs_of_tests(batch)
        began_s = self.clock.elapsed_s
        self.time_left.update(begun=batch)
        with self.time_left.recording("test", batch[0]):
            results = self.bench.load_tests(batch)
        took_s = self.clock.elapsed_s - began_s
        # What was guessed before the first test counts for nothing after it.
        self.test_s = (self.test_s + took_s) / 2 if self.trials else took_s
        # As slowly as the machine computes, but no longer than what was longer.
        usual_s = self.typical_round_test_s()
        self.round_test_s = max(usual_s, min(usual_s * self.clock.slowness.times, took_s))
        for configuration in batch:
            self._keep(configuration, results[configuration])
            _tell(proposer, configuration, results[configuration])

    def _tests_to_make(self) -> float:
        """Return how many tests may be made next. While nothing was measured it is one if there is any time for
        that."""
        if not self.trials:
            return self.clock.tests_left if min_test_s(self.request) <= self.clock.left_s else 0
        in_time = self.clock.elapsed_s < self.trying_until_s() and self.test_s <= self.clock.left_s
        return (self.clock.tests_left if self.exhaustive else self.clock.tests_to_search) if in_time else 0

    def _batch(self, proposer: Proposer, tests: float) -> list[Configuration]:
        """Return as many proposals as may run, and can run, at once."""
        wanted = int(min(self.request.max_parallel_tests, tests))
        batch: list[Configuration] = []
        crowded = False

        def fit_at_once(vcpus: Sequence[int]) -> bool:
            nonlocal crowded
            fits = self.bench.fit_at_once(vcpus)
            crowded |= not fits
            return fits

        while len(batch) < wanted and (proposal := proposer.next(beside=batch, fit_at_once=fit_at_once)) is not None:
            batch.append(proposal.configuration)
        if batch and crowded and len(batch) < wanted:
            why = (
                "endpoints were measured one at a time, since their clients would be in each other's way"
                if self.request.deployment == "endpoint"
                else "as many ran as had CPUs of their own"
            )
            self.remarks.append(f"{self.request.max_parallel_tests} tests at once were asked for: {why}")
        return batch

    def _keep(self, configuration: Configuration, result: Trial | None) -> None:
        """Add a trial to the state, or a failure where there is none."""
        if result is None:
            self.failed.add(configuration)
        else:
            self.trials.append(result)
            self.guide.tell(self, result)

    def _confirm(self) -> None:
        """Measure the winner again, for longer: the best of many measurements is partly the luckiest. If another one is
        the winner then, that one is confirmed too."""
        while (asked := self.guide.to_confirm(self)) is not None:
            if len(self.confirmed) >= MAX_CONFIRMATIONS and asked.configuration not in self.confirmed:
                self.remarks.append(f"{_NOT_CONFIRMED}: it won by the confirmation of others")
                return
            if not self._confirmation_fits():
                self.remarks.append(f"{_NOT_CONFIRMED}: {self._ran_out()}")
                return
            self._begin("confirmation", "measuring the winner again")
            result = self._confirmed(asked)
            self.confirmed.add(asked.configuration)
            self._keep(asked.configuration, result)

    def _confirmed(self, asked: ToConfirm) -> Trial | None:
        """Measure the winner for as long as there is time for, since that is what people rely on."""
        winner, rate_per_s = asked.configuration, asked.rate_per_s
        in_one = self.bench.is_predicted(winner)
        left_s = self.clock.left_s * asked.part
        plan = self.confirmation_plan(left_s, winner, in_one=in_one, rate_per_s=rate_per_s)
        return self.bench.confirm(winner, plan, rate_per_s=rate_per_s)

    def _confirmation_fits(self) -> bool:
        """Return whether tests and time are left to measure once more."""
        return self.clock.left_s >= self.min_confirmation_s(self.round_test_s) and self.clock.tests_left >= 1


def _tell(proposer: Proposer, configuration: Configuration, trial: Trial | None) -> None:
    """Have ``proposer`` learn from ``trial``, None where ``configuration`` could not be measured."""
    if trial is None or trial.verdict == "INVALID":  # that says nothing about the configuration
        proposer.fail(configuration)
    else:
        proposer.learn(trial)
