"""The Optuna studies of a job: one of its load tests, or one for each class of hosts that it measures on.

Callers turn the errors of Optuna about a database that is gone into StorageError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.storage import records
from servefit.search.storage.database import quiet
from servefit.search.storage.records import CHOICES, Unreadable

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.study import Study

    from servefit.backends.types import KnobValue
    from servefit.search.storage.database import Database


@dataclass(frozen=True, slots=True)
class Studies:
    """The studies of ``job`` in ``database``. ``host`` is the representative of a class, None for a job on one host.
    Methods raise Unreadable for a study that is gone or damaged, and what Optuna does."""

    database: Database
    job: str

    @property
    def storage(self) -> RDBStorage:
        return self.database.storage

    def make(self, host: str) -> None:
        """Make the study of a class of hosts, unless it is there."""
        import optuna
        from optuna.study import StudyDirection

        with quiet():
            optuna.create_study(
                study_name=self._name(host),
                storage=self.storage,
                directions=[StudyDirection.MINIMIZE] * records.STUDY_OBJECTIVES,
                load_if_exists=True,
            )

    def load(self, sampler: BaseSampler | None = None, *, host: str | None = None) -> Study:
        """Return a study; its trials belong to the search."""
        import optuna

        try:
            study = optuna.load_study(study_name=self._name(host), storage=self.storage, sampler=sampler)
        except KeyError as error:
            raise records.missing("its study") from error
        if len(study.directions) != records.STUDY_OBJECTIVES:
            raise Unreadable(f"its study is damaged: it has {len(study.directions)} objectives")
        return study

    def choices(self, host: str | None = None) -> dict[str, list[KnobValue | None]] | None:
        """Return the values of parameters that a study began with; None before that."""
        attributes = self.storage.get_study_user_attrs(self._number(host))
        return records.checked_choices(attributes[CHOICES]) if CHOICES in attributes else None

    def fail_unfinished(self, host: str | None = None) -> None:
        """Fail the trials that are left, the enqueued ones too: they would be carried out in the place of the next."""
        from optuna.trial import TrialState

        number = self._number(host)
        for trial in self.load(host=host).get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
            # Study.tell refuses a trial that was not begun.
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(number, trial.number)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def _name(self, host: str | None) -> str:
        return self.job if host is None else records.study_name(self.job, host)

    def _number(self, host: str | None) -> int:
        try:
            return self.storage.get_study_id_from_name(self._name(host))
        except KeyError as error:
            raise records.missing("its study") from error
