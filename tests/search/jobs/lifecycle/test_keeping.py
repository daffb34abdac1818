"""Jobs are kept and read back, refused before they begin, and answered although something cannot be kept."""

from __future__ import annotations

import re
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from tests.search.jobs.conftest import QUICK, Slow, slow_job
from tests.search.jobs.lifecycle.conftest import ONE_TEST, KeptJob, Listener

import servefit
from servefit.api.job import Job
from servefit.errors import SpecError, StorageError
from servefit.search.jobs.document import job_document
from servefit.search.jobs.lifecycle import load_job, stop_job
from servefit.search.request.job_request import EnvironmentRange
from servefit.search.storage.log import JobLog

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.storage.header import JobState

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short")]


def test_a_job_is_kept_and_read_back_as_it_was(finished: RecommendationJob) -> None:
    job = finished
    assert job.status == "COMPLETED"
    assert job.best is not None
    again = servefit.load_job("job")
    assert again == Job.from_results(job)
    assert job_document(again) == job_document(job)
    assert [step.kind for step in job.steps].count("load_test") >= 1
    assert all(step.status == "COMPLETED" and step.ended_at is not None for step in job.steps)


def test_the_recommendations_of_a_job_are_a_table_for_pandas(finished: RecommendationJob) -> None:
    table = Job.from_results(finished).to_dataframe()
    assert list(table["instance_profile"]) == ["local-1c"]
    assert table["environment.OMP_NUM_THREADS"][0] == "1"
    assert table["model_latency_ms.p50"][0] > 0


def test_optuna_opens_the_study_of_a_job(kept_job: KeptJob) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{kept_job.state / 'jobs.db'}")
    tried = [step for step in kept_job.job.steps if step.kind == "load_test"]
    try:
        study = optuna.load_study(study_name="job", storage=storage)
        trials = study.trials
        assert len(trials) == len(tried)
        assert all(trial.state.name == "COMPLETE" and trial.params["backend"] == "xgboost/cpu" for trial in trials)
        assert len(study.best_trials) >= 1
    finally:
        storage.engine.dispose()  # from Python 3.13 on a connection that is only forgotten is a warning


@pytest.mark.usefixtures("finished")
def test_a_name_in_use_is_refused_before_the_model_is_opened(model: Path) -> None:
    heard: list[str] = []
    listener = Listener("", lambda: heard.append("a stage"))
    with pytest.raises(SpecError, match="in use by an earlier job"):
        servefit.right_size(model, progress=listener, **QUICK)
    assert heard == []


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"rows_per_request": 10**8}, "rows_per_request: 100000000 is above 1000000"),
        ({"batch_sizes": [8, 10**8]}, "batch: 100000000 is above 1000000"),
        ({"batch_sizes": [8, 1000], "rows_per_request": 1001}, "batch: 1000 is above 999"),
        ({"batch_delays_us": [0, 3_600_000_000]}, "batch_delay_us: 3600000000 is above 10000000"),
    ],
)
def test_what_no_test_could_carry_out_is_refused_before_the_model_is_opened(
    asked: dict[str, Any], problem: str, model: Path
) -> None:
    heard: list[str] = []
    with pytest.raises(SpecError, match=problem):
        servefit.right_size(model, progress=Listener("", lambda: heard.append("a stage")), **(QUICK | asked))
    assert heard == []


def test_a_storage_that_cannot_be_reached_is_told_before_anything_is_done_and_without_the_password(model: Path) -> None:
    heard: list[str] = []
    listener = Listener("", lambda: heard.append("a stage"))
    with pytest.raises(StorageError) as caught:
        servefit.right_size(model, progress=listener, storage="postgresql://somebody:hunter2@127.0.0.1:1/jobs", **QUICK)
    assert "hunter2" not in str(caught.value)
    assert heard == []


@pytest.mark.thorough
@pytest.mark.timed
def test_a_job_begins_with_what_earlier_jobs_on_the_same_model_found(
    model: Path, kept_job: KeptJob, state: Path
) -> None:
    shutil.copytree(kept_job.state, state, dirs_exist_ok=True)
    second = servefit.right_size(model, **{**QUICK, "job_name": "again"})
    # How many of them are of the second job's batch sizes depends on what was the quickest.
    assert any(re.search("[1-9] tests? of earlier jobs had measured", warning) for warning in second.warnings)
    timed = [step for step in kept_job.job.steps if step.kind == "service_time"]
    assert timed
    assert not [step for step in second.steps if step.kind == "service_time"], "service times are known already"
    other_payload = servefit.right_size(
        model, sample_payload=np.ones((3, 2), dtype=np.float32), **{**ONE_TEST, "job_name": "other"}
    )
    assert not any("earlier jobs" in warning for warning in other_payload.warnings)


@pytest.mark.thorough
def test_a_slow_start_on_variables_that_no_earlier_job_had_is_followed_by_tests(
    model: Path, kept_job: KeptJob, state: Path
) -> None:
    shutil.copytree(kept_job.state, state, dirs_exist_ok=True)
    second = slow_job(
        model,
        Slow("compiling", seconds=3.0),
        name="again",
        backends=("xgboost",),
        batch_sizes=(1, 2),
        max_tests=3,
        environment=(EnvironmentRange(variable="MODE", values=("a", "b")),),
    )
    assert second.status == "COMPLETED"
    assert second.tests == 3
    assert [step for step in second.steps if step.kind == "service_time"], "a slow start is not on account of the tests"


@pytest.mark.thorough
def test_a_job_that_can_keep_neither_samples_nor_its_end_hands_its_answer_over_all_the_same(
    model: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = JobLog.set_state

    def gone(log: JobLog, state: JobState) -> None:
        if state.status != "IN_PROGRESS":
            raise StorageError("somewhere", "it is gone")
        keep(log, state)

    monkeypatch.setattr(JobLog, "set_state", gone)
    block = Listener("measuring", lambda: (state / "jobs" / "job" / "measurements").write_text("in the way"))
    job = servefit.right_size(model, progress=block, **ONE_TEST)
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert job.best.trial.kept_in is None
    assert any("raw samples were not kept" in warning for warning in job.warnings)
    assert "that the job ended was not kept" in job.warnings[-1]


@pytest.mark.usefixtures("finished")
def test_an_unknown_job_is_refused_with_the_nearest_name() -> None:
    for door in (load_job, stop_job):
        with pytest.raises(SpecError, match="did you mean 'job'"):
            door("jobb")


@pytest.mark.thorough
def test_a_job_can_be_run_from_another_thread(model: Path) -> None:
    jobs: list[Any] = []
    thread = threading.Thread(target=lambda: jobs.append(servefit.right_size(model, **ONE_TEST)))
    thread.start()
    thread.join()
    assert jobs[0].status == "COMPLETED"
