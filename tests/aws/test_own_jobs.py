"""What is remembered of a job of servefit is what its process has kept, at most a second before."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from servefit.aws.jobs import own_job as module
from servefit.aws.jobs.files import JobFiles, JobOutcome
from servefit.aws.jobs.own_job import OwnJobs


class Loads:
    """Counts loads; each gives another job."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, _: JobFiles, __: Any) -> Any:
        self.number += 1
        return self.number


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    counted = Loads()
    monkeypatch.setattr(module, "own_job", counted)
    return counted


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    return JobFiles(tmp_path)


def write(files: JobFiles, *, ago_s: float = 0.0) -> None:
    files.journal.write("something happened")
    at_s = time.time() - ago_s
    os.utime(files.journal.path, (at_s, at_s))


def test_a_job_to_which_nothing_happens_is_loaded_once(loads: Loads, files: JobFiles) -> None:
    write(files, ago_s=10)
    jobs: Any = OwnJobs()
    assert [jobs.of(files) for _ in range(100)] == [1] * 100


def test_a_job_that_runs_is_loaded_once_a_second_at_most(
    loads: Loads, files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: Any = OwnJobs()
    for _ in range(100):
        write(files)
        jobs.of(files)
    assert loads.number == 1
    monkeypatch.setattr(module, "_SETTLED_S", 0.0)
    write(files)
    assert jobs.of(files) == 2


@pytest.mark.integration
def test_what_is_kept_just_after_a_line_was_written_is_seen(loads: Loads, files: JobFiles) -> None:
    write(files)
    jobs: Any = OwnJobs()
    assert jobs.of(files) == 1
    time.sleep(module._SETTLED_S + 0.2)
    assert [jobs.of(files), jobs.of(files)] == [2, 2]


def test_a_job_that_has_ended_is_loaded_at_once(loads: Loads, files: JobFiles) -> None:
    write(files)
    jobs: Any = OwnJobs()
    jobs.of(files)
    files.write_outcome(JobOutcome(status="COMPLETED"))
    assert jobs.of(files) == 2


def test_no_more_jobs_are_remembered_than_there_is_room_for(
    loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_JOBS", 2)
    jobs: Any = OwnJobs()
    folders = [JobFiles(tmp_path / str(number)) for number in range(3)]
    assert [jobs.of(files) for files in (*folders, folders[2], folders[0])] == [1, 2, 3, 3, 4]
