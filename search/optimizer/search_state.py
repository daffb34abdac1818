"""The state of a search, and what follows from it for its time: until when each stage goes on, and what is kept back
for those after it.

``search`` adds to it, stage by stage; ``time_left`` looks ahead from it. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf, log
from typing import TYPE_CHECKING

from servefit.search.optimizer.confirmation_plan import (
    kept_for_confirmation_s,
    min_confirmation_s,
    plan_confirmation,
)
from servefit.search.optimizer.importance import importance, naive_default
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.service_time_survey import Survey
from servefit.search.results.measure_trial import BETWEEN_S, MAX_TURN_S, turn_durations
from servefit.search.results.objectives.latency import Latency
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommend
from servefit.search.results.ratios import MIN_ROUNDS

if TYPE_CHECKING:
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.clock import Clock
    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.optimizer.pace import Activity
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import Recommendation, Trial
    from servefit.search.simulation.endpoint import EndpointCosts

SEARCH_SHARE = 0.55
EXHAUSTIVE_SHARE = 0.88
"""When this part of the job's time is over nothing new is tried, and the second where the whole grid is: the rest is
for measuring the finalists in turns and confirming the winner, which may have more kept. Chosen, not measured."""

TIMING_SHARE = 0.8
"""Of that time, after which no more calls are timed alone. Chosen, not measured."""

TIMING_SHARE_OF_REST = 0.25
"""This part of what compiling left of the time is for timing calls, however much it took: without that the search would
know nothing of any backend but the first that it tests. Chosen, not measured."""

TESTS_SHARE_OF_REST = 0.25
"""And this part of what these have left is for tests. Chosen, not measured."""

MIN_TESTS_FOR_ROUNDS = 9
"""A job that may make fewer tests spends them on configurations: three rounds, which an interval takes, of the best and
the naive default alone are six tests."""

FAR_BELOW = 0.5
"""The part of its limit that a percentile takes which is far below it. Chosen, not measured."""

TYPICAL_TEST_S = 2.0
TYPICAL_ROUND_TEST_S = 1.2
"""The time of a test with its fresh processes, one in a round without its load at a rate, before anything is known of
it: a guess, which the first tests replace."""


@dataclass(slots=True, kw_only=True)
class SearchState:
    """Everything that a search knows. ``reference`` is the backend of the model's own library.

    ``trials``, ``failed`` and ``confirmed`` grow as it goes; what they hold at the beginning is not measured again, nor
    is what was ``untimeable``. ``costs`` are those of an endpoint, where one is deployed and they are known.
    ``timed_by_s`` is when the timing of calls was over, None before, and ``searched`` says that nothing new is tried.
    ``earlier`` trials of other jobs only help to predict. ``closing_s`` says how much time to leave for what is done
    with a winner after the search, ``usual_s`` how long things took in earlier jobs.
    """

    space: Space
    request: JobRequest
    reference: str
    clock: Clock
    service_times: Mapping[Configuration, ServiceTimes] = field(default_factory=dict)
    costs: EndpointCosts | None = None
    earlier: Iterable[Trial] = ()
    trials: list[Trial] = field(default_factory=list)
    failed: set[Configuration] = field(default_factory=set)
    confirmed: set[Configuration] = field(default_factory=set)
    untimeable: Iterable[Configuration] = ()
    closing_s: Callable[[Configuration], float] = lambda _: 0.0
    usual_s: Mapping[Activity, float] = field(default_factory=dict)
    given_up: set[Configuration] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    began_s: float = field(init=False)
    timed_by_s: float | None = None
    survey: Survey = field(init=False)
    surrogate: Surrogate = field(init=False)
    exhaustive: bool = False
    searched: bool = False
    test_s: float = 0.0
    round_test_s: float = 0.0

    def __post_init__(self) -> None:
        self.began_s = self.clock.elapsed_s
        phases = self.request.phases
        self.test_s = TYPICAL_TEST_S + (0.0 if phases is None else phases.duration_s)
        self.round_test_s = self.typical_round_test_s()
        self.survey = Survey.of(self.space.grid)
        self.survey.known.update(self.service_times)
        self.survey.failed.update(self.untimeable)
        self.surrogate = Surrogate(self.space, self.survey, self.request)
        if self.costs is not None:
            self.surrogate.predict_endpoints(self.costs)

    def recommendations(self) -> tuple[Recommendation, ...]:
        """Return what to deploy, by what is known so far. What crashed once may crash again."""
        reliable = [trial for trial in self.hopeful_trials() if trial.configuration not in self.failed]
        return recommend(self.space, reliable, self.request)

    def hopeful_trials(self) -> list[Trial]:
        """Return all trials. Until a configuration is confirmed, one that leaves only limits open which are far away
        passes: that says something of the length of the test, and nothing against what was tested."""
        return [
            replace(trial, verdict="PASS")
            if trial.configuration not in self.confirmed and _is_too_short_to_tell(trial, self.request)
            else trial
            for trial in self.trials
        ]

    def best(self) -> Configuration | None:
        """Return the configuration of the first recommendation, None where there is none."""
        best = next(iter(self.recommendations()), None)
        return None if best is None else best.trial.configuration

    def importance(self) -> dict[str, float]:
        """Return the part that each parameter explains of the differences between all configurations, as they are
        expected to be now. Cost is counted in vCPUs, since some prices may be unknown."""
        objective = objective_of(self.request)
        figures = self.surrogate.figures(self.space.grid)
        # What is expected at the least latency does not compare with what was measured.
        if not (objective.needs_latency and figures):
            for pooled in pool_trials(self.trials):
                context = context_of(self.request, Price.in_vcpus(pooled.configuration.vcpus))
                measured = objective.of_pooled_trials(pooled, context)
                if measured is not None:
                    figures.setdefault(pooled.configuration, objective.lower(measured))
        return importance({configuration: log(figure) for configuration, figure in figures.items() if 0 < figure < inf})

    def untried_single(self) -> Configuration | None:
        """Return the configuration that differs from the best so far in joining no requests, where latencies at a rate
        decide: joining them has to be shown to gain something. None where it was tried, or cannot be."""
        best = self.best()
        if best is None or not isinstance(objective_of(self.request), Latency):
            return None
        single = replace(best, max_batch=1, batch_delay_us=0)
        tried = {trial.configuration for trial in self.trials} | self.failed | self.given_up
        return single if single in self.space.grid and single not in tried else None

    def naive(self, vcpus: int) -> Configuration | None:
        """Return the naive default in an envelope of ``vcpus``, None where the space does not have it."""
        return naive_default(self.space.grid, vcpus, self.reference)

    def timing_until_s(self) -> float:
        """Return when timing calls has had its share of the job's time, or, if that is later, of what compiling left of
        it; but no more than its share of the time that as many tests take as the job may make."""
        limit_s, began_s = self.clock.limit_s, self.began_s
        of_tests_s = TIMING_SHARE * SEARCH_SHARE * self.clock.test_limit * self.test_s
        of_job_s = max(TIMING_SHARE * self._searching_s(), began_s + TIMING_SHARE_OF_REST * (limit_s - began_s))
        return min(of_job_s, began_s + of_tests_s)

    def _searching_s(self) -> float:
        """Return when the share of the job's time for finding a winner is over."""
        limit_s = self.clock.limit_s
        if self.exhaustive:  # that all of it fits was found beforehand
            return EXHAUSTIVE_SHARE * limit_s
        return min(SEARCH_SHARE * limit_s, limit_s - self.kept_for_the_end_s() - self._kept_for_turns_s())

    def _kept_for_turns_s(self) -> float:
        """Return the seconds of the rounds that an interval takes, of two finalists and the naive default; none where
        the best are not compared so."""
        return 3 * MIN_ROUNDS * self.round_test_s if self.takes_turns() else 0.0

    def trying_until_s(self) -> float:
        """Return when no configuration is tried any more, but the first: after its share of the time, or, if that is
        later, of what compiling and timing calls have left of it, or, before they are over, may leave."""
        limit_s = self.clock.limit_s
        if self.exhaustive or limit_s == inf:
            return self._searching_s()
        after_s = min(limit_s, self.timing_until_s() if self.timed_by_s is None else self.timed_by_s)
        return max(self._searching_s(), after_s + TESTS_SHARE_OF_REST * (limit_s - after_s))

    def typical_round_test_s(self) -> float:
        """Return what a test in a round takes before one was made."""
        at_rate_s = turn_durations(self.request).at_rate_s
        return TYPICAL_ROUND_TEST_S + (BETWEEN_S + at_rate_s if at_rate_s else 0.0)

    def takes_turns(self) -> bool:
        """Return whether the best are to be compared in turns: at a low rate a turn would take too long."""
        enough = self.clock.test_limit >= MIN_TESTS_FOR_ROUNDS
        return enough and self.request.phases is None and turn_durations(self.request).at_rate_s <= MAX_TURN_S

    def confirmation_plan(
        self, left_s: float, winner: Configuration | None, *, in_one: bool = False, rate_per_s: float | None = None
    ) -> ConfirmationPlan:
        """Return how ``winner`` is measured again where ``left_s`` are left for that and the closing, at
        ``rate_per_s`` on each instance if told; see ``plan_confirmation``."""
        sla = self.request.sla
        return plan_confirmation(
            self.request if rate_per_s is None else replace(self.request, sla=replace(sla, rate_per_s=rate_per_s)),
            left_s=left_s - self.min_closing_s(winner),
            round_test_s=self.round_test_s,
            in_one=in_one,
        )

    def min_closing_s(self, winner: Configuration | None) -> float:
        """Return the seconds to leave for what follows on the search, zero where nothing wins."""
        return 0.0 if winner is None else self.closing_s(winner)

    def kept_for_the_end_s(self, *, hurried: bool = False) -> float:
        """Return the seconds that whatever comes before the confirmation leaves for it, or for a ``hurried`` one, and
        for what follows on it."""
        kept_s = kept_for_confirmation_s(
            self.request, limit_s=self.clock.limit_s, round_test_s=self.round_test_s, hurried=hurried
        )
        return kept_s + self.min_closing_s(self.best())

    def kept_by_confirmation_s(self) -> float:
        """Return the seconds that the confirmation leaves for what follows on it; none where both do not fit, since
        it goes first."""
        closing_s = self.min_closing_s(self.best())
        return closing_s if self.clock.left_s >= self.min_confirmation_s(self.round_test_s) + closing_s else 0.0

    def min_confirmation_s(self, round_test_s: float) -> float:
        """Return how long the confirmation takes at least where a test in a round takes ``round_test_s``."""
        return min_confirmation_s(self.request, round_test_s=round_test_s)


def _is_too_short_to_tell(trial: Trial, request: JobRequest) -> bool:
    """Return whether ``trial`` is UNDECIDED, though every percentile that is limited is far below its limit."""
    if trial.verdict != "UNDECIDED" or trial.at_rate is None or not request.sla.thresholds:
        return False
    seen = [(trial.at_rate.latency_ms.get(limit.percentile), limit.limit_ms) for limit in request.sla.thresholds]
    return all(value is not None and value <= FAR_BELOW * limit_ms for value, limit_ms in seen)
