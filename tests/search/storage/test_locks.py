"""A database file that another process has locked: its process is named at once, and the wait has an end."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import pytest

import servefit
from servefit.errors import StorageError
from servefit.search.storage import addresses, locks
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.locks import LOOK_S, FileLocked, Patience, holder_of

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

    from servefit.search.storage.log import JobLog

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]

IMMEDIATE = pytest.param("BEGIN IMMEDIATE", marks=pytest.mark.thorough)
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(path: Path, how: str = "BEGIN EXCLUSIVE") -> Iterator[subprocess.Popen[str]]:
    """Another process locks the file for as long as the block lasts, or until it is killed."""
    command = [sys.executable, "-c", HOLD, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            yield process
        finally:
            process.kill()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (locks, addresses):
        monkeypatch.setattr(module, "LOOK_S", 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def job(sqlite_url: str, header: MakeHeader) -> Iterator[JobLog]:
    with JobStore.open(sqlite_url) as store:
        yield store.create(header("fraud"))


def test_opening_a_locked_file_says_who_holds_it_and_gives_up(
    sqlite_url: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    JobStore.open(sqlite_url).close()
    monkeypatch.setattr(locks, "LOCKED_S", 0.2)
    with locked(path) as process, pytest.raises(StorageError) as caught:
        JobStore.open(sqlite_url)
    assert f"it is locked by process {process.pid} (" in caught.value.reason
    assert caught.value.remedy == "wait until it is done or end it, or keep jobs elsewhere with --storage"
    (said,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert f"{path} is locked by process {process.pid} (" in said.message
    assert "waiting for it, 0.2 s at most" in said.message


@pytest.mark.parametrize("how", ["BEGIN EXCLUSIVE", IMMEDIATE, "BEGIN"])
def test_a_job_goes_on_where_a_lock_was_held_only_for_a_while(
    path: Path, job: JobLog, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    with job.owned(), locked(path, how) as process:

        def free_once_it_is_waited_for() -> None:
            while "waiting for it" not in caplog.text:
                time.sleep(0.01)
            process.kill()

        freeing = threading.Thread(target=free_once_it_is_waited_for)
        freeing.start()
        job.set_state(JobState(status="COMPLETED"))
        freeing.join()
    assert job.state.status == "COMPLETED"


def test_after_a_wait_in_vain_the_next_is_short_until_something_was_written(path: Path) -> None:
    now_s = 0.0
    patience = Patience(str(path), now=lambda: now_s)

    def write() -> None:
        nonlocal now_s
        try:
            connection.execute("INSERT INTO numbers VALUES (1)")
        except sqlite3.OperationalError:
            now_s += LOOK_S  # the patience of SQLite itself, which has none here
            raise

    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE numbers (number)")
        for limit in ("30 s", "1 s", "1 s"):
            with locked(path), pytest.raises(FileLocked, match=rf"it is locked by process .*, and was for {limit}$"):
                patience.with_it(write)
        patience.restore()
        with locked(path), pytest.raises(FileLocked, match=r"and was for 30 s$"):
            patience.with_it(write)


@pytest.mark.parametrize("how", [pytest.param("BEGIN EXCLUSIVE", marks=pytest.mark.thorough), "BEGIN IMMEDIATE"])
def test_after_waits_in_vain_a_free_file_is_used_again(
    path: Path, sqlite_url: str, job: JobLog, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(locks, "LOCKED_S", 0.2)
    monkeypatch.setattr(locks, "AFTERWARDS_S", 0.1)
    with JobStore.open(sqlite_url) as store:
        same = store.job("fraud")
        with locked(path, how):
            for _ in range(2):
                with pytest.raises(StorageError, match="it is locked by process"):
                    same.set_state(JobState(status="COMPLETED"))
                if how == "BEGIN IMMEDIATE":
                    # What may be read is not free.
                    assert same.state.status == "IN_PROGRESS"
        same.set_state(JobState(status="COMPLETED"))
    assert job.state.status == "COMPLETED"


@pytest.mark.parametrize("how", [pytest.param("BEGIN EXCLUSIVE", marks=pytest.mark.thorough), "BEGIN IMMEDIATE"])
def test_a_lock_at_the_end_of_a_trial_is_told_as_one(
    path: Path, job: JobLog, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(locks, "LOCKED_S", 0.2)
    with ExitStack() as stack:

        def lose(_: optuna.Trial) -> tuple[float, float]:
            stack.enter_context(locked(path, how))
            return 1.0, 2.0

        with pytest.raises(StorageError, match="it is locked by process"), job.reporting():
            job.study().optimize(lose, n_trials=1)


@pytest.mark.parametrize("how", ["BEGIN EXCLUSIVE", IMMEDIATE, "BEGIN"])
def test_a_new_job_does_nothing_before_it_knows_that_the_file_can_be_written(
    path: Path, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    JobStore.open(sqlite_url).close()
    monkeypatch.setattr(locks, "LOCKED_S", 0.2)
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    model = tmp_path / "model.json"
    model.write_text("no model")
    with locked(path, how), pytest.raises(StorageError, match="it is locked by process"):
        servefit.right_size(model, storage=sqlite_url)


def test_what_a_job_did_is_not_lost_where_it_cannot_be_given_back(
    path: Path, job: JobLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "LOCKED_S", 0.2)
    with ExitStack() as stack:
        owned = job.owned()
        owned.__enter__()
        stack.enter_context(locked(path))
        owned.__exit__(None, None, None)
    assert "job fraud counts as this process's for as long as it lives: cannot use the jobs in" in caplog.text


def test_who_holds_a_file_is_told_by_its_lock_or_by_who_has_it_open(path: Path, job: JobLog) -> None:
    assert holder_of(path) == "another process"
    with locked(path) as process:
        assert holder_of(path).startswith(f"process {process.pid} (")
    with path.open() as stream, subprocess.Popen(["sleep", "60"], stdin=stream) as process:
        assert holder_of(path) == f"process {process.pid} (sleep)"
        process.kill()
    assert holder_of(path / "nowhere") == "another process"
