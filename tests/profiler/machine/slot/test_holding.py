"""Only one process holds the measuring slot; a holder that dies frees it, and those who wait say for whom."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from servefit.errors import SlotTaken, SpecError
from servefit.processes import process_start
from servefit.profiler.machine.slot.holding import LOG_INTERVAL_S, measuring_slot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.profiler.conftest import HostSmall, StartSynthetic
    from tests.profiler.machine.slot.conftest import Hold

    IsFree = Callable[[], bool]

TWENTY_JOBS = """
import os, sys, time
from servefit.profiler.procedures.noise.activity import observe_activity
from servefit.profiler.machine.slot.holding import measuring_slot
for number in range(20):
    if os.fork() == 0:
        with measuring_slot(f"job {number}"):
            began_ns = time.monotonic_ns()
            observe_activity(os.sched_getaffinity(0), seconds=0.02)
            ended_ns = time.monotonic_ns()
        os.write(1, f"{began_ns} {ended_ns}\\n".encode())
        os._exit(0)
for _ in range(20):
    os.wait()
"""


class Clock:
    """A time that goes on when somebody sleeps, and what is to happen while they do."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []
        self.at_s = math.inf
        self.act: Callable[[], object] = lambda: None

    def now(self) -> float:
        return sum(self.slept_s)

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        if sum(self.slept_s) >= self.at_s:
            self.at_s = math.inf
            self.act()


def taken_by_another() -> SlotTaken:
    with pytest.raises(SlotTaken) as caught, measuring_slot("another", wait_s=0):
        pass
    return caught.value


@pytest.mark.integration
def test_of_twenty_jobs_started_at_once_no_two_overlap() -> None:
    ran = subprocess.run([sys.executable, "-c", TWENTY_JOBS], capture_output=True, text=True, timeout=120, check=True)
    times = sorted(tuple(map(int, line.split())) for line in ran.stdout.splitlines())
    assert len(times) == 20
    assert all(ended_ns <= next_ns for (_, ended_ns), (next_ns, _) in pairwise(times))


@pytest.mark.integration
def test_a_killed_holder_frees_it(hold: Hold) -> None:
    holder, _ = hold()
    taken_by_another()
    holder.kill()
    holder.wait()
    with measuring_slot("another", wait_s=0) as slot:
        assert slot.waited_s == 0


@pytest.mark.integration
def test_what_a_killed_holder_started_keeps_it(hold: Hold, is_free: IsFree) -> None:
    holder, started = hold("starts one")
    holder.kill()
    holder.wait()
    try:
        error = taken_by_another()
        assert error.who == f"what job fraud has left (its process {holder.pid} is dead): process {started}"
        assert (error.job, error.pid) == ("job fraud", holder.pid)
    finally:
        os.kill(int(started), signal.SIGKILL)
    while process_start(int(started)) is not None:
        time.sleep(0.01)
    assert is_free()


@pytest.mark.integration
def test_who_gives_up_says_for_whom_it_waited(hold: Hold) -> None:
    before = time.time()
    holder, _ = hold()
    clock = Clock()
    with (
        pytest.raises(SlotTaken) as caught,
        measuring_slot("another", wait_s=0.5, now=clock.now, sleep=clock.sleep),
    ):
        pass
    assert clock.slept_s == pytest.approx([0.2, 0.2, 0.1])
    error = caught.value
    assert (error.job, error.pid) == ("job fraud", holder.pid)
    assert error.since is not None
    assert before <= error.since <= time.time()
    begin = f"this machine is still being measured on after 0.5 s, by job fraud (process {holder.pid}, since 2"
    assert str(error).startswith(begin)
    assert str(error).endswith("; wait until that is done, or for longer with --wait (wait_s)")


@pytest.mark.integration
def test_who_waits_says_for_whom_at_once_and_again_now_and_then(hold: Hold, caplog: pytest.LogCaptureFixture) -> None:
    holder, _ = hold()
    clock = Clock()
    clock.at_s, clock.act = 2.5 * LOG_INTERVAL_S, holder.communicate
    with measuring_slot("another", now=clock.now, sleep=clock.sleep) as slot:
        assert slot.waited_s == pytest.approx(2.5 * LOG_INTERVAL_S, abs=0.3)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 3
    begin = f"Waiting for another servefit command (job fraud, pid {holder.pid}, for "
    assert all(message.startswith(begin) and "--no-wait" in message for message in said)


