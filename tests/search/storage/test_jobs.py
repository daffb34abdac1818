"""The store of jobs: they are created, found by name, and listed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from tests.search.storage.conftest import on_both

from servefit.errors import SpecError, StorageError
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.job_folder import job_folder
from servefit.search.storage.jobs import JobStore
from servefit.version import __version__

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from servefit.search.storage.log import JobLog

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Those that any database gets within the block."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_a_new_job_is_in_progress_and_has_no_steps(store: JobStore, header: MakeHeader) -> None:
    job = store.create(header("fraud"))
    assert (job.name, job.state, job.steps()) == ("fraud", JobState(status="IN_PROGRESS"), ())
    assert (job.owner(), job.stop_requested()) == (None, False)


def test_a_job_is_found_again_by_its_name(url: str, header: MakeHeader) -> None:
    written = header("fraud")
    with JobStore.open(url) as store:
        store.create(written)
    with JobStore.open(url) as store:
        assert store.job("fraud").header == written


@on_both
def test_a_name_in_use_is_refused_and_the_earlier_job_kept(store: JobStore, header: MakeHeader) -> None:
    first = header("fraud")
    store.create(first)
    with pytest.raises(SpecError, match="name: 'fraud' is in use by an earlier job; give another") as caught:
        store.create(header("fraud"))
    assert caught.value.field == "name"
    assert [job.header for job in store.jobs()] == [first]


def test_a_name_of_a_foreign_study_is_refused_too(
    plain_storage: RDBStorage, store: JobStore, header: MakeHeader
) -> None:
    optuna.create_study(storage=plain_storage, study_name="fraud")
    with pytest.raises(SpecError, match="is in use by an Optuna study that is no job"):
        store.create(header("fraud"))


def test_an_unknown_name_is_answered_with_the_closest(store: JobStore, header: MakeHeader) -> None:
    store.create(header("fraud"))
    with pytest.raises(SpecError, match="job: 'fruad' is not known; did you mean 'fraud'"):
        store.job("fruad")


def test_an_unknown_name_where_there_are_no_jobs_is_told_so(store: JobStore) -> None:
    with pytest.raises(SpecError, match="job: 'fraud' is not known; there are no jobs in ") as caught:
        store.job("fraud")
    assert store.url in str(caught.value)


@on_both
def test_jobs_come_newest_first_and_foreign_studies_not_at_all(
    plain_storage: RDBStorage, store: JobStore, header: MakeHeader
) -> None:
    for name in ("one", "two", "three"):
        store.create(header(name))
    foreign = optuna.create_study(storage=plain_storage, study_name="foreign")
    foreign.set_user_attr("servefit:state", "looks like a job")
    assert [job.name for job in store.jobs()] == ["three", "two", "one"]
    assert [job.name for job in store.overview()] == ["three", "two", "one"]
    with pytest.raises(SpecError, match="'foreign' is not known"):
        store.job("foreign")


def test_an_overview_says_what_the_jobs_say(store: JobStore, header: MakeHeader) -> None:
    idle, owned = store.create(header("idle")), store.create(header("owned"))
    idle.set_state(JobState(status="COMPLETED", elapsed_s=41.5, remarks=("a quiet evening",)))
    with owned.owned():
        seen = {job.name: job for job in store.overview()}
        for job in (idle, owned):
            listed = seen[job.name]
            assert (listed.header, listed.state, listed.owner, listed.problem) == (
                job.header,
                job.state,
                job.owner(),
                None,
            )
    assert seen["owned"].owner is not None


@pytest.mark.parametrize("read", [JobStore.jobs, JobStore.overview], ids=["jobs", "overview"])
def test_many_jobs_are_read_in_as_many_queries_as_one(
    store: JobStore, header: MakeHeader, read: Callable[[JobStore], object]
) -> None:
    store.create(header("job-0"))
    with statements() as of_one:
        read(store)
    for number in range(1, 20):
        store.create(header(f"job-{number}"))
    with statements() as seen:
        jobs = read(store)
    assert len(seen) == len(of_one)
    assert isinstance(jobs, tuple)
    assert len(jobs) == 20


def test_a_job_that_could_not_be_written_whole_leaves_its_name_free(store: JobStore, header: MakeHeader) -> None:
    def refuse(connection: object, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO servefit_documents"):
            raise OperationalError(statement, None, Exception("disk full"))

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        with pytest.raises(StorageError, match="disk full"):
            store.create(header("fraud"))
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)
    assert store.jobs() == ()
    assert store.create(header("fraud")).state.status == "IN_PROGRESS"


@on_both
def test_a_finished_job_is_a_study_that_optuna_opens(job: JobLog, plain_storage: RDBStorage) -> None:
    with job.owned():
        job.study().optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=2)
        job.set_state(JobState(status="COMPLETED"))
    study = optuna.load_study(study_name="fraud", storage=plain_storage)
    assert study.directions == [optuna.study.StudyDirection.MINIMIZE] * 2
    assert [trial.state for trial in study.trials] == [optuna.trial.TrialState.COMPLETE] * 2
    # An earlier servefit refuses it by this.
    assert study.user_attrs == {"servefit:header": {"schema": 5, "servefit": __version__, "header": None}}
    (summary,) = optuna.get_all_study_summaries(plain_storage)
    assert (summary.study_name, summary.n_trials) == ("fraud", 2)


def test_nothing_is_announced_and_verbosity_stays_as_it_was(
    url: str, header: MakeHeader, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    caplog.set_level("DEBUG", logger="alembic")
    optuna.logging.set_verbosity(optuna.logging.DEBUG)
    try:
        with JobStore.open(url) as store, store.create(header("fraud")).owned():
            pass
        assert optuna.logging.get_verbosity() == optuna.logging.DEBUG
        assert logging.getLogger("alembic").level == logging.DEBUG
    finally:
        optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr() == ("", "")
    assert {record.name for record in caplog.records} <= {"servefit.search.storage.jobs"}


@pytest.mark.parametrize("name", ["../elsewhere", "/tmp/x", "a/b", "", ".hidden"])
def test_the_folder_of_a_job_is_within_the_folder_of_jobs_whatever_an_order_calls_it(name: str) -> None:
    with pytest.raises(SpecError, match="is not a name"):
        job_folder(name)
