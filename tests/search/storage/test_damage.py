"""Jobs whose documents were edited, were written by another version, or were cut off by a kill."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.report.jobs import over_http

from servefit.errors import ServefitError, SpecError, StorageError
from servefit.report.sentences import headline
from servefit.search.jobs.document import job_document, step_document
from servefit.search.jobs.job import RecommendationJob
from servefit.search.jobs.optuna_trials import StudyOfTrials
from servefit.search.storage import tables
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore
from servefit.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from optuna.storages import RDBStorage

    from servefit.profiler.record.types import Configuration
    from servefit.search.storage.log import JobLog

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]

WRITE = """
import sys
from servefit.search.storage.jobs import JobStore
with JobStore.open(sys.argv[1]) as store:
    job = store.job("fraud")
    with job.owned():
        job.abandon_running_steps()
        print("writing", flush=True)
        while True:
            job.finish(job.begin("compilation", "treelite", None), status="FAILED", reason="no" * 5000)
"""

READ: dict[str, Callable[[JobLog], object]] = {
    "servefit:header": lambda job: job.header,
    "servefit:state": lambda job: job.state,
    "servefit:owner": lambda job: job.owner(),
    "servefit:stop": lambda job: job.stop_requested(),
    "servefit:step:0001": lambda job: job.steps(),
}

some_daily = pytest.mark.parametrize(
    "key",
    [
        key if key in ("servefit:header", "servefit:step:0001") else pytest.param(key, marks=pytest.mark.thorough)
        for key in READ
    ],
)
"""A document of each of the two kinds daily: of a job, and of one of its steps."""


@pytest.mark.parametrize("damage", ["text", 7, {"@type": "Step"}, [], {"schema": 1}], ids=str)
@some_daily
def test_a_damaged_document_is_told_with_the_name_of_the_job(
    sqlite_url: str, header: MakeHeader, key: str, damage: Any
) -> None:
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        if key == "servefit:stop" and damage == 7:
            damage = True
        if key == "servefit:step:0001":
            with job.owned():
                job.begin("compilation", "treelite", None)
        _put(store, key, damage)
        with pytest.raises(StorageError, match=f"cannot use job 'fraud' in .*: {key} is damaged") as caught:
            READ[key](store.job("fraud"))
        assert caught.value.job == "fraud"


def test_what_is_no_json_is_damage_too(store: JobStore, job: JobLog, plain_storage: RDBStorage) -> None:
    _overwrite(plain_storage, "servefit:state", "{")
    with pytest.raises(StorageError, match="servefit:state is damaged: it is not JSON"):
        _ = job.state
    (seen,) = store.overview()
    assert (seen.name, seen.header, seen.problem) == ("fraud", None, "servefit:state is damaged: it is not JSON")


def test_a_state_that_was_taken_out_is_told(store: JobStore, job: JobLog, plain_storage: RDBStorage) -> None:
    _overwrite(plain_storage, "servefit:state", None)
    for use in (lambda: job.state, lambda: job.set_state(JobState(status="COMPLETED"))):
        with pytest.raises(StorageError, match="servefit:state is gone"):
            use()
    problem = store.overview()[0].problem or ""
    assert problem.startswith("the job is damaged: servefit:state is gone; unless the job was deleted, restore")


@pytest.mark.parametrize("table", ["DELETE FROM servefit_documents", "DROP TABLE servefit_documents"])
def test_a_header_that_was_taken_out_is_told(sqlite_url: str, header: MakeHeader, table: str) -> None:
    with JobStore.open(sqlite_url) as store:
        with store.create(header("fraud")).owned():
            pass
        with store._database.transaction() as connection:
            connection.exec_driver_sql(table)
    told = "the job is damaged: servefit:header is gone; unless the job was deleted, restore the database from a backup"
    with JobStore.open(sqlite_url) as store:
        assert [(job.name, (job.problem or "").startswith(told)) for job in store.overview()] == [("fraud", True)]
        with pytest.raises(StorageError, match=f"cannot use job 'fraud' in .*: {told}"):
            _ = store.job("fraud").header
        with pytest.raises(SpecError, match="in use by an earlier job"):
            store.create(header("fraud"))


@some_daily
@pytest.mark.parametrize("damage", [[], "text", {"@type": "Other"}], ids=str)
def test_damage_is_told_without_names_of_classes(sqlite_url: str, header: MakeHeader, key: str, damage: Any) -> None:
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        with job.owned():
            job.begin("compilation", "treelite", None)
        _put(store, key, damage if key != "servefit:header" else {"schema": 5, "servefit": "1", "header": damage})
        with pytest.raises(StorageError) as caught:
            READ[key](store.job("fraud"))
    assert not re.search(r"<class|servefit\.|typing\.|NoneType", caught.value.reason)


def test_a_job_that_was_deleted_while_it_ran_is_told(job: JobLog, plain_storage: RDBStorage) -> None:
    with job.owned():
        step = job.begin("compilation", "treelite", None)
        with plain_storage.engine.begin() as connection:
            for table in ("servefit_documents", "servefit_jobs"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        plain_storage.delete_study(plain_storage.get_study_id_from_name("fraud"))
        for use in (lambda: job.finish(step, status="FAILED"), lambda: job.begin("compilation", "a", None), job.study):
            with pytest.raises(StorageError, match=r"'fraud'.* is gone; unless the job was deleted"):
                use()


def test_a_key_that_is_no_steps_is_told(store: JobStore, job: JobLog) -> None:
    with job.owned():
        job.begin("compilation", "treelite", None)
    _set(store, "servefit_documents", "key", "'servefit:step:first'", "key = 'servefit:step:0001'")
    with pytest.raises(StorageError, match="'servefit:step:first' is not the key of a step"):
        job.steps()


def test_a_job_of_a_newer_servefit_is_listed_and_left_alone(store: JobStore, job: JobLog, header: MakeHeader) -> None:
    newer = {"schema": 6, "servefit": "9.1", "header": {"what": "nobody knows yet"}}
    _put(store, "servefit:header", newer)
    _put(store, "servefit:state", {"also": "unknown"})
    store.create(header("own"))
    assert [job.name for job in store.jobs()] == ["own", "fraud"]
    assert [(job.name, job.header is None) for job in store.overview()] == [("own", False), ("fraud", True)]
    told = (
        f"it was written by servefit 9.1, in schema 6; this is servefit {__version__}, which reads up to 5; "
        "update servefit to 9.1 or later"
    )
    assert store.overview()[1].problem == told
    read = store.job("fraud")
    for use in (
        lambda: read.header,
        lambda: read.state,
        read.steps,
        read.owner,
        read.request_stop,
        read.abandon_running_steps,
        lambda: read.set_state(JobState(status="COMPLETED")),
        lambda: read.owned().__enter__(),
    ):
        with pytest.raises(StorageError, match=re.escape(told)):
            use()
    assert (_get(store, "servefit:header"), _get(store, "servefit:state")) == (newer, {"also": "unknown"})


@some_daily
def test_what_is_no_text_is_damage_of_one_job_and_others_go_on(sqlite_url: str, header: MakeHeader, key: str) -> None:
    with JobStore.open(sqlite_url) as store:
        job, undamaged = store.create(header("fraud")), store.create(header("other"))
        with job.owned():
            job.begin("compilation", "treelite", None)
        for damage in ("CAST(x'7bfffe7d' AS TEXT)", "CAST(x'22ff22' AS TEXT)", "x'7b7d'", "NULL"):
            _set(store, "servefit_documents", "text", damage, f"key = '{key}' AND job = 1")
            with pytest.raises(StorageError, match=f"cannot use job 'fraud' in .*: {key} is (damaged|gone)") as caught:
                READ[key](store.job("fraud"))
            assert caught.value.job == "fraud"
            assert [job.name for job in store.jobs()] == ["other", "fraud"]
            assert store.overview()[0].header == undamaged.header
        with undamaged.owned():
            assert undamaged.begin("compilation", "treelite", None).number == 1


@pytest.mark.parametrize(
    ("table", "column", "damage"),
    [
        ("trials", "state", "'RUNNINX'"),
        ("trials", "datetime_start", "'last Tuesday'"),
        ("trials", "state", "CAST(x'ff' AS TEXT)"),
        ("trial_params", "distribution_json", "'{'"),
        ("trial_system_attributes", "value_json", "'{'"),
        ("study_directions", "study_id", "2"),
        ("study_user_attributes", "value_json", "'[7]'"),
    ],
)
def test_a_study_that_optuna_stumbles_over_is_told_with_the_name_of_the_job(
    sqlite_url: str, header: MakeHeader, configuration: Configuration, table: str, column: str, damage: str
) -> None:
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        grid = [configuration, replace(configuration, workers=2)]
        StudyOfTrials(job, grid, seed=0).carry_out(grid[:1], lambda _: None)
        where = "key = 'servefit:choices'" if table == "study_user_attributes" else "TRUE"
        _set(store, table, column, damage, where)

        def use() -> None:
            with job.owned():
                job.abandon_running_steps()
                StudyOfTrials(job, grid, seed=0).carry_out(grid[1:], lambda _: None)

        with pytest.raises(StorageError, match="is damaged") as caught:
            use()
        assert caught.value.job == "fraud"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file with two jobs that were carried out to their end, on workers that exist in arithmetic alone."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setenv("SERVEFIT_HOME", str(folder))
        over_http("fraud")
        over_http("other")
        yield folder / "jobs.db"


def read_all(store: JobStore) -> None:
    """All that commands read of the job "fraud", and print."""
    for listed in store.overview():
        json.dumps([listed.name, listed.problem], ensure_ascii=False).encode()
    job = store.job("fraud")
    found = RecommendationJob.of(job.header, job.state, job.steps())
    json.dumps([job_document(found), [step_document(step) for step in found.steps]], allow_nan=False)
    assert headline(found)
    with job.owned():
        job.abandon_running_steps()


@pytest.fixture(scope="module")
def kept_store(kept: Path) -> Iterator[JobStore]:
    with JobStore.open(f"sqlite:///{kept}") as store:
        yield store


@pytest.mark.thorough
@settings(max_examples=examples(30, drawn=60), deadline=None)
@given(data=st.data())
def test_whatever_becomes_of_the_bytes_of_a_job_no_command_ends_in_a_traceback(
    kept: Path, kept_store: JobStore, data: st.DataObject
) -> None:
    with closing(sqlite3.connect(kept)) as connection:
        connection.text_factory = bytes
        texts = dict(connection.execute("SELECT key, text FROM servefit_documents WHERE job = 1"))
        key = data.draw(st.sampled_from(sorted(texts)))
        where = data.draw(st.integers(0, len(texts[key]) - 1))
        replaced = data.draw(st.integers(0, 20))
        by = data.draw(st.binary(max_size=4) | st.sampled_from([b"", b"9", b"-", b"e", b",", b'"', b"null", b"{"]))
        damaged = texts[key][:where] + by + texts[key][where + replaced :]
        update = "UPDATE servefit_documents SET text = CAST(? AS TEXT) WHERE job = 1 AND key = ?"
        connection.execute(update, (damaged, key))
        connection.commit()
        told = None
        try:
            read_all(kept_store)
        except StorageError as error:
            told = error.job
        finally:
            connection.execute(update, (texts[key], key))
            connection.commit()
        assert told in (None, "fraud")
        undamaged = kept_store.job("other")
        assert RecommendationJob.of(undamaged.header, undamaged.state, undamaged.steps()).best is not None


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(6))
def test_a_file_with_damaged_pages_is_told(kept: Path, tmp_path: Path, seed: int) -> None:
    content, generator = bytearray(kept.read_bytes()), random.Random(seed)
    for _ in range(30):
        content[generator.randrange(100, len(content))] = generator.randrange(256)
    (tmp_path / "jobs.db").write_bytes(content)
    try:
        with JobStore.open(f"sqlite:///{tmp_path / 'jobs.db'}") as store:
            read_all(store)
    except ServefitError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017 - some pages are in nobody's way


def test_a_name_that_is_no_text_is_not_known(store: JobStore, job: JobLog) -> None:
    with pytest.raises(SpecError, match="is not known"):
        store.job("caf\udce9")


@pytest.mark.thorough
def test_an_owner_that_is_killed_while_it_writes_leaves_whole_steps(url: str, store: JobStore, job: JobLog) -> None:
    for round_ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITE, url], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            time.sleep(0.05 + 0.037 * round_)
            process.kill()
        steps = store.job("fraud").steps()
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert [step.status for step in steps[:-1]] == ["FAILED"] * (len(steps) - 1)
    with job.owned():
        job.abandon_running_steps()
    assert {step.status for step in job.steps()} == {"FAILED"}


def _set(store: JobStore, table: str, column: str, value: str, where: str) -> None:
    """Put ``value``, an expression of SQL, into a table."""
    with store._database.transaction() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = {value} WHERE {where}")


def _put(store: JobStore, key: str, document: Any) -> None:
    """Put ``document`` in the place of another of the job that was made first."""
    with store._database.transaction() as connection:
        assert tables.replace(connection, 1, key, json.dumps(document))


def _get(store: JobStore, key: str) -> Any:
    with store._database.transaction() as connection:
        return json.loads(tables.read(connection, 1, key))


def _overwrite(storage: RDBStorage, key: str, text: str | None) -> None:
    """Put ``text`` in the place of a document of the only study there is, or take it out."""
    from sqlalchemy import text as sql

    with storage.engine.begin() as connection:
        if text is None:
            connection.execute(sql("DELETE FROM servefit_documents WHERE key = :key"), {"key": key})
        else:
            statement = sql("UPDATE servefit_documents SET text = :text WHERE key = :key")
            connection.execute(statement, {"key": key, "text": text})
