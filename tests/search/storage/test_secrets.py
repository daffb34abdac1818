"""The secrets of a kept job are not in the database, and are known where their file is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.backends.variables.secret import revealed
from servefit.errors import SpecError
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import EnvironmentRange, check_known
from servefit.search.results.recommendation import Trial
from servefit.search.storage.header import JobHeader, JobState
from servefit.search.storage.job_folder import job_folder
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.secrets import FILE, keep_secrets

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.conftest import MakeTrial

pytestmark = pytest.mark.integration

MakeHeader = Callable[[str], JobHeader]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


@pytest.fixture
def secretive(header: MakeHeader) -> JobHeader:
    """A job on two tokens."""
    plain = header("fraud")
    tokens = EnvironmentRange(variable="API_TOKEN", values=("hunter-one", "hunter-two"))
    return replace(plain, request=replace(plain.request, environment=(tokens,)))


def kept(url: str, header: JobHeader, trial: MakeTrial) -> None:
    """Keep a job that has measured with the second token."""
    folder = job_folder("fraud")
    folder.mkdir()
    keep_secrets(header.request.environment, folder)
    token = header.request.environment[0].values[1]
    configuration = Configuration(vcpus=1, backend="treelite", environment=(("API_TOKEN", token),))
    with JobStore.open(url) as store:
        job = store.create(header)
        job.set_state(JobState(status="COMPLETED", naive=configuration))
        with job.owned():
            step = job.begin("load_test", "treelite", configuration)
            job.finish(step, status="COMPLETED", result=trial(configuration))


def values_in(url: str) -> list[dict[str, str]]:
    """The environments of all the configurations that the job has."""
    with JobStore.open(url) as store:
        job = store.job("fraud")
        [step] = job.steps()
        assert isinstance(step.result, Trial)
        configurations = (job.state.naive, step.configuration, step.result.configuration)
        return [
            revealed(dict(configuration.environment))
            for configuration in (*configurations, step.result.measurement.configuration)
            if configuration
        ]


def test_the_database_never_holds_them_and_whoever_reads_the_job_here_gets_them_back(
    url: str, secretive: JobHeader, trial: MakeTrial, tmp_path: Path
) -> None:
    kept(url, secretive, trial)
    if url.startswith("sqlite"):
        assert b"hunter" not in (tmp_path / "jobs.db").read_bytes()
    assert (job_folder("fraud") / FILE).stat().st_mode & 0o777 == 0o600
    assert values_in(url) == [{"API_TOKEN": "hunter-two"}] * 4
    with JobStore.open(url) as store:
        check_known(store.job("fraud").header.request.environment)


def test_elsewhere_nobody_knows_them_and_the_job_is_read_all_the_same(
    sqlite_url: str, secretive: JobHeader, trial: MakeTrial
) -> None:
    kept(sqlite_url, secretive, trial)
    (job_folder("fraud") / FILE).write_text("damaged")
    with JobStore.open(sqlite_url) as store:
        job = store.job("fraud")
        assert [varied.values for varied in job.header.request.environment] == [("***1", "***2")]
        [step] = job.steps()
        assert step.configuration is not None
        assert step.configuration.environment == (("API_TOKEN", "***2"),)
        with pytest.raises(SpecError, match="'API_TOKEN' is a secret, and its value is not known here"):
            check_known(job.header.request.environment)


def test_jobs_from_before_there_were_secrets_show_them_no_more(
    sqlite_url: str, secretive: JobHeader, trial: MakeTrial, tmp_path: Path
) -> None:
    kept(sqlite_url, secretive, trial)
    (job_folder("fraud") / FILE).unlink()
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        for shown, value in (("***1", "hunter-one"), ("***2", "hunter-two")):
            database.execute("UPDATE servefit_documents SET text = replace(text, ?, ?)", (shown, value))
    database.close()
    assert values_in(sqlite_url) == [{"API_TOKEN": "hunter-two"}] * 4
    with JobStore.open(sqlite_url) as store:
        assert "hunter" not in repr((store.job("fraud").header, store.job("fraud").steps()))
        assert not any("hunter" in repr(job.header) for job in store.overview())
