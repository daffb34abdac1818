"""Databases that cannot be reached, hold something else, or disappear."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.process_limits import as_user, no_room_beyond

from servefit.errors import StateError, StorageError
from servefit.search.storage import database
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    import optuna

    from servefit.search.storage.log import JobLog

pytestmark = [pytest.mark.timeout(60), pytest.mark.integration]  # only jobs that were begun wait for a database

MakeHeader = Callable[[str], JobHeader]


class Server(Protocol):
    password: str
    port: int

    def url(self, database: str = ..., *, driver: str = ..., password: str | None = ...) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


OPEN = """
import sys
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.log import JobLog
print("ready", flush=True)
sys.stdin.readline()
with JobStore.open(sys.argv[1]) as store:
    print(len(store.jobs()), flush=True)
"""


@pytest.fixture(autouse=True)
def _tries_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PAUSE_S", 0.01)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener


def test_without_a_url_jobs_are_in_a_file_of_the_users_own(
    tmp_path: Path, header: MakeHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a %20 {folder} #1?"
    monkeypatch.setenv("SERVEFIT_HOME", str(folder))
    with JobStore.open() as store:
        store.create(header("fraud"))
    assert store.url == str(folder / "jobs.db")
    assert (folder / "jobs.db").stat().st_mode & 0o777 == 0o600
    with JobStore.open() as store:
        assert [job.name for job in store.jobs()] == ["fraud"]


def test_a_state_folder_that_cannot_be_written_is_a_state_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", "/proc/servefit")
    with pytest.raises(StateError, match="cannot write /proc/servefit"):
        JobStore.open()


@pytest.mark.parametrize("path", ["/proc/servefit/jobs.db", "/nowhere/jobs.db"])
def test_a_file_that_cannot_be_opened_is_told(path: str) -> None:
    with pytest.raises(StorageError) as caught:
        JobStore.open(f"sqlite:///{path}")
    assert str(caught.value) == f"cannot use the jobs in sqlite:///{path}: unable to open database file"


def test_a_read_only_folder_is_told() -> None:
    with tempfile.TemporaryDirectory(prefix="servefit-read-only-") as folder:
        Path(folder).chmod(0o555)
        with as_user(), pytest.raises(StorageError, match="unable to open database file"):
            JobStore.open(f"sqlite:///{folder}/jobs.db")


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_text("these are not the jobs that you are looking for\n" * 100)
    with pytest.raises(StorageError, match="file is not a database"):
        JobStore.open(f"sqlite:///{tmp_path / 'jobs.db'}")


def test_a_database_of_another_optuna_is_told_with_what_to_do(sqlite_url: str, tmp_path: Path) -> None:
    JobStore.open(sqlite_url).close()
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v3.0.0.a'")
        connection.commit()
    with pytest.raises(StorageError, match="optuna storage upgrade"):
        JobStore.open(sqlite_url)


LISTED = """
import sys
from servefit.search.storage.jobs import JobStore
with JobStore.open(sys.argv[1]) as store:
    print([job.name for job in store.overview()], "optuna" in sys.modules)
