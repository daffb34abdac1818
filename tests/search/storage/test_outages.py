"""A database server that restarts during a job: the job waits, and keeps every step once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from tests.tiny_model import tiny_booster

import servefit
from servefit.errors import StorageError
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.storage import addresses, outages
from servefit.search.storage.addresses import parse_address
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    import psycopg

    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]


class Server(Protocol):
    password: str

    def url(self, database: str = ...) -> str: ...
    def connect(self) -> psycopg.Connection: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


@contextmanager
def away(server: Server, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The server is stopped, and started again once somebody waits for it, while the block goes on."""
    server.stop()
    told_before = caplog.text.count("is gone")

    def start_once_it_is_waited_for() -> None:
        while caplog.text.count("is gone") == told_before:
            time.sleep(0.01)
        server.start()

    starting = threading.Thread(target=start_once_it_is_waited_for)
    starting.start()
    try:
        yield
    finally:
        starting.join()


def test_a_job_waits_for_its_server_says_so_and_loses_nothing(
    postgresql: Server, postgresql_url: str, header: MakeHeader, caplog: pytest.LogCaptureFixture
) -> None:
    with JobStore.open(postgresql_url, patience_s=60) as store:
        job = store.create(header("fraud"))
        with job.owned():
            first = job.begin("compilation", "treelite", None)
            with away(postgresql, caplog):
                ended = job.finish(first, status="FAILED")
            with away(postgresql, caplog):
                second = job.begin("compilation", "tl2cgen", None)
            with away(postgresql, caplog):
                job.set_state(JobState(status="COMPLETED"))
        assert job.steps() == (ended, second)
        assert store.waited_s > 0
    said = [record.message for record in caplog.records if record.name == outages.__name__]
    assert "postgres is gone: waiting for it, 1 min at most: " in said[0]
    assert "is back after " in said[1]
    assert postgresql.password not in caplog.text


@pytest.mark.thorough
def test_a_server_that_does_not_come_back_is_given_up_and_not_waited_for_again(
    postgresql: Server, postgresql_url: str, header: MakeHeader
) -> None:
    with JobStore.open(postgresql_url, patience_s=0.6) as store:
        job = store.create(header("fraud"))
        with job.owned():
            step = job.begin("compilation", "treelite", None)
            postgresql.stop()
            try:
                with pytest.raises(StorageError, match="connection"):
                    job.finish(step, status="FAILED")
                waited_s = store.waited_s
                with pytest.raises(StorageError, match="connection"):
                    job.finish(step, status="FAILED")
                assert store.waited_s == waited_s >= 0.6
            finally:
                postgresql.start()
            assert job.finish(step, status="FAILED").status == "FAILED"


class Unlucky:
    """Has the next transaction of a store, once armed, lose its connection at the end: before it ``happened``, or after
    that."""

    def __init__(self, server: Server, store: JobStore, *, happened: bool) -> None:
        self._server = server
        self._happened = happened
        self._armed = False
        self.lost = 0
        event.listen(store._database.storage.engine, "commit", self._lose)

    def arm(self) -> None:
        self._armed = True

    def _lose(self, connection: Any) -> None:
        if not self._armed:
            return
        self._armed = False
        self.lost += 1
        raw = connection.connection.dbapi_connection
        number = raw.info.backend_pid
        if self._happened:
            raw.commit()
            # So that there is something to commit, which is told to have failed.
            raw.execute("SELECT 1")
        with self._server.connect() as administrator:
            administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [number])


@pytest.mark.parametrize("happened", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_transaction_that_the_server_took_with_it_is_kept_once(
    postgresql: Server, postgresql_url: str, header: MakeHeader, happened: bool
) -> None:
    with JobStore.open(postgresql_url, patience_s=60) as store:
        job, unlucky = store.create(header("fraud")), Unlucky(postgresql, store, happened=happened)
        unlucky.arm()
        with job.owned():
            unlucky.arm()
            step = job.begin("compilation", "treelite", None)
            unlucky.arm()
            ended = job.finish(step, status="FAILED")
            unlucky.arm()
            job.set_state(JobState(status="COMPLETED"))
            unlucky.arm()
        assert job.steps() == (ended,)
        assert job.state.status == "COMPLETED"
        assert job.owner() is None
        assert unlucky.lost == 5


@pytest.mark.parametrize("happened", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_trial_that_the_server_took_with_it_is_kept_once(
    postgresql: Server, postgresql_url: str, header: MakeHeader, happened: bool
) -> None:
    def measure(trial: optuna.Trial) -> tuple[float, float]:
        unlucky.arm()
        number = trial.suggest_categorical("number", [1, 2])
        unlucky.arm()
        trial.set_user_attr("verdict", "PASS")
        # When what came of it is kept
        unlucky.arm()
        return number, 2.0

    with JobStore.open(postgresql_url, patience_s=60) as store:
        study, unlucky = store.create(header("fraud")).study(), Unlucky(postgresql, store, happened=happened)
        unlucky.arm()
        study.enqueue_trial({"number": 2})
        study.optimize(measure, n_trials=1)
        assert unlucky.lost == 4
        trials = [trial for trial in study.get_trials() if trial.state.name != "FAIL"]
        assert [(trial.state.name, trial.values, trial.params, trial.user_attrs) for trial in trials] == [
            ("COMPLETE", [2.0, 2.0], {"number": 2}, {"verdict": "PASS"})
        ]


class Restarting(SilentProgress):
    """Restarts the server when a test begins, and takes it away for a while when one has ended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.away_s = 0.0

    def testing(self, configuration: object, at: Moment) -> None:
        self._server.stop()
        self._server.start()

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        self._server.stop()
        threading.Timer(2.0, self._server.start).start()
        self.away_s += 2.0


@pytest.mark.thorough
@pytest.mark.timed
def test_a_restart_of_the_server_does_not_end_a_job(
    postgresql: Server, postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    restarting = Restarting(postgresql)
    began = time.monotonic()
    job = servefit.right_size(
        tiny_booster(),
        storage=postgresql_url,
        supported_instance_types=["local-1c"],
        backends=["xgboost"],
        batch_sizes=[1],
        max_tests=2,
        allow_noise=True,
        over_http=False,
        progress=restarting,
    )
    took_s = time.monotonic() - began
    assert job.status == "COMPLETED"
    assert [step.status for step in job.steps] == ["COMPLETED"] * len(job.steps)
    assert [step.number for step in job.steps] == list(range(1, len(job.steps) + 1))
    assert job.tests == 2
    # A database that is away takes none of the job's time.
    assert job.elapsed_s <= took_s - restarting.away_s
    with JobStore.open(postgresql_url) as store:
        assert store.job(job.name).steps() == job.steps
        trials = store.job(job.name).study().get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE"]


def test_what_a_host_had_locked_when_it_went_silent_is_free_again(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "SILENT_TRANSACTION_S", 1)
    address = parse_address(postgresql_url)
    silent, other = address.engine(), address.engine()
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE marks (done int)"))
        connection.execute(text("INSERT INTO marks VALUES (0)"))
    unplugged = silent.connect()
    unplugged.execute(text("UPDATE marks SET done = 1"))
    with other.begin() as connection:
        connection.execute(text("SET lock_timeout = '60s'"))
        connection.execute(text("UPDATE marks SET done = done + 10"))
        assert connection.execute(text("SELECT done FROM marks")).scalar_one() == 10
    with pytest.raises(DBAPIError) as raised:
        unplugged.execute(text("SELECT done FROM marks"))
    assert raised.value.connection_invalidated  # so that what a database runs is begun again
    unplugged.close()
    silent.dispose()
    other.dispose()
