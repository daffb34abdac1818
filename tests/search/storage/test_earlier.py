"""Jobs that an earlier servefit kept in the attributes of Optuna studies, or still works on."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import optuna
import pytest
from optuna.storages import RDBStorage
from packaging.requirements import Requirement
from packaging.version import Version
from tests.search.storage.conftest import on_both

from servefit.errors import JobInUse, SpecError, StorageError
from servefit.search.optimizer.parzen import choices, parameters
from servefit.search.storage import records
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.ownership import Owner
from servefit.search.storage.steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.record.types import Configuration

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]

STEP = Step(
    number=1,
    kind="compilation",
    status="FAILED",
    backend="treelite",
    configuration=None,
    host_fingerprint="0f",
    began_at=1e9,
    ended_at=1e9 + 2,
    reason="no gcc",
)


@contextmanager
def opened(url: str) -> Iterator[RDBStorage]:
    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def document(value: Any, kind: Any) -> Any:
    return json.loads(records.write(value, kind))


def before_deployments(header: JobHeader) -> Any:
    """The document of ``header`` as it was while nobody asked what is deployed, and full load decided."""
    found = document(header, JobHeader)
    del found["request"]["deploy"], found["request"]["decided_at"]
    return found


def of_a_library(header: JobHeader) -> JobHeader:
    """What such a document is read as."""
    return replace(header, request=replace(header.request, deploy="library", decided_at="capacity"))


def keep(
    url: str, header: JobHeader, attributes: Mapping[str, Any] = MappingProxyType({}), *, owner: Owner | None = None
) -> None:
    """Keep a job as servefit did while its documents had schema 2. ``attributes`` come in the place of its own."""
    with opened(url) as storage:
        study = optuna.create_study(
            storage=storage, study_name=header.request.name, directions=["minimize", "minimize"]
        )
        kept = {
            "servefit:header": {"schema": 2, "servefit": "0.1", "header": before_deployments(header)},
            "servefit:state": document(JobState(status="STOPPED", elapsed_s=2.5), JobState),
            "servefit:owner": document(owner, Owner | None),
            "servefit:stop": None,
            "servefit:step:0001": document(STEP, Step),
        }
        for key, value in {**kept, **attributes}.items():
            study.set_user_attr(key, value)


def attribute(url: str, name: str, key: str) -> Any:
    with opened(url) as storage:
        return optuna.load_study(study_name=name, storage=storage).user_attrs.get(key)


def test_earlier_jobs_are_listed_and_read_beside_new_ones(url: str, header: MakeHeader) -> None:
    old, older = header("old"), header("older")
    keep(url, older)
    keep(url, old)
    for _ in range(2):
        with JobStore.open(url) as store:
            if "new" not in [job.name for job in store.jobs()]:
                store.create(header("new"))
            assert [job.name for job in store.overview()] == ["new", "old", "older"]
            assert store.overview()[1].state == JobState(status="STOPPED", elapsed_s=2.5)
            job = store.job("old")
            assert (job.header, job.steps(), job.owner()) == (of_a_library(old), (STEP,), None)
            with pytest.raises(SpecError, match="in use by an earlier job"):
                store.create(header("old"))


@on_both
def test_earlier_jobs_are_resumed_and_their_studies_stay_as_they_were(
    url: str, header: MakeHeader, configuration: Configuration
) -> None:
    values = choices([parameters(configuration)])
    keep(url, header("old"), {"servefit:choices": values})
    with JobStore.open(url) as store:
        job = store.job("old")
        with job.owned():
            assert job.abandon_running_steps() == ()
            assert job.choices() == values
            second = job.finish(job.begin("compilation", "tl2cgen", None), status="FAILED", reason="no")
            job.study().optimize(lambda _: (1.0, 2.0), n_trials=1)
        job.set_state(JobState(status="COMPLETED"))
    with JobStore.open(url) as store:
        job = store.job("old")
        assert (job.steps(), job.state) == ((STEP, second), JobState(status="COMPLETED"))
        assert len(job.study().trials) == 1
    assert attribute(url, "old", "servefit:state")["status"] == "STOPPED"
    assert attribute(url, "old", "servefit:step:0002") is None


def test_a_copy_whose_header_was_taken_out_is_read_from_its_study_again(url: str, header: MakeHeader) -> None:
    keep(url, header("old"))
    with JobStore.open(url) as store:
        with store._database.transaction() as connection:
            connection.exec_driver_sql("DELETE FROM servefit_documents WHERE key = 'servefit:header'")
        assert store.job("old").steps() == (STEP,)
        assert store.overview()[0].problem is None


def test_a_job_that_an_earlier_servefit_works_on_is_followed_and_can_be_stopped(url: str, header: MakeHeader) -> None:
    keep(url, header("old"), owner=Owner.this_process(time.time()))
    with JobStore.open(url) as store:
        job = store.job("old")
        with pytest.raises(JobInUse):
            job.owned().__enter__()
        job.request_stop()
    assert 0 < time.time() - attribute(url, "old", "servefit:stop") < 60
    with opened(url) as storage:
        study = optuna.load_study(study_name="old", storage=storage)
        study.set_user_attr("servefit:step:0002", document(replace(STEP, number=2), Step))
        study.set_user_attr("servefit:owner", None)
    with JobStore.open(url) as store:
        assert [job.owner for job in store.overview()] == [None]
        assert len(store.job("old").steps()) == 2


def test_a_job_that_an_earlier_servefit_has_begun_since_is_found_by_its_name(url: str, header: MakeHeader) -> None:
    JobStore.open(url).close()
    keep(url, header("late"))
    with JobStore.open(url) as store:
        assert store.job("late").steps() == (STEP,)
        assert [job.name for job in store.jobs()] == ["late"]


@pytest.mark.integration
def test_one_that_it_has_begun_since_is_listed(url: str, header: MakeHeader) -> None:
    JobStore.open(url).close()
    keep(url, header("late"))
    with JobStore.open(url) as store:
        assert [job.name for job in store.overview()] == ["late"]
        keep(url, header("later"))
        assert [job.name for job in store.jobs()] == ["later", "late"]
        assert store.job("later").steps() == (STEP,)


def test_what_is_worked_on_here_an_earlier_servefit_refuses(url: str, header: MakeHeader) -> None:
    keep(url, header("old"))
    keep(url, header("stopped"))
    with JobStore.open(url) as store:
        assert attribute(url, "old", "servefit:header")["schema"] == 2
        told = attribute(url, "old", "servefit:header")["header"]
        with store.job("old").owned():
            pass
        store.job("stopped").request_stop()
        store.create(header("new"))
        for name in ("old", "stopped", "new"):
            # An earlier one takes what has other fields for damaged, and refuses a schema that is not 2.
            assert attribute(url, name, "servefit:header").keys() == {"schema", "servefit", "header"}
            assert attribute(url, name, "servefit:header")["schema"] == 5
        assert attribute(url, "old", "servefit:header")["header"] == told
        assert [job.name for job in store.overview() if job.problem is None] == ["new", "stopped", "old"]


def test_one_whose_mark_was_not_left_is_marked_by_whoever_works_on_it_next(url: str, header: MakeHeader) -> None:
    with JobStore.open(url) as store:
        job = store.create(header("new"))
        with opened(url) as storage:
            study = optuna.load_study(study_name="new", storage=storage)
            study.set_user_attr("servefit:header", None)
        with job.owned():
            assert attribute(url, "new", "servefit:header")["schema"] == 5


def test_the_study_of_a_job_that_was_begun_here_is_not_taken_over(sqlite_url: str, header: MakeHeader) -> None:
    with JobStore.open(sqlite_url) as store:
        store.create(header("new"))
    with opened(sqlite_url) as storage, storage.engine.begin() as connection:
        for table in ("documents", "jobs", "layout"):
            connection.exec_driver_sql(f"DELETE FROM servefit_{table}")
    with JobStore.open(sqlite_url) as store:
        assert store.overview() == ()
        with pytest.raises(SpecError, match="is not known"):
            store.job("new")


@pytest.mark.thorough
def test_a_damaged_study_is_left_out_and_the_others_are_read(
    sqlite_url: str, header: MakeHeader, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two", "three"):
        keep(sqlite_url, header(name))
    with opened(sqlite_url) as storage, storage.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE study_user_attributes SET value_json = '{' WHERE key = 'servefit:state' AND study_id = 2"
        )
    with JobStore.open(sqlite_url) as store:
        assert [job.name for job in store.overview()] == ["three", "one"]
    assert any(
        "study 2, which may be a job of an earlier servefit, cannot be read" in message for message in caplog.messages
    )


def test_tables_of_a_newer_servefit_are_told(sqlite_url: str) -> None:
    JobStore.open(sqlite_url).close()
    with opened(sqlite_url) as storage, storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE servefit_layout SET number = 9")
    with pytest.raises(StorageError, match="of a newer servefit, in layout 9, and this one reads 1; update servefit"):
        JobStore.open(sqlite_url)


def test_fields_of_a_newer_servefit_are_left_out_with_a_remark(url: str, header: MakeHeader) -> None:
    told = header("old")
    newer = document(told, JobHeader) | {"altitude_m": 400}
    newer["request"] |= {"colour": "red"}
    keep(
        url,
        told,
        {
            "servefit:header": {"schema": 5, "servefit": "9.9", "header": newer},
            "servefit:step:0001": document(STEP, Step) | {"weather": "fair"},
            "servefit:step:0002": document(replace(STEP, number=2), Step) | {"weather": "foul"},
        },
    )
    with JobStore.open(url) as store:
        job = store.job("old")
        assert job.header == told
        assert len(job.steps()) == 2
        assert re.sub(r"servefit [\d.]+ does", "this does", job.remark() or "") == (
            "written by servefit 9.9: left out header.altitude_m, header.request.colour, step.weather, "
            "which this does not know"
        )


def test_what_lacks_a_field_that_came_later_has_its_default(url: str, header: MakeHeader) -> None:
    told = header("old")
    older = before_deployments(told)
    del older["payload"]["unused_columns"], older["request"]["seed"]
    keep(url, told, {"servefit:header": {"schema": 2, "servefit": "0.0.9", "header": older}})
    with JobStore.open(url) as store:
        job = store.job("old")
        assert (job.header, job.remark()) == (of_a_library(told), None)


def test_a_job_of_schema_3_was_about_the_library_at_full_load_too(sqlite_url: str, header: MakeHeader) -> None:
    told = header("mine")
    with JobStore.open(sqlite_url) as store:
        store.create(told)
        assert store.job("mine").header == told
        text = json.dumps({"schema": 3, "servefit": "0.2", "header": before_deployments(told)})
        with store._database.transaction() as connection:
            connection.exec_driver_sql("UPDATE servefit_documents SET text = ? WHERE key = 'servefit:header'", (text,))
        assert store.job("mine").header == of_a_library(told)


def test_a_major_version_of_optuna_is_not_admitted_unseen() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    (bound,) = (Requirement(requirement) for requirement in project["dependencies"] if requirement.startswith("optuna"))
    major = Version(optuna.__version__).major
    assert optuna.__version__ in bound.specifier
    assert f"{major}.99" in bound.specifier
    assert f"{major + 1}.0" not in bound.specifier
