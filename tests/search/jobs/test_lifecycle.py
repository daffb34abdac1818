"""Jobs on real workers: kept, cut short, taken up again, short of time or of disk."""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from tests.onnx_models import encoder
from tests.tiny_model import tiny_model

import servefit
from servefit.api.job import Job
from servefit.backends.model import Model
from servefit.backends.secret import revealed
from servefit.errors import CorruptModel, HostMismatch, SpecError, StorageError
from servefit.profiler.machine.host import describe_host
from servefit.profiler.machine.profiles import local_profiles
from servefit.search.jobs.document import job_document
from servefit.search.jobs.job import JobInterrupted
from servefit.search.jobs.lifecycle import load_job, resume_job, stop_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.log import JobLog

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial
    from servefit.search.storage.header import JobState

QUICK: dict[str, Any] = {
    "supported_instance_types": ["local-1c"],
    "backends": ["xgboost"],
    "max_tests": 2,
    "batch_sizes": [1, 2],
    "allow_noise": True,
    "over_http": False,
    "job_name": "job",
}
ONE_TEST = {**QUICK, "max_tests": 1}
"""For what does not depend on a search."""


@dataclass(frozen=True, kw_only=True)
class Once:
    job: RecommendationJob
    state: Path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def once(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Once:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("SERVEFIT_HOME", str(folder))
        # Too few tests for all there is, and time enough to time calls before them, however long compiling takes.
        asked = {**QUICK, "max_tests": 4, "batch_sizes": [1, 2, 4], "job_duration_in_seconds": 60}
        job = servefit.right_size(model, **asked)
        return Once(job=job, state=folder)


@pytest.fixture
def finished(once: Once, monkeypatch: pytest.MonkeyPatch) -> RecommendationJob:
    """A job that is over, in a state folder that several tests read and none changes."""
    monkeypatch.setenv("SERVEFIT_HOME", str(once.state))
    return once.job


class Listener(SilentProgress):
    """Does something when a stage begins."""

    def __init__(self, stage: str, act: Any) -> None:
        self._stage = stage
        self._act = act

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            self._act()


class AfterTest(SilentProgress):
    """Does something when a test has ended."""

    def __init__(self, act: Any) -> None:
        self._act = act

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        self._act()


def interrupt() -> None:
    raise KeyboardInterrupt


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


def test_optuna_opens_the_study_of_a_job(once: Once) -> None:
    storage = optuna.storages.RDBStorage(f"sqlite:///{once.state / 'jobs.db'}")
    tried = [step for step in once.job.steps if step.kind == "load_test"]
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


def test_an_interrupted_job_goes_on_and_measures_nothing_twice(model: Path) -> None:
    with pytest.raises(JobInterrupted) as caught:
        servefit.right_size(model, progress=AfterTest(interrupt), **{**QUICK, "max_tests": 3})
    before = caught.value.job
    assert before.status == "STOPPED"
    assert load_job("job").status == "STOPPED"
    after = resume_job("job", progress=SilentProgress())
    assert after.status == "COMPLETED"
    assert after.steps[: len(before.steps)] == before.steps
    searched = [step.configuration for step in after.steps if step.kind == "load_test"]
    assert len(searched) == len(set(searched))
    timed = [step.configuration for step in after.steps if step.kind == "service_time"]
    assert len(timed) == len(set(timed))
    compiled = [step.backend for step in after.steps if step.kind == "compilation"]
    assert compiled == ["xgboost"]
    assert after.tests <= 3
    assert after.elapsed_s > before.elapsed_s


@pytest.mark.usefixtures("finished")
def test_a_job_that_is_over_is_not_taken_up_again() -> None:
    with pytest.raises(SpecError, match="is over: COMPLETED"):
        resume_job("job", progress=SilentProgress())


def test_a_job_is_only_taken_up_where_and_with_what_it_began(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = model.with_name("copy.ubj")
    copy.write_bytes(model.read_bytes())
    with pytest.raises(JobInterrupted):
        servefit.right_size(copy, progress=Listener("compiling", interrupt), **QUICK)
    with closing(JobStore.open()) as store:
        header = store.job("job").header
    elsewhere = replace(header.host, cpu_model="another")
    with monkeypatch.context() as patched:
        patched.setattr("servefit.profiler.machine.host.describe_host", lambda: elsewhere)
        with pytest.raises(HostMismatch):
            resume_job("job", progress=SilentProgress())
    copy.write_bytes(b"{}")
    header.model.file.unlink()
    with pytest.raises(CorruptModel, match="it is gone, or not what it was when it was measured"):
        resume_job("job", progress=SilentProgress())


def test_a_stopped_job_ends_after_the_test_that_runs_and_says_so(model: Path) -> None:
    job = servefit.right_size(
        model, progress=AfterTest(lambda: stop_job("job")), **{**QUICK, "max_tests": 50, "job_duration_in_seconds": 60}
    )
    assert job.status == "STOPPED"
    assert job.tests == 1
    assert not stop_job("job"), "nobody works on it any more"
    assert resume_job("job", progress=AfterTest(lambda: stop_job("job"))).tests == 2


def test_a_second_process_that_works_on_a_job_is_told(model: Path) -> None:
    refused: list[str] = []

    def second() -> None:
        if not refused:
            with pytest.raises(SpecError) as caught:
                resume_job("job", progress=SilentProgress())
            refused.append(str(caught.value))

    servefit.right_size(model, progress=AfterTest(second), **ONE_TEST)
    assert "is being worked on by process" in refused[0]


@pytest.mark.alone
def test_a_job_begins_with_what_earlier_jobs_on_the_same_model_found(model: Path, once: Once, state: Path) -> None:
    shutil.copytree(once.state, state, dirs_exist_ok=True)
    second = servefit.right_size(model, **{**QUICK, "job_name": "again"})
    assert any("tests of earlier jobs had measured" in warning for warning in second.warnings)
    timed = [step for step in once.job.steps if step.kind == "service_time"]
    assert timed
    assert not [step for step in second.steps if step.kind == "service_time"], "service times are known already"
    other_payload = servefit.right_size(
        model, sample_payload=np.ones((3, 2), dtype=np.float32), **{**ONE_TEST, "job_name": "other"}
    )
    assert not any("earlier jobs" in warning for warning in other_payload.warnings)


@pytest.mark.alone
def test_a_slow_start_on_variables_that_no_earlier_job_had_is_followed_by_tests(
    model: Path, once: Once, state: Path
) -> None:
    shutil.copytree(once.state, state, dirs_exist_ok=True)
    second = servefit.right_size(
        model,
        progress=Listener("compiling", lambda: time.sleep(3)),
        hyperparameter_ranges=[{"MODE": servefit.CategoricalParameter(["a", "b"])}],
        **{**QUICK, "job_name": "again", "max_tests": 3},
    )
    assert second.status == "COMPLETED"
    assert second.tests == 3
    assert [step for step in second.steps if step.kind == "service_time"], "a slow start is not on account of the tests"


def test_a_job_with_a_secret_goes_on_where_it_is_known_and_teaches_later_jobs_nothing(model: Path, state: Path) -> None:
    def asked(name: str, token: str) -> dict[str, Any]:
        ranges = [{"API_TOKEN": servefit.CategoricalParameter([token])}]
        return {**ONE_TEST, "job_name": name, "hyperparameter_ranges": ranges}

    with pytest.raises(JobInterrupted):
        servefit.right_size(model, progress=Listener("compiling", interrupt), **asked("job", "hunter2"))
    secrets = state / "jobs" / "job" / "secrets.json"
    secrets.rename(state / "elsewhere")
    with pytest.raises(SpecError, match="'API_TOKEN' is a secret, and its value is not known here"):
        resume_job("job", progress=SilentProgress())
    (state / "elsewhere").rename(secrets)
    job = resume_job("job", progress=SilentProgress())
    assert job.best is not None
    assert job.best.environment["API_TOKEN"] == "***"
    assert revealed(job.best.environment)["API_TOKEN"] == "hunter2"
    second = servefit.right_size(model, **asked("other", "another"))
    assert second.best is not None
    assert revealed(second.best.environment)["API_TOKEN"] == "another"
    assert not any("earlier jobs" in warning for warning in second.warnings)


@pytest.mark.alone
def test_tests_run_at_once_on_cpus_of_their_own_where_there_are_enough(model: Path) -> None:
    job = servefit.right_size(model, **{**QUICK, "max_tests": 6, "max_parallel_tests": 2})
    tests = [step for step in job.steps if step.kind == "load_test"]
    pairs = list(zip(tests[::2], tests[1::2], strict=False))
    assert pairs
    for earlier, later in pairs:
        assert earlier.ended_at is not None
        assert later.began_at < earlier.ended_at, "they overlap"
    cpus = [trial.measurement.cpus for trial in job.trials[:2]]
    assert not set(cpus[0]) & set(cpus[1])


@pytest.mark.alone
def test_tests_that_would_share_cpus_run_one_by_one_and_the_job_says_so(model: Path) -> None:
    largest = max(local_profiles(describe_host()), key=lambda profile: profile.vcpus)
    job = servefit.right_size(
        model, **{**QUICK, "supported_instance_types": [largest.name], "max_tests": 4, "max_parallel_tests": 2}
    )
    tests = [step for step in job.steps if step.kind == "load_test"]
    assert all(
        earlier.ended_at is not None and earlier.ended_at <= later.began_at for earlier, later in pairwise(tests)
    )
    assert any("2 tests at once were asked for" in warning for warning in job.warnings)


def test_samples_that_cannot_be_kept_are_no_reason_to_lose_the_answer(model: Path, state: Path) -> None:
    block = Listener("measuring", lambda: (state / "jobs" / "job" / "measurements").write_text("in the way"))
    job = servefit.right_size(model, progress=block, **ONE_TEST)
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert job.best.trial.kept_in is None
    assert any("raw samples were not kept" in warning for warning in job.warnings)


def test_a_job_whose_end_cannot_be_kept_hands_its_answer_over_all_the_same(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = JobLog.set_state

    def gone(log: JobLog, state: JobState) -> None:
        if state.status != "IN_PROGRESS":
            raise StorageError("somewhere", "it is gone")
        keep(log, state)

    monkeypatch.setattr(JobLog, "set_state", gone)
    job = servefit.right_size(model, **ONE_TEST)
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert "that the job ended was not kept" in job.warnings[-1]


def test_when_much_of_the_time_is_over_only_the_first_backend_is_compiled(model: Path) -> None:
    slow = Listener("compiling with xgboost", lambda: time.sleep(6))
    job = servefit.right_size(model, progress=slow, **{**QUICK, "backends": None, "job_duration_in_seconds": 12})
    assert [report.backend for report in job.compilation] == ["xgboost"]
    assert any(
        skipped.name == "onnxruntime" and "of the job's 12 s were over" in skipped.reason for skipped in job.skipped
    )


def test_traffic_in_phases_may_come_with_a_rate_which_then_decides(model: Path) -> None:
    job = servefit.right_size(
        model,
        phases=[servefit.Phase(duration_in_seconds=1, initial_number_of_users=2, spawn_rate=60)],
        model_latency_thresholds=[servefit.ModelLatencyThreshold(percentile="P97.5", value_in_milliseconds=500)],
        max_invocations=6000,
        **ONE_TEST,
    )
    assert job.request.job_type == "Advanced"
    assert job.best is not None
    assert job.best.trial.capacity.loop == "closed"
    assert job.best.trial.at_rate is not None
    assert "p97.5" in job.best.trial.at_rate.latency_ms


@pytest.mark.alone
def test_stairs_end_once_more_users_are_not_served_more_unless_told_to_go_on(model: Path) -> None:
    # On a machine whose speed drifts it may take a while until two levels in a row are no faster than those before.
    stairs = servefit.Stairs(duration_in_seconds=1, number_of_steps=20, users_per_step=2)
    asked = {**ONE_TEST, "stairs": stairs, "batch_sizes": [1]}
    stopped = servefit.right_size(model, **asked)
    assert stopped.best is not None
    assert stopped.best.trial.stopped == "flat"
    stairs = servefit.Stairs(duration_in_seconds=1, number_of_steps=6, users_per_step=2)
    whole = servefit.right_size(
        model, **{**asked, "stairs": stairs, "job_name": "whole", "flat_invocations": "Continue"}
    )
    assert whole.best is not None
    assert whole.best.trial.stopped is None


def test_a_job_on_a_network_whose_inputs_were_not_known_then_is_read_but_not_taken_up(
    finished: RecommendationJob, tmp_path: Path
) -> None:
    network = Model.load(encoder(tmp_path / "encoder.onnx"))
    before = replace(network, signature=replace(network.signature, inputs=()))
    request = replace(finished.request, name="before")
    with JobStore.open(None) as store:
        store.create(replace(finished.header, request=request, model=before))
    assert load_job("before").model == before
    with pytest.raises(SpecError, match="did not know what the inputs of its model are"):
        resume_job("before", progress=SilentProgress())


@pytest.mark.usefixtures("finished")
def test_an_unknown_job_is_refused_with_the_nearest_name() -> None:
    for door in (load_job, stop_job):
        with pytest.raises(SpecError, match="did you mean 'job'"):
            door("jobb")


def test_a_job_can_be_run_from_another_thread(model: Path) -> None:
    jobs: list[Any] = []
    thread = threading.Thread(target=lambda: jobs.append(servefit.right_size(model, **ONE_TEST)))
    thread.start()
    thread.join()
    assert jobs[0].status == "COMPLETED"