"""


def listed(url: str) -> str:
    """The jobs as a process of its own lists them, and whether it loads Optuna for that."""
    command = [sys.executable, "-c", LISTED, url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_jobs_are_listed_without_optuna_once_it_has_found_its_tables_to_be_compatible(
    sqlite_url: str, header: Callable[[str], JobHeader]
) -> None:
    with JobStore.open(sqlite_url) as store:
        store.create(header("fraud"))
    assert listed(sqlite_url) == "['fraud'] False"


def test_a_database_of_before_that_was_written_down_is_looked_at_once(
    sqlite_url: str, header: Callable[[str], JobHeader], tmp_path: Path
) -> None:
    with JobStore.open(sqlite_url) as store:
        store.create(header("fraud"))
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("DROP TABLE servefit_checked")
    assert [listed(sqlite_url), listed(sqlite_url)] == ["['fraud'] True", "['fraud'] False"]


def test_a_database_that_fails_when_a_job_is_made_is_told(
    sqlite_url: str, header: Callable[[str], JobHeader], tmp_path: Path
) -> None:
    JobStore.open(sqlite_url).close()
    with JobStore.open(sqlite_url) as store:
        (tmp_path / "jobs.db").write_text("these are not the jobs that you are looking for\n" * 10_000)
        with pytest.raises(StorageError, match="file is not a database"):
            store.create(header("fraud"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_server_that_is_not_there_is_told_within_seconds(host: str, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(StorageError) as caught:
        JobStore.open(f"postgresql://fit:s3cr3t@{host}:{port}/jobs")
    assert f"cannot use the jobs in postgresql://fit:***@{host}:{port}/jobs: connection failed" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_a_server_that_never_answers_is_given_up_within_seconds(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(StorageError, match="timeout") as caught:
        JobStore.open(f"postgresql://fit:s3cr3t@127.0.0.1:{port}/jobs?connect_timeout=2")
    assert "s3cr3t" not in str(caught.value)


def test_a_wrong_password_is_told_and_not_shown(postgresql: Server) -> None:
    with pytest.raises(StorageError, match="password authentication failed") as caught:
        JobStore.open(postgresql.url(password="wr@ng/%40"))
    assert not {"wr@ng", "wr%40ng", postgresql.password} & set(str(caught.value).split())
    assert "wr@ng" not in str(caught.value)
    assert "wr%40ng" not in str(caught.value)


def test_a_database_that_the_server_does_not_have_is_told(postgresql: Server) -> None:
    with pytest.raises(StorageError, match='database "nowhere" does not exist'):
        JobStore.open(postgresql.url("nowhere"))


def test_a_plain_postgresql_url_needs_no_driver_named(postgresql: Server, postgresql_url: str) -> None:
    for scheme in ("postgresql", "postgres"):
        with JobStore.open(postgresql.url(driver=scheme)) as store:
            assert store.jobs() == ()
            assert store.url == f"{scheme}://fit:***@127.0.0.1:{postgresql.port}/postgres"


@pytest.mark.thorough
def test_several_processes_may_open_a_new_database_at_once(url: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.db").unlink(missing_ok=True)
    command = [sys.executable, "-W", "error", "-c", OPEN, url]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            for _ in range(4)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            opened, said = process.communicate(timeout=60)
            assert opened == "0\n", said
            # A slow disk makes them wait for each other, which they may say.
            assert [line for line in said.splitlines() if "waiting for it, 30 s at most" not in line] == []


def test_an_sqlite_file_that_goes_away_is_told_by_the_next_step(
    sqlite_url: str, tmp_path: Path, header: MakeHeader
) -> None:
    def work(job: JobLog) -> None:
        with job.owned():
            step = job.begin("compilation", "treelite", None)
            (tmp_path / "jobs.db").unlink()
            job.finish(step, status="FAILED")

    with JobStore.open(sqlite_url) as store, pytest.raises(StorageError, match="no such table"):
        work(store.create(header("fraud")))


def test_a_full_disk_is_told_and_what_was_there_is_kept(sqlite_url: str, header: MakeHeader) -> None:
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        with job.owned():
            step = job.begin("compilation", "treelite", None)
            with no_room_beyond(0):
                for write in (
                    lambda: job.finish(step, status="FAILED"),
                    lambda: job.begin("compilation", "tl2cgen", None),
                    lambda: job.set_state(JobState(status="COMPLETED")),
                    lambda: store.create(header("second")),
                ):
                    with pytest.raises(StorageError, match=r"disk I/O error|disk is full"):
                        write()
            assert job.steps() == (step,)
            assert job.finish(step, status="FAILED").status == "FAILED"
        assert [job.name for job in store.jobs()] == ["fraud"]


def test_a_server_that_goes_away_is_told_by_the_next_step_and_a_new_one_is_used(
    postgresql: Server, postgresql_url: str, header: MakeHeader
) -> None:
    with JobStore.open(postgresql_url) as store:
        job = store.create(header("fraud"))
        with job.owned():
            step = job.begin("compilation", "treelite", None)
            postgresql.stop()
            try:
                for use in (
                    lambda: job.finish(step, status="FAILED"),
                    lambda: job.begin("compilation", "treelite", None),
                    lambda: job.state,
                    job.stop_requested,
                    job.study,
                    store.jobs,
                ):
                    with pytest.raises(StorageError) as caught:
                        use()
                    assert postgresql.password not in str(caught.value)
            finally:
                postgresql.start()
            ended = job.finish(step, status="FAILED")
        assert job.steps() == (ended,)


@pytest.mark.thorough
def test_a_server_that_was_restarted_between_two_steps_is_not_noticed(
    postgresql: Server, postgresql_url: str, header: MakeHeader
) -> None:
    with JobStore.open(postgresql_url) as store:
        job = store.create(header("fraud"))
        with job.owned():
            step = job.begin("compilation", "treelite", None)
            postgresql.stop()
            postgresql.start()
            ended = job.finish(step, status="FAILED")
        assert job.steps() == (ended,)


def test_what_ended_a_job_is_not_hidden_by_a_server_that_is_gone(
    postgresql: Server, postgresql_url: str, header: MakeHeader
) -> None:
    def work(job: JobLog) -> None:
        with job.owned():
            postgresql.stop()
            raise ZeroDivisionError

    with JobStore.open(postgresql_url) as store:
        job = store.create(header("fraud"))
        try:
            with pytest.raises(ZeroDivisionError):
                work(job)
        finally:
            postgresql.start()


@pytest.mark.thorough
def test_trials_that_find_no_database_are_a_storage_error(
    sqlite_url: str, tmp_path: Path, header: MakeHeader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(trial: optuna.Trial) -> tuple[float, float]:
        (tmp_path / "jobs.db").unlink()
        # Until a sign of life could not be given, which is nobody's end
        time.sleep(1.5)
        return 1.0, 2.0

    monkeypatch.setattr("servefit.search.storage.database.HEARTBEAT_S", 1)
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        study = job.study()
        with pytest.raises(StorageError, match="no such table"), job.reporting():
            study.optimize(lose, n_trials=1)
        with pytest.raises(StorageError, match="no such table"), job.reporting():
            study.optimize(lose, n_trials=1)
