"""The contract of an objective, of servefit or of another package.

The suite runs against any objective that is found by its name, in this package or another: subclass it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.trials import trial

from servefit.errors import SpecError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.proposer import Proposer
from servefit.search.optimizer.service_time_survey import Survey, timed_as
from servefit.search.request.goals import OBJECTIVES, parse_goal
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.objectives.contract import Context, Objective, Prediction
from servefit.search.results.objectives.guarded import GuardedObjective
from servefit.search.results.objectives.registry import objective, objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price
from servefit.search.results.ranking import recommend, recommendation
from servefit.search.results.ratios import ratio

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Recommendation, Trial

PROFILE = InstanceProfile(name="box", vcpus=2, memory_bytes=2**30, price_per_hour=0.1)

TRIALS = st.builds(
    trial,
    gpu=st.sampled_from([None, 0]),
    vcpus=st.integers(1, 64),
    workers=st.integers(1, 64),
    capacity_per_s=st.one_of(st.just(0.0), st.floats(1e-3, 1e9)),
    at_rate_per_s=st.one_of(st.none(), st.just(0.0), st.floats(1e-3, 1e9)),
    p95_ms=st.one_of(st.none(), st.floats(1e-6, 1e9)),
    percentiles_ms=st.sampled_from([{}, {"p99": None}]),
    package_power_w=st.one_of(st.none(), st.floats(0, 1e4)),
    gpu_power_w=st.one_of(st.none(), st.floats(0, 1e4)),
    cpu_percent=st.one_of(st.none(), st.floats(0, 6400)),
    instances=st.integers(1, 100),
)
"""What a machine may record, and what it may be unable to."""

CONTEXTS = st.builds(
    Context,
    price=st.builds(Price.of, st.one_of(st.none(), st.floats(0, 1e3)), st.integers(1, 64)),
    rate_per_s=st.one_of(st.none(), st.floats(1e-3, 1e9)),
    cost_weight=st.floats(0, 1),
)

PREDICTIONS = st.builds(
    Prediction,
    configuration=st.builds(
        Configuration, vcpus=st.integers(1, 64), backend=st.just("forest"), gpu=st.sampled_from([None, 0])
    ),
    capacity_per_s=st.one_of(st.just(0.0), st.floats(1e-3, 1e9)),
    p95_ms=st.one_of(st.just(inf), st.floats(1e-6, 1e9)),
    instances=st.integers(1, 100),
)


class ObjectiveContract:
    """Subclassed for each objective: its ``name``, and two trials, of the backends "better" and "worse", of which the
    first is the better one by it."""

    name: ClassVar[str]
    better: ClassVar[Trial]
    worse: ClassVar[Trial]

    @property
    def objective(self) -> Objective:
        """The objective, whose methods raise ObjectiveError for what they may not return: NaN, a wrong type."""
        found = objective(self.name)
        return found if isinstance(found, GuardedObjective) else GuardedObjective(found, "servefit")

    def asked(self, rate_per_s: float | None = 100.0) -> JobRequest:
        return JobRequest(name="job", goal=self.name, sla=Sla(rate_per_s=rate_per_s), max_tests=20)

    def ranked(self, *trials: Trial) -> tuple[Recommendation, ...]:
        configurations = tuple(dict.fromkeys(trial.configuration for trial in trials))
        profiles = tuple(
            (replace(PROFILE, name=configuration.backend, vcpus=configuration.vcpus), frozenset([configuration]))
            for configuration in configurations
        )
        return recommend(Space(profiles=profiles, grid=configurations), trials, self.asked())

    def test_the_objective_is_found_by_its_name_and_may_be_asked_for(self) -> None:
        assert self.name in OBJECTIVES.names()
        assert parse_goal(self.name) == self.objective.name == self.name

    def test_its_words_are_short_lines(self) -> None:
        context = Context(price=Price.of(0.1, 2), rate_per_s=100.0, cost_weight=0.5)
        best = self.ranked(self.better)[0]
        words = [self.objective.unit, self.objective.aim, self.objective.axis, self.objective.text(12.5)]
        words += [self.objective.compared_by(context), self.objective.figure_text(best, context)]
        words.append(self.objective.times_better(context))
        assert all(words)
        for text in (*words, self.objective.evidence(best, context)):
            assert text.strip() == text
            assert len(text) < 60
            assert text.isprintable()

    @pytest.mark.integration
    def test_whatever_was_recorded_has_words(self) -> None:
        @given(trial=TRIALS, context=CONTEXTS)
        def holds(trial: Trial, context: Context) -> None:
            best = recommendation(PROFILE, trial)
            assert self.objective.figure_text(best, context)
            self.objective.evidence(best, context)
            assert self.objective.compared_by(context)
            assert self.objective.times_better(context)
            if (figure := self.objective.of_trial(trial, context)) is not None:
                assert self.objective.text(figure)

        holds()

    def test_whatever_was_recorded_has_a_figure_that_can_be_ranked_or_none(self) -> None:
        @given(trial=TRIALS, context=CONTEXTS)
        def holds(trial: Trial, context: Context) -> None:
            assert self.objective.of_trial(trial, context) == self.objective.of_trial(trial, context)
            self.objective.explored(trial, context)

        holds()

    def test_what_was_measured_several_times_has_a_figure_that_can_be_ranked_or_none(self) -> None:
        @given(trials=st.lists(TRIALS, min_size=1, max_size=4), context=CONTEXTS)
        def holds(trials: list[Trial], context: Context) -> None:
            for pooled in pool_trials([replace(each, configuration=trials[0].configuration) for each in trials]):
                self.objective.of_pooled_trials(pooled, context)

        holds()

    def test_whatever_is_expected_has_a_figure_that_can_be_ranked_or_none(self) -> None:
        @given(before=st.lists(TRIALS, max_size=4), prediction=PREDICTIONS, context=CONTEXTS)
        def holds(before: list[Trial], prediction: Prediction, context: Context) -> None:
            known = replace(context, learnt=self.objective.learn(before))
            assert self.objective.predicted(prediction, known) == self.objective.predicted(prediction, known)

        holds()

    def test_a_prediction_has_an_uncertainty(self) -> None:
        @given(capacity_sd=st.floats(1e-3, 3), latency_sd=st.floats(1e-3, 3))
        def holds(capacity_sd: float, latency_sd: float) -> None:
            self.objective.uncertainty(capacity_sd, latency_sd)

        holds()

    def test_less_is_better_once_a_figure_is_turned_so(self) -> None:
        @given(figures=st.lists(st.floats(0, inf), min_size=2, max_size=2).map(sorted))
        def holds(figures: list[float]) -> None:
            less, more = map(self.objective.lower, figures)
            assert less <= more if self.objective.direction == "min" else less >= more

        holds()

    def test_a_host_is_accepted_or_refused(self) -> None:
        with suppress(SpecError):
            self.objective.check(describe_host())

    def test_the_better_of_two_is_recommended_first(self) -> None:
        for trials in ((self.better, self.worse), (self.worse, self.better)):
            assert [recommendation.trial.configuration.backend for recommendation in self.ranked(*trials)] == [
                "better",
                "worse",
            ]

    def test_what_meets_the_sla_comes_before_what_is_better_and_does_not(self) -> None:
        failed = replace(self.better, verdict="FAIL", violation=0.5)
        assert [recommendation.trial.configuration.backend for recommendation in self.ranked(failed, self.worse)] == [
            "worse",
            "better",
        ]

    def test_in_turns_the_better_one_is_so_many_times_better(self) -> None:
        rounds = [replace(trial, round=nth) for nth in range(3) for trial in (self.better, self.worse)]
        better, worse = self.better.configuration, self.worse.configuration
        found, back = ratio(rounds, better, worse, self.asked()), ratio(rounds, worse, better, self.asked())
        assert found is not None
        assert back is not None
        assert found.ratio > 1
        assert found.ratio == pytest.approx(1 / back.ratio)

    @pytest.mark.parametrize("rate_per_s", [None, 100.0])
    def test_a_search_by_it_tries_every_backend_and_ends(self, rate_per_s: float | None) -> None:
        """Whether it can predict anything or not; each backend answers with its own trial."""
        trials = {trial.configuration.backend: trial for trial in (self.better, self.worse)}
        grid = tuple(
            replace(trial.configuration, workers=workers, max_batch=batch)
            for trial in trials.values()
            for workers in (1, 2)
            for batch in (1, 8)
        )
        survey = Survey.of(grid)
        for configuration in grid:
            times = tuple(BatchTimes(requests=size, strata_ns=(1e6 * size,)) for size in (1, 8))
            survey.known[timed_as(configuration, configuration.workers)] = ServiceTimes(
                batches=times, workers=configuration.workers
            )
        request = self.asked(rate_per_s)
        surrogate = Surrogate(Space(profiles=((PROFILE, frozenset(grid)),), grid=grid), survey, request)
        proposer = Proposer(grid, request, surrogate=surrogate, exhaustive=False)
        seen: list[Configuration] = []
        while (proposal := proposer.next()) is not None:
            assert proposer.rehearse(3) is not None
            seen.append(proposal.configuration)
            like = trials[proposal.configuration.backend]
            at_rate = None if rate_per_s is None else like.at_rate
            proposer.learn(replace(like, configuration=proposal.configuration, at_rate=at_rate))
        assert len(seen) == len(set(seen)) <= len(grid)
        assert seen
        if not surrogate.optimistic_scores(grid):
            assert set(seen) == set(grid)


class TestCost(ObjectiveContract):
    """Of what is measured at full load."""

    name = "cost"
    better = trial(backend="better", capacity_per_s=2000.0)
    worse = trial(backend="worse", capacity_per_s=1000.0)

    def asked(self, rate_per_s: float | None = None) -> JobRequest:
        return super().asked(rate_per_s)


class TestCostAtRate(ObjectiveContract):
    """What carries the rate at the same price is told apart by its latency there."""

    name = "cost"
    better = trial(backend="better", capacity_per_s=1000.0, p95_ms=1.0)
    worse = trial(backend="worse", capacity_per_s=2000.0, p95_ms=2.0)

    @property
    def objective(self) -> Objective:
        return GuardedObjective(objective_of(self.asked()), "servefit")


class TestThroughput(ObjectiveContract):
    name = "throughput"
    better = trial(backend="better", capacity_per_s=2000.0)
    worse = trial(backend="worse", capacity_per_s=1000.0)


class TestLatency(ObjectiveContract):
    name = "latency"
    better = trial(backend="better", p95_ms=1.0)
    worse = trial(backend="worse", p95_ms=2.0)


class TestBalanced(ObjectiveContract):
    name = "balanced"
    better = trial(backend="better", capacity_per_s=2000.0, p95_ms=1.0)
    worse = trial(backend="worse", capacity_per_s=1000.0, p95_ms=1.5)


class TestEnergy(ObjectiveContract):
    name = "energy"
    better = trial(backend="better", package_power_w=40.0)
    worse = trial(backend="worse", package_power_w=50.0)
