"""The steps and the state of a job as they are stored."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import optuna
import pytest
from sqlalchemy import text
from tests.search.storage.conftest import on_both

from servefit.backends.types import Target
from servefit.errors import JobInUse, StorageError
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import OpenLoop
from servefit.profiler.record.types import Configuration, Run, Samples
from servefit.search.results.recommendation import CompilationReport, Skipped, Trial
from servefit.search.storage.header import JobState
from servefit.search.storage.jobs import JobStore

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from servefit.search.storage.log import JobLog
    from servefit.search.storage.steps import Step

pytestmark = pytest.mark.integration

MakeTrial = Callable[..., Trial]

TIMES = ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(1e4, 2e4)), BatchTimes(requests=8, strata_ns=(9e4,))))


@on_both
def test_steps_read_as_they_were_written(url: str, job: JobLog, configuration: Configuration, trial: MakeTrial) -> None:
    report = CompilationReport(backend="treelite", target=Target.CPU, status="COMPLETED", seconds=1.5)
    refused = replace(report, status="FAILED", reason="gcc: out of memory")
    with job.owned():
        written = [
            job.finish(job.begin("compilation", "treelite", None), status="COMPLETED", result=report),
            job.finish(job.begin("compilation", "tl2cgen", None), status="FAILED", result=refused, reason="no gcc"),
            job.finish(job.begin("service_time", "treelite", configuration), status="COMPLETED", result=TIMES),
            job.finish(
                job.begin("load_test", "treelite", configuration), status="COMPLETED", result=trial(configuration)
            ),
            job.finish(job.begin("confirmation", "treelite", configuration), status="FAILED", reason="killed: ✗"),
            job.begin("load_test", "treelite", configuration),
        ]
    with JobStore.open(url) as elsewhere:
        assert elsewhere.job("fraud").steps() == tuple(written)
    assert [step.number for step in written] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("set_by_s", [3600, -7200])
def test_a_step_takes_as_long_as_it_did_where_the_clock_of_the_host_is_set(
    job: JobLog, configuration: Configuration, monkeypatch: pytest.MonkeyPatch, set_by_s: int
) -> None:
    right = time.time
    with job.owned():
        begun = job.begin("load_test", "treelite", configuration)
        monkeypatch.setattr(time, "time", lambda: right() + set_by_s)
        ended = job.finish(begun, status="FAILED", reason="hung")
    assert ended.ended_at is not None
    assert 0 <= ended.ended_at - begun.began_at < 600


def test_a_step_says_when_and_where_it_was_measured(job: JobLog, configuration: Configuration) -> None:
    before = time.time()
    with job.owned():
        begun = job.begin("load_test", "treelite", configuration)
        ended = job.finish(begun, status="FAILED", reason="hung")
    assert (begun.status, begun.ended_at, begun.reason) == ("RUNNING", None, None)
    assert ended.ended_at is not None
    assert before <= begun.began_at <= ended.ended_at <= time.time()
    assert begun.host_fingerprint == job.header.host.fingerprint
    with job.owned("0123456789ab"):
        assert job.begin("load_test", "treelite", configuration).host_fingerprint == "0123456789ab"


def test_a_step_is_kept_as_soon_as_it_begins(url: str, job: JobLog) -> None:
    with JobStore.open(url) as elsewhere, job.owned():
        begun = job.begin("compilation", "treelite", None)
        assert elsewhere.job("fraud").steps() == (begun,)
        ended = job.finish(begun, status="FAILED", reason="no gcc")
        assert elsewhere.job("fraud").steps() == (ended,)


def test_steps_go_on_counting_in_a_job_that_is_resumed(url: str, job: JobLog) -> None:
    for _ in range(2):
        with JobStore.open(url) as store:
            resumed = store.job("fraud")
            with resumed.owned():
                resumed.begin("compilation", "treelite", None)
    assert [step.number for step in job.steps()] == [1, 2]


@on_both
def test_threads_begin_and_finish_steps_at_once(job: JobLog, configuration: Configuration) -> None:
    def add_step(number: int) -> Step:
        return job.finish(job.begin("load_test", f"backend-{number}", configuration), status="FAILED", reason="no")

    with job.owned(), ThreadPoolExecutor(8) as threads:
        written = list(threads.map(add_step, range(40)))
    assert sorted(step.number for step in written) == list(range(1, 41))
    assert job.steps() == tuple(sorted(written, key=lambda step: step.number))


def test_beyond_9999_steps_the_order_is_still_theirs(job: JobLog, plain_storage: RDBStorage) -> None:
    with job.owned():
        job.begin("compilation", "treelite", None)
        with plain_storage.engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO servefit_documents (job, key, text) SELECT job, 'servefit:step:9999',"
                """ replace(text, '"number":1,', '"number":9999,') FROM servefit_documents"""
                " WHERE key = 'servefit:step:0001'"
            )
        job.begin("compilation", "treelite", None)
        job.begin("compilation", "treelite", None)
    assert [step.number for step in job.steps()] == [1, 9999, 10000, 10001]


def test_raw_samples_are_refused(job: JobLog, configuration: Configuration, trial: MakeTrial) -> None:
    run = Run(
        driver="inprocess",
        traffic=OpenLoop(rate_per_s=1, duration_s=1),
        samples=Samples(scheduled=bytes(8), started=bytes(8), ended=bytes(8)),
        plateau_ns=(0, 1),
        offered=1,
        backlog=0,
        lags=b"",
        busy_cpu_ns=1,
        threads_per_worker=(1,),
        threads_outside=0,
        peak_memory_bytes=1,
        telemetry=(),
    )
    measured = trial(configuration)
    raw = replace(measured, measurement=replace(measured.measurement, runs=(run,)))
    with job.owned():
        step = job.begin("load_test", "treelite", configuration)
        with pytest.raises(ValueError, match="raw samples"):
            job.finish(step, status="COMPLETED", result=raw)
    assert job.steps() == (step,)


def test_only_the_owner_begins_and_finishes_steps(job: JobLog) -> None:
    with job.owned():
        step = job.begin("compilation", "treelite", None)
    with pytest.raises(RuntimeError, match="its owner alone"):
        job.begin("compilation", "treelite", None)
    with pytest.raises(RuntimeError, match="its owner alone"):
        job.finish(step, status="FAILED")
    assert job.steps() == (step,)


def test_the_state_is_read_as_it_is_now(url: str, job: JobLog) -> None:
    state = JobState(
        status="STOPPED",
        elapsed_s=12.5,
        skipped=(Skipped(kind="backend", name="tl2cgen", reason="no compiler"),),
        remarks=("one", "two"),
    )
    with JobStore.open(url) as elsewhere:
        job.set_state(state)
        assert elsewhere.job("fraud").state == state
        elsewhere.job("fraud").set_state(replace(state, status="COMPLETED"))
    assert job.state.status == "COMPLETED"


def test_a_job_that_is_owned_says_by_whom_and_is_given_back(url: str, job: JobLog) -> None:
    with JobStore.open(url) as elsewhere:
        same_job = elsewhere.job("fraud")
        with job.owned():
            owner = same_job.owner()
            assert owner is not None
            assert owner.pid == os.getpid()
            with pytest.raises(JobInUse) as caught, same_job.owned():
                pytest.fail("the job was given away")
            assert (caught.value.name, caught.value.pid, caught.value.host) == ("fraud", owner.pid, owner.host)
            assert caught.value.since == owner.since
            assert "servefit stop fraud" in str(caught.value)
        assert same_job.owner() is None
        with same_job.owned():
            pass


def test_a_job_is_not_owned_twice_by_one_log(job: JobLog) -> None:
    with job.owned():
        with pytest.raises(JobInUse), job.owned():
            pytest.fail("the job was given away")
        job.begin("compilation", "treelite", None)


def test_a_job_is_given_back_when_its_owner_fails(job: JobLog) -> None:
    with pytest.raises(ZeroDivisionError), job.owned():
        raise ZeroDivisionError
    assert job.owner() is None


def test_a_request_to_stop_reaches_the_owner_and_not_the_next_one(url: str, job: JobLog) -> None:
    with JobStore.open(url) as elsewhere:
        with job.owned():
            assert not job.stop_requested()
            elsewhere.job("fraud").request_stop()
            assert job.stop_requested()
        with job.owned():
            assert not job.stop_requested()


def test_steps_of_an_owner_that_still_works_are_not_abandoned(url: str, job: JobLog) -> None:
    with JobStore.open(url) as elsewhere, job.owned():
        begun = job.begin("compilation", "treelite", None)
        with pytest.raises(JobInUse):
            elsewhere.job("fraud").abandon_running_steps()
        assert job.abandon_running_steps() == ()
        assert job.steps() == (begun,)


@on_both
def test_what_an_owner_left_running_becomes_failed(
    job: JobLog, configuration: Configuration, plain_storage: RDBStorage
) -> None:
    with job.owned():
        ended = job.finish(job.begin("compilation", "treelite", None), status="FAILED", reason="no gcc")
        left = job.begin("load_test", "treelite", configuration)
        job.study().optimize(lambda trial: (1.0, 2.0), n_trials=1)
        study = optuna.load_study(study_name="fraud", storage=plain_storage)
        study.ask()
        study.enqueue_trial({"x": 2})
    (abandoned,) = job.abandon_running_steps()
    assert abandoned == replace(left, status="FAILED", reason="interrupted", ended_at=None)
    assert job.steps() == (ended, abandoned)
    assert job.owner() is None
    states = [trial.state.name for trial in job.study().trials]
    assert states == ["COMPLETE", "FAIL", "FAIL"]
    assert job.abandon_running_steps() == ()


def test_nothing_that_an_earlier_owner_enqueued_is_carried_out(job: JobLog, plain_storage: RDBStorage) -> None:
    optuna.load_study(study_name="fraud", storage=plain_storage).enqueue_trial({"x": 0})
    job.abandon_running_steps()
    study = job.study()
    study.enqueue_trial({"x": 1})
    study.optimize(lambda trial: (trial.suggest_categorical("x", [0, 1]), 2.0), n_trials=1)
    assert study.trials[-1].params == {"x": 1}


def test_a_step_that_its_block_leaves_unfinished_is_interrupted(job: JobLog) -> None:
    with job.owned(), pytest.raises(ZeroDivisionError), job.step("compilation", "treelite", None):
        raise ZeroDivisionError
    (step,) = job.steps()
    assert (step.status, step.reason) == ("FAILED", "interrupted")
    assert step.ended_at is not None


def test_what_goes_wrong_once_a_step_is_finished_leaves_it_as_it_ended(job: JobLog) -> None:
    def fail_late() -> None:
        with job.step("compilation", "treelite", None) as step:
            job.finish(step, status="FAILED", reason="no gcc")
            raise ZeroDivisionError

    with job.owned(), pytest.raises(ZeroDivisionError):
        fail_late()
    (step,) = job.steps()
    assert (step.status, step.reason) == ("FAILED", "no gcc")


def test_steps_are_remembered_as_they_ended_where_the_database_is_gone(
    job: JobLog, configuration: Configuration, plain_storage: RDBStorage
) -> None:
    def measure() -> None:
        with job.owned():
            job.finish(job.begin("compilation", "treelite", None), status="FAILED", reason="no gcc")
            with job.step("service_time", "treelite", configuration) as step:
                with plain_storage.engine.begin() as connection:
                    connection.execute(text("ALTER TABLE servefit_documents RENAME TO gone"))
                job.finish(step, status="COMPLETED", result=TIMES)

    with pytest.raises(StorageError):
        measure()
    first, second = job.written[1], job.written[2]
    assert (first.status, first.reason) == ("FAILED", "no gcc")
    assert (second.status, second.reason, second.result) == ("COMPLETED", None, TIMES)


def test_the_study_takes_a_sampler(job: JobLog) -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    assert job.study(sampler).sampler is sampler
