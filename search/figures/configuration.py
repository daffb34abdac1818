"""Figures of what was tested: the instance, the backend, and the settings that a deployment has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.search.figures.contract import Figure

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Recommendation

ID = Figure(
    name="id",
    title="id",
    unit=None,
    digits=None,
    meaning="Names the recommendation: `servefit serve JOB/ID`.",
    of_recommendation=lambda recommendation: recommendation.id,
)

INSTANCE_PROFILE = Figure(
    name="instance_profile",
    title="profile",
    unit=None,
    digits=None,
    meaning="The instance, by its name.",
    of_recommendation=lambda recommendation: recommendation.profile.name,
)

INSTANCE_COUNT = Figure(
    name="instance_count",
    title="count",
    unit="instances",
    meaning="How many instances the rate takes; 1 where no rate was asked.",
    of_trial=lambda trial: trial.instance_count,
)

BACKEND = Figure(
    name="backend",
    title="backend",
    unit=None,
    digits=None,
    meaning="What predicts.",
    of_trial=lambda trial: trial.configuration.backend,
)

QUALITY = Figure(
    name="quality",
    title="quality",
    unit=None,
    digits=None,
    only_where_known=True,
    meaning="What was found of a backend that predicts less exactly; empty for one that predicts as the model does.",
    of_recommendation=lambda recommendation: None if recommendation.quality is None else recommendation.quality.short,
)

WORKERS = Figure(
    name="environment.MODEL_SERVER_WORKERS",
    title="workers",
    unit="processes",
    meaning="Processes that predict.",
    of_trial=lambda trial: trial.configuration.workers,
)

THREADS = Figure(
    name="environment.OMP_NUM_THREADS",
    title="threads",
    unit="threads",
    meaning="Threads of each worker.",
    of_trial=lambda trial: trial.configuration.settings.threads,
)

MAX_BATCH = Figure(
    name="settings.max_batch",
    title="batch",
    unit="requests",
    meaning="The most requests that are joined into one call.",
    of_trial=lambda trial: trial.configuration.max_batch,
)

BATCH_DELAY = Figure(
    name="settings.batch_delay_us",
    title="delay us",
    unit="us",
    meaning="How long the first request of a batch waits for others.",
    of_trial=lambda trial: trial.configuration.batch_delay_us,
)


def _environment(recommendation: Recommendation) -> str:
    options = recommendation.trial.configuration.settings.options
    variables = recommendation.environment | {name: str(value) for name, value in options}
    return " ".join(f"{name}={value}" for name, value in variables.items())


ENVIRONMENT = Figure(
    name="environment",
    title="environment",
    unit=None,
    digits=None,
    meaning="The variables that a deployment sets, and in tables the backend's own options.",
    of_recommendation=_environment,
)