@pytest.mark.integration
def test_what_is_to_be_checked_before_the_wait_is_checked_once_and_only_where_there_is_one(hold: Hold) -> None:
    checked: list[int] = []
    with measuring_slot("one", before_waiting=lambda: checked.append(0)):
        assert checked == []
    holder, _ = hold()
    with pytest.raises(SlotTaken), measuring_slot("one", wait_s=0, before_waiting=lambda: checked.append(1)):
        pass
    with pytest.raises(SlotTaken), measuring_slot("one", wait_s=0.05, before_waiting=lambda: checked.append(2)):
        pass
    assert checked == [2]
    with pytest.raises(ZeroDivisionError), measuring_slot("one", before_waiting=lambda: 1 // 0):
        pass
    assert holder.poll() is None


@pytest.mark.integration
def test_who_does_not_wait_says_nothing_but_the_error(hold: Hold, caplog: pytest.LogCaptureFixture) -> None:
    hold()
    clock = Clock()
    with pytest.raises(SlotTaken), measuring_slot("another", wait_s=0, now=clock.now, sleep=clock.sleep):
        pass
    assert clock.slept_s == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_process_that_has_it_enters_again_from_any_thread(is_free: IsFree) -> None:
    with measuring_slot("outer") as outer:
        with measuring_slot("inner", wait_s=0) as inner:
            assert inner == outer
        entered = []
        thread = threading.Thread(target=lambda: entered.append(_entered_beside()))
        thread.start()
        thread.join()
        assert entered == [outer.descriptors]
        assert not is_free()
    assert is_free()


def _entered_beside() -> tuple[int, ...]:
    with measuring_slot("beside", wait_s=0) as slot:
        return slot.descriptors


def test_the_slot_stays_taken_until_the_last_thread_has_left(is_free: IsFree) -> None:
    entered, may_leave = threading.Event(), threading.Event()

    def measure() -> None:
        with measuring_slot("slower"):
            entered.set()
            may_leave.wait(10)

    with measuring_slot("faster"):
        thread = threading.Thread(target=measure)
        thread.start()
        assert entered.wait(10)
    assert not is_free()
    may_leave.set()
    thread.join()
    assert is_free()


@pytest.mark.integration
def test_a_fork_of_the_program_that_goes_on_does_not_keep_it(is_free: IsFree) -> None:
    reading, writing = os.pipe()
    with measuring_slot("one"):
        fork = os.fork()
        if fork == 0:
            os.write(writing, b"begun")
            time.sleep(600)
        assert os.read(reading, 5) == b"begun"
        assert not is_free()
    try:
        assert is_free()
    finally:
        os.kill(fork, signal.SIGKILL)
        os.waitpid(fork, 0)
        os.close(reading)
        os.close(writing)


def test_the_slot_is_free_after_a_block_that_ended_with_an_error(is_free: IsFree) -> None:
    with pytest.raises(ZeroDivisionError), measuring_slot("one"):
        raise ZeroDivisionError
    assert is_free()


@pytest.mark.parametrize("wait_s", [-1, float("nan"), float("inf")])
def test_neither_less_than_nothing_nor_forever_is_a_time_to_wait(wait_s: float) -> None:
    with pytest.raises(SpecError, match="wait"), measuring_slot("one", wait_s=wait_s):
        pass


def keeps_slot(pid: int, folder: Path) -> bool:
    return f"{folder}/" in subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True).stdout


def test_workers_keep_the_slot(start_synthetic: StartSynthetic, own_slot: Path, is_free: IsFree) -> None:
    with start_synthetic({}, workers=2) as workers:
        assert all(keeps_slot(pid, own_slot) for pid in workers.pids)
        assert not is_free()
    assert is_free()


ORPHANS = """
import os, sys
from pathlib import Path
import numpy as np
from servefit.backends.types import Artifact, Target
from servefit.profiler.drivers.inprocess.workers import start_workers
from servefit.profiler.record.types import Configuration
configuration = Configuration(vcpus=1, backend="s", environment=(("PYTHONPATH", sys.argv[1]),))
artifact = Artifact(backend="s", backend_version="1", model_digest="", target=Target.CPU, folder=Path("/nonexistent"),
                    facts={"daemonises": sys.argv[2]})
cpus = (min(os.sched_getaffinity(0)),)
with start_workers(configuration, artifact, np.zeros((1, 1)), cpus=cpus, loader="synthetic_predictors:load") as workers:
    print("loaded", flush=True)
    sys.stdin.read()
"""


@pytest.mark.integration
def test_what_a_worker_of_a_killed_job_has_daemonised_keeps_it_and_is_ended_by_the_next_job(
    tmp_path: Path, request: pytest.FixtureRequest, is_free: IsFree
) -> None:
    told = tmp_path / "daemon"
    command = [sys.executable, "-c", ORPHANS, str(request.path.parents[2]), str(told)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "loaded\n"
        deadline = time.monotonic() + 10
        while not (told.exists() and told.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        daemon = int(told.read_text())
        job.kill()
    assert process_start(daemon) is not None
    assert not is_free()
    with measuring_slot("the next job", wait_s=20):
        assert process_start(daemon) is None


@pytest.mark.integration
def test_an_endpoint_that_serves_takes_nothing(host_small: HostSmall, is_free: IsFree) -> None:
    with host_small({}):
        assert is_free()


@pytest.mark.integration
def test_an_endpoint_that_is_measured_keeps_it(host_small: HostSmall, own_slot: Path) -> None:
    with measuring_slot("one") as slot, host_small({}, slot=slot) as hosted:
        assert keeps_slot(hosted.pids[0], own_slot)
