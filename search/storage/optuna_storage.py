"""Optuna's storage, with transactions that outlive a restart of the database server, and damage that is told as such.

Optuna's own would fail with the connection. Most of them may just be carried out again; the two that make a trial and
settle what became of it first look whether they have happened. Of what cannot be read Optuna raises whatever comes of
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial, TrialState

    from servefit.search.storage.outages import Outages

_REPEATED = (
    *("get_study_id_from_name", "get_study_name_from_id", "get_study_directions", "get_all_studies"),
    *("get_study_user_attrs", "get_study_system_attrs", "set_study_user_attr", "set_study_system_attr"),
    *("get_trial", "get_trial_id_from_study_id_trial_number", "_get_trials", "_get_stale_trial_ids"),
    *("set_trial_param", "_set_trial_param", "set_trial_user_attr", "set_trial_system_attr"),
)
"""Methods that read, or say the same a second time. Optuna's cache calls those that begin with an underscore."""


_LOOKING = ("get_study_id_from_name", "get_study_name_from_id")
"""Methods that say with a KeyError that there is no such study."""


class Damaged(Exception):
    """A study that Optuna keeps cannot be read; the message says why."""


def patient_storage(outages: Outages) -> type[RDBStorage]:
    """Return a kind of RDBStorage that waits out the ``outages`` of its database."""
    from optuna.exceptions import StorageInternalError
    from optuna.storages import RDBStorage

    class Storage(RDBStorage):
        def record_heartbeat(self, trial_id: int) -> None:
            """Give a sign of life. A failure is no reason to break a trial off: the next writer gets the error."""
            with suppress(StorageInternalError):
                super().record_heartbeat(trial_id)

        def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
            make = partial(super()._create_new_trial, study_id, template_trial)
            return _made_once(self, study_id, make, outages) if outages.are_waited_out else outages.repeated(make)

        def set_trial_state_values(
            self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
        ) -> bool:
            def done() -> bool | None:
                return True if self.get_trial(trial_id).state == state else None

            return outages.repeated(lambda: super(Storage, self).set_trial_state_values(trial_id, state, values), done)

    for name in _REPEATED:
        if hasattr(RDBStorage, name):
            setattr(Storage, name, _telling_damage(_repeated(getattr(RDBStorage, name), outages)))
    for name in ("_create_new_trial", "set_trial_state_values"):
        setattr(Storage, name, _telling_damage(getattr(Storage, name)))
    return Storage


def _made_once(storage: RDBStorage, study_id: int, make: Callable[[], FrozenTrial], outages: Outages) -> FrozenTrial:
    """Return the trial that ``make`` makes. The owner of a job makes one at a time, so another new one is the same
    again."""
    from optuna.trial import TrialState

    before = storage.get_n_trials(study_id)

    def new() -> list[FrozenTrial]:
        return storage.get_all_trials(study_id, deepcopy=False)[before:]

    made = outages.repeated(make, lambda: next(iter(new()), None))
    # Optuna itself tries again, and does not look.
    for trial in new():
        if trial._trial_id != made._trial_id:
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    return made


def _repeated(method: Callable[..., Any], outages: Outages) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        return outages.repeated(lambda: method(*arguments, **options))

    return call


def _telling_damage(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, KeyError) and method.__name__ in _LOOKING:
                raise  # there is no such study
            raise Damaged(f"its study is damaged, and Optuna cannot read it: {error}") from error

    return call
