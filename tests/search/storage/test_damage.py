"""Jobs that somebody edited, that another servefit wrote, or whose owner was killed while it wrote."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from servefit.errors import StorageError
from servefit.search.header import JobHeader, JobState
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from servefit.search.storage.log import JobLog

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


@pytest.mark.parametrize("damage", ["text", 7, {"@type": "Step"}, [], {"schema": 1}], ids=str)
@pytest.mark.parametrize("key", READ)
def test_a_damaged_document_is_told_with_the_name_of_the_job(
    sqlite_url: str, header: MakeHeader, key: str, damage: Any
) -> None:
    with JobStore.open(sqlite_url) as store:
        job = store.create(header("fraud"))
        if key == "servefit:stop" and damage == 7:
            damage = True
        job.study().set_user_attr(key, damage)
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
    assert store.overview()[0].problem == "servefit:state is gone; was the job deleted?"


def test_a_job_that_was_deleted_while_it_ran_is_told(job: JobLog, plain_storage: RDBStorage) -> None:
    with job.owned():
        step = job.begin("compilation", "treelite", None)
        plain_storage.delete_study(plain_storage.get_study_id_from_name("fraud"))
        for use in (lambda: job.finish(step, status="FAILED"), lambda: job.begin("compilation", "a", None), job.study):
            with pytest.raises(StorageError, match=r"'fraud'.* is gone; was the job deleted"):
                use()


def test_a_key_that_is_no_steps_is_told(job: JobLog) -> None:
    job.study().set_user_attr("servefit:step:first", {})
    with pytest.raises(StorageError, match="'servefit:step:first' is not the key of a step"):
        job.steps()


def test_a_job_of_a_newer_servefit_is_listed_and_left_alone(store: JobStore, job: JobLog, header: MakeHeader) -> None:
    study = job.study()
    newer = {"schema": 3, "servefit": "9.1", "header": {"what": "nobody knows yet"}}
    study.set_user_attr("servefit:header", newer)
    study.set_user_attr("servefit:state", {"also": "unknown"})
    store.create(header("own"))
    assert [one.name for one in store.jobs()] == ["own", "fraud"]
    assert [(one.name, one.header is None) for one in store.overview()] == [("own", False), ("fraud", True)]
    told = "it has schema 3, and this servefit reads 2; read it with the servefit that wrote it, '9.1'"
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
    attributes = store.job("fraud").study().user_attrs
    assert (attributes["servefit:header"], attributes["servefit:state"]) == (newer, {"also": "unknown"})


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


def _overwrite(storage: RDBStorage, key: str, text: str | None) -> None:
    """Put ``text`` in the place of a document of the only study there is, or take it out."""
    from sqlalchemy import text as sql

    with storage.engine.begin() as connection:
        if text is None:
            connection.execute(sql("DELETE FROM study_user_attributes WHERE key = :key"), {"key": key})
        else:
            statement = sql("UPDATE study_user_attributes SET value_json = :text WHERE key = :key")
            connection.execute(statement, {"key": key, "text": text})
