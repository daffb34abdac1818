"""The job's Optuna study: every load test of the search is a trial in it, for Optuna's own tools and dashboards.

``optimizer.proposer`` decides what is tried; here a proposal is enqueued and carried out by ``study.optimize``,
whose heartbeats tell a killed search from a slow one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from servefit.search.optimizer.parzen import choices, parameters
from servefit.search.optimizer.proposer import objectives
from servefit.search.storage.database import quiet
from servefit.search.storage.records import CHOICES

if TYPE_CHECKING:
    import optuna

    from servefit.backends.types import KnobValue
    from servefit.profiler.record.types import Configuration
    from servefit.search.results.recommendation import Trial
    from servefit.search.storage.class_log import ClassLog
    from servefit.search.storage.log import JobLog


class _NotMeasured(Exception):
    """A trial failed: raised to Optuna alone."""


class StudyOfTrials:
    """The study behind ``log``, over the configurations of ``grid``."""

    def __init__(self, log: JobLog | ClassLog, grid: Sequence[Configuration], *, seed: int) -> None:
        import optuna

        self._log = log
        self._claim = threading.Lock()
        # Every trial is enqueued with all its parameters, so nothing is ever sampled.
        self._study = log.study(optuna.samplers.RandomSampler(seed=seed))
        with log.reporting(), quiet():
            stored = log.choices()
            # Optuna keeps the values of a parameter that a study began with.
            self._choices: dict[str, list[KnobValue | None]] = stored or choices(list(map(parameters, grid)))
            if stored is None:
                self._study.set_user_attr(CHOICES, self._choices)
            self._study.set_metric_names(["vcpu_seconds_per_inference", "p95_ms"])

    def holds(self, configuration: Configuration) -> bool:
        """Return whether ``configuration`` was in the space that the job began with; a backend that came later is
        not."""
        point = parameters(configuration)
        return point.keys() <= self._choices.keys() and all(
            any(type(value) is type(point.get(name)) and value == point.get(name) for value in values)
            for name, values in self._choices.items()
        )

    def carry_out(
        self, configurations: Sequence[Configuration], measure: Callable[[Configuration], Trial | None]
    ) -> None:
        """Make each of ``configurations`` a trial, all at once where there are several. ``measure`` gives None for what
        could not be measured, and whatever it raises is raised here. Raises StorageError."""
        import optuna

        with self._log.reporting(), quiet():
            # The job reports failures itself.
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            if len(configurations) == 1:
                self._carry_out(configurations[0], measure)
                return
            with ThreadPoolExecutor(len(configurations)) as pool:
                running = [pool.submit(self._carry_out, configuration, measure) for configuration in configurations]
                # Within the pool, which waits for the others whatever happens here.
                for trial in running:
                    trial.result()

    def _carry_out(self, configuration: Configuration, measure: Callable[[Configuration], Trial | None]) -> None:
        """Make ``configuration`` a trial of its own."""
        with ExitStack() as claiming:
            # SQLite locks no rows, so two threads might claim the same trial.
            claiming.enter_context(self._claim)

            def objective(trial: optuna.Trial) -> tuple[float, float]:
                claiming.close()
                for name, values in self._choices.items():
                    trial.suggest_categorical(name, values)
                measured = measure(configuration)
                if measured is None or measured.verdict == "INVALID":
                    raise _NotMeasured
                trial.set_constraint("sla", measured.violation)
                trial.set_user_attr("verdict", measured.verdict)
                trial.set_user_attr("step", self._log.number_of(measured))
                return objectives(measured)

            point = parameters(configuration)
            self._study.enqueue_trial({name: point.get(name) for name in self._choices})
            try:
                self._study.optimize(objective, n_trials=1, catch=(_NotMeasured,))
            except UnboundLocalError as error:
                # Optuna raises this in place of an interrupt that comes while it writes the end of a trial.
                if isinstance(error.__context__, KeyboardInterrupt):
                    raise error.__context__ from None
                raise
