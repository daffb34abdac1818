"""Several processes that want to work on the same job."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.search.storage.conftest import on_both

from servefit.errors import JobInUse, StorageError
from servefit.profiler.record.storage.documents import to_document
from servefit.search.storage import tables
from servefit.search.storage.header import JobState
from servefit.search.storage.jobs import JobStore
from servefit.search.storage.ownership import LEASE_S, Owner

if TYPE_CHECKING:
    from tests.search.storage.conftest import MakeHeader

    from servefit.search.storage.log import JobLog

pytestmark = pytest.mark.integration

Holding = Callable[[str, str], AbstractContextManager["subprocess.Popen[str]"]]

ELSEWHERE = "another boot/4026531836"

WANT = """
import sys
from servefit.errors import JobInUse
from servefit.search.storage.jobs import JobStore
with JobStore.open(sys.argv[1]) as store:
    job = store.job(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        with job.owned():
            print("won", flush=True)
            sys.stdin.readline()
    except JobInUse as error:
        print("lost", error.pid, flush=True)
"""


@on_both
def test_the_second_process_is_told_who_works_on_a_job(url: str, job: JobLog, holding: Holding) -> None:
    with holding(url, "fraud") as process:
        with pytest.raises(JobInUse) as caught, job.owned():
            pytest.fail("the job was given away")
        assert caught.value.pid == process.pid
        assert f"by process {process.pid} on {socket.gethostname()} since 20" in str(caught.value)
        owner = job.owner()
        assert owner is not None
        assert owner.pid == process.pid


def test_a_process_that_ends_gives_the_job_back(url: str, job: JobLog, holding: Holding) -> None:
    with holding(url, "fraud") as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=30) == 0
        assert job.owner() is None
        with job.owned():
            assert [step.status for step in job.steps()] == ["RUNNING"]


def test_a_job_is_free_at_once_when_its_owner_was_killed(url: str, job: JobLog, holding: Holding) -> None:
    with holding(url, "fraud") as process:
        process.kill()
        # Dead, whether its parent has looked or not
        process_died_by = time.monotonic() + 10
        while job.owner() is not None and time.monotonic() < process_died_by:
            time.sleep(0.01)
        assert job.owner() is None
        with job.owned():
            (left,) = job.steps()
            assert left.status == "RUNNING"
            (abandoned,) = job.abandon_running_steps()
            assert (abandoned.number, abandoned.status, abandoned.reason) == (left.number, "FAILED", "interrupted")
            assert job.steps() == (abandoned,)
            assert [trial.state.name for trial in job.study().trials] == ["FAIL"]
            assert job.begin("compilation", "treelite", None).number == 2


@pytest.mark.thorough
def test_of_processes_that_start_at_the_same_moment_one_wins(url: str, job: JobLog) -> None:
    command = [sys.executable, "-c", WANT, url, "fraud"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(4)
        ]
        assert [_line(process) for process in processes] == [["ready"]] * 4
        for process in processes:
            _go_on(process)
        said = {process.pid: _line(process) for process in processes}
        (winner,) = [pid for pid, words in said.items() if words == ["won"]]
        assert [words for pid, words in said.items() if pid != winner] == [["lost", str(winner)]] * 3
        for process in processes:
            if process.pid == winner:
                _go_on(process)
    assert job.owner() is None


def test_an_owner_on_another_machine_is_believed_while_it_renews_its_claim(
    url: str, job: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    elsewhere = replace(Owner.this_process(time.time()), host="rack-2", machine=ELSEWHERE, pid=1, since=now - 9e3)
    _put_owner(job, replace(elsewhere, renewed_at=now - LEASE_S / 2))
    with pytest.raises(JobInUse, match="by process 1 on rack-2"), job.owned():
        pytest.fail("the job was given away")
    _put_owner(job, replace(elsewhere, renewed_at=now - LEASE_S - 1))
    assert job.owner() is None
    with job.owned():
        pass


@pytest.mark.parametrize("wrong_by_s", [-7200.0, 7200.0], ids=["two hours behind", "two hours ahead"])
def test_a_claim_on_a_server_lasts_as_long_on_hosts_whose_clock_is_wrong(
    postgresql_url: str, header: MakeHeader, monkeypatch: pytest.MonkeyPatch, wrong_by_s: float
) -> None:
    true_time = time.time
    with JobStore.open(postgresql_url) as store:
        job = store.create(header("fraud"))
        with job.owned():
            claim = job.owner()
            assert claim is not None
            _put_owner(job, replace(claim, machine=ELSEWHERE))
            monkeypatch.setattr(time, "time", lambda: true_time() + wrong_by_s)
            assert job.owner() is not None
            assert job.state_now().elapsed_s == pytest.approx(0.0, abs=5.0)
            (listed,) = store.overview()
            assert listed.owner is not None
            job.set_state(JobState(status="IN_PROGRESS"))
            renewed = job.owner()
            assert renewed is not None
            assert renewed.renewed_at == pytest.approx(true_time(), abs=5.0)
            _put_owner(job, replace(claim, machine=ELSEWHERE, renewed_at=true_time() - LEASE_S - 5))
            assert job.owner() is None


def test_a_process_with_the_number_of_a_dead_owner_is_not_taken_for_it(job: JobLog) -> None:
    owner = Owner.this_process(time.time())
    _put_owner(job, replace(owner, started=owner.started - 1))
    assert job.owner() is None


def test_the_time_of_a_job_counts_on_while_its_owner_lives_and_to_its_last_sign_of_life(
    job: JobLog, store: JobStore
) -> None:
    def elapsed_s() -> float:
        (listed,) = [listed for listed in store.overview() if listed.name == job.name]
        assert listed.elapsed_s == pytest.approx(job.state_now().elapsed_s, abs=5.0)
        return listed.elapsed_s

    now = time.time()
    owner = Owner.this_process(now)
    job.set_state(JobState(status="IN_PROGRESS", elapsed_s=40.0))
    assert elapsed_s() == 40.0
    _put_owner(job, replace(owner, since=now - 100.0, renewed_at=now - 90.0))
    assert elapsed_s() == pytest.approx(140.0, abs=5.0)
    _put_owner(job, replace(owner, started=owner.started - 1, since=now - 100.0, renewed_at=now - 90.0))
    assert elapsed_s() == pytest.approx(50.0)
    job.set_state(JobState(status="STOPPED", elapsed_s=60.0))
    assert elapsed_s() == 60.0


def test_a_claim_is_renewed_while_a_step_takes_long(job: JobLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("servefit.search.storage.log.RENEW_S", 0.02)
    with job.owned():
        first = job.owner()
        assert first is not None
        deadline = time.monotonic() + 10
        while (now := job.owner()) == first and time.monotonic() < deadline:
            time.sleep(0.01)
        assert now is not None
        assert now.renewed_at > first.renewed_at
        assert now == replace(first, renewed_at=now.renewed_at)


@on_both
def test_every_step_renews_the_claim(job: JobLog) -> None:
    with job.owned():
        seen = [job.owner()]
        step = job.begin("compilation", "treelite", None)
        seen.append(job.owner())
        job.finish(step, status="FAILED")
        seen.append(job.owner())
    times = [owner.renewed_at for owner in seen if owner is not None]
    assert len(times) == 3
    assert times[0] < times[1] < times[2]


def test_an_owner_that_lost_its_job_writes_nothing_more(job: JobLog) -> None:
    state = job.state
    with job.owned():
        step = job.begin("compilation", "treelite", None)
        stranger = replace(Owner.this_process(time.time()), host="rack-2", machine=ELSEWHERE, pid=1)
        _put_owner(job, stranger)
        for write in (
            lambda: job.finish(step, status="FAILED"),
            lambda: job.begin("compilation", "treelite", None),
            lambda: job.set_state(replace(state, status="COMPLETED")),
        ):
            with pytest.raises(JobInUse, match="by process 1 on rack-2"):
                write()
        assert (job.steps(), job.state) == ((step,), state)
    assert job.owner() == stranger


@on_both
def test_an_owner_whose_job_was_worked_on_meanwhile_is_told_so(job: JobLog) -> None:
    with job.owned():
        _put_owner(job, None)
        with pytest.raises(StorageError, match="another process owned it for a while"):
            job.begin("compilation", "treelite", None)
    assert job.steps() == ()


def test_an_owner_whose_database_is_restored_from_a_backup_is_told_so(job: JobLog) -> None:
    with job.owned():
        backup = job.owner()
        step = job.begin("compilation", "treelite", None)
        _put_owner(job, backup)
        with pytest.raises(StorageError, match="restored from an earlier backup; servefit resume fraud goes on"):
            job.finish(step, status="FAILED")
    assert job.owner() is None


def _put_owner(job: JobLog, owner: Owner | None) -> None:
    text = json.dumps(to_document(owner, Owner | None, []))
    with job._database.transaction() as connection:
        assert tables.replace(connection, job._number, "servefit:owner", text)


def _line(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
