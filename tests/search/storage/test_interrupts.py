"""Ctrl-C while the database is written counts once what was begun is written."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import pytest
from optuna.storages import RDBStorage

from servefit.search.jobs.optuna_trials import StudyOfTrials
from servefit.search.storage import tables
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.interrupts import Interrupts
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.log import JobLog

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.trial import TrialState
    from sqlalchemy.engine import Connection

    from servefit.profiler.record.types import Configuration

MakeHeader = Callable[[str], JobHeader]


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_counts_at_the_end_of_the_block_and_the_handler_is_put_back() -> None:
    done = []

    def work() -> None:
        with Interrupts().held():
            press_ctrl_c()
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_within_another_lets_nothing_through() -> None:
    interrupts, done = Interrupts(), []

    def work() -> None:
        with interrupts.held():
            with interrupts.held():
                press_ctrl_c()
            done.append("the rest of the outer block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_a_second_interrupt_counts_at_once() -> None:
    done = []

    def work() -> None:
        with Interrupts().held():
            press_ctrl_c()
            press_ctrl_c()
            done.append("more than that")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_waits_within_a_block_is_interrupted() -> None:
    interrupts, done = Interrupts(), []

    def work() -> None:
        with interrupts.held():
            interrupts.let_through()
            done.append("before")
            press_ctrl_c()
            interrupts.let_through()
            done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["before"]


def test_what_a_block_raises_is_not_hidden_where_nothing_interrupts() -> None:
    with pytest.raises(ValueError, match="wrong"), Interrupts().held():
        raise ValueError("wrong")


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts().held():
            press_ctrl_c()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handler_alone() -> None:
    seen = []

    def hold() -> None:
        with Interrupts().held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


@pytest.mark.integration
def test_what_an_interrupt_finds_in_a_transaction_is_written(
    header: MakeHeader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = JobLog._replace

    def interrupted(log: JobLog, connection: Connection, key: str, text: str) -> None:
        press_ctrl_c()
        replace(log, connection, key, text)

    with JobStore.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
        log = store.create(header("cut"))
        monkeypatch.setattr(JobLog, "_replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.set_state(JobState(status="STOPPED"))
        monkeypatch.undo()
        assert store.job("cut").state.status == "STOPPED"


@pytest.mark.integration
def test_an_interrupt_while_a_job_is_made_leaves_no_study_without_its_job(
    header: MakeHeader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_job = tables.add_job

    def interrupted(connection: Connection, name: str, texts: Mapping[str, str]) -> int:
        press_ctrl_c()
        return add_job(connection, name, texts)

    with JobStore.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
        monkeypatch.setattr(tables, "add_job", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.create(header("cut"))
        assert [job.name for job in store.jobs()] == ["cut"]
        assert store.job("cut").study().trials == []


@pytest.mark.integration
def test_an_interrupt_while_the_end_of_a_trial_is_written_stays_an_interrupt(
    header: MakeHeader, configuration: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JobStore.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
        trials = StudyOfTrials(store.create(header("cut")), [configuration], seed=0)
        write = RDBStorage.set_trial_state_values

        def interrupted(
            self: RDBStorage, trial_id: int, state: TrialState, values: Sequence[float] | None = None
        ) -> bool:
            if state.is_finished():
                press_ctrl_c()
            return write(self, trial_id, state, values)

        monkeypatch.setattr(RDBStorage, "set_trial_state_values", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trials.carry_out([configuration], lambda _: None)
