"""The expectations that the search had of each test before it was made, beside what came out: how far its predictions
are to be trusted.

The expectations are computed again from the steps that a job keeps, each from those before it. What a job had learnt
from earlier jobs is not among them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING

from servefit.search.jobs.job import space_of, trials_of
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.service_time_survey import Survey, service_times_of
from servefit.search.results.recommendation import Trial
from servefit.search.simulation.endpoint import usual_costs
from servefit.search.storage.steps import TESTS, endpoint_costs_of

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.request.space import Space


_SDS_95 = 1.96
"""Standard deviations on each side of the 95 % interval of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The requests a second that the test of step number ``step`` was expected to find, with the 95 % interval of that,
    and what it found."""

    step: int
    trial: Trial
    expected_per_s: float
    low_per_s: float
    high_per_s: float

    @property
    def measured_per_s(self) -> float:
        """The requests a second that the test found."""
        return self.trial.capacity.throughput_per_s


def expectations(job: RecommendationJob) -> tuple[Expectation, ...]:
    """Return the expectation of the first test of every configuration whose calls had been timed, in the order of the
    tests."""
    space = _of_profiles(space_of(job.header, trials_of(job.steps, TESTS)))
    survey = Survey.of(space.grid)
    survey.known.update(service_times_of(job.steps))
    surrogate = Surrogate(space, survey, job.request)
    costs = usual_costs(endpoint_costs_of(job.steps))
    if costs is not None:
        surrogate.predict_endpoints(costs)
    first_expectations: dict[object, Expectation] = {}
    for step in job.steps:
        trial = step.result
        if step.kind != "load_test" or not isinstance(trial, Trial) or trial.configuration not in space.grid:
            continue
        (estimate,) = surrogate.capacities([trial.configuration])
        if estimate is not None and trial.configuration not in first_expectations and trial.capacity.throughput_per_s:
            first_expectations[trial.configuration] = Expectation(
                step=step.number,
                trial=trial,
                expected_per_s=estimate.value,
                low_per_s=exp(estimate.log_mean - _SDS_95 * estimate.sd),
                high_per_s=exp(estimate.log_mean + _SDS_95 * estimate.sd),
            )
        surrogate.learn_capacity(trial)
    return tuple(first_expectations.values())


def _of_profiles(space: Space) -> Space:
    """Return ``space`` without what no profile admits, of which nothing can be said."""
    admitted = {configuration for _, members in space.profiles for configuration in members}
    return replace(space, grid=tuple(configuration for configuration in space.grid if configuration in admitted))
