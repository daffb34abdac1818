"""Workers that crash, hang, print and fork give one clear error, and leave nothing behind.

That nothing remains is asserted after every test by the fixture in conftest.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from servefit.backends.variables.secret import hidden_environment
from servefit.errors import BackendUnavailable, OutOfMemory, TimedOut, WorkerCrashed
from servefit.processes import process_start
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.profiler.conftest import StartSynthetic

    IsGone = Callable[[int], bool]

pytestmark = pytest.mark.integration

ONE_CPU = (min(os.sched_getaffinity(0)),)
SHORT = ClosedLoop.constant(users=2, duration_s=0.3)


def test_an_error_of_the_loader_arrives_as_it_was_raised(start_synthetic: StartSynthetic) -> None:
    with (
        pytest.raises(BackendUnavailable, match="no such library; install it"),
        start_synthetic({"fails_to_load": True}, cpus=ONE_CPU, workers=2),
    ):
        pass


def test_any_other_exception_is_a_crash_with_its_last_line(start_synthetic: StartSynthetic) -> None:
    with (
        pytest.raises(WorkerCrashed, match="RuntimeError: the library is in a bad mood") as caught,
        start_synthetic({"raises_on_load": True}, cpus=ONE_CPU),
    ):
        pass
    assert caught.value.signal is None
    assert "Traceback" in caught.value.stderr


def test_what_a_crashed_worker_said_is_told_without_its_secrets(start_synthetic: StartSynthetic) -> None:
    environment = hidden_environment({"API_TOKEN": "bad mood"})
    with pytest.raises(WorkerCrashed) as caught, start_synthetic({"raises_on_load": True}, environment=environment):
        pass
    assert "the library is in a ***" in str(caught.value)
    assert "bad mood" not in caught.value.stderr


def test_an_error_of_a_worker_is_told_without_its_secrets(start_synthetic: StartSynthetic) -> None:
    environment = hidden_environment({"API_TOKEN": "such library"})
    with pytest.raises(BackendUnavailable) as caught, start_synthetic({"fails_to_load": True}, environment=environment):
        pass
    assert str(caught.value) == "synthetic: no ***; install it"
    assert "such library" not in repr(vars(caught.value))


def test_a_loader_that_hangs_is_stopped(start_synthetic: StartSynthetic) -> None:
    with (
        pytest.raises(TimedOut, match=r"loading the artifact of synthetic did not finish within 0\.5 s"),
        start_synthetic({"hangs_on_load": True}, cpus=ONE_CPU, load_timeout_s=0.5),
    ):
        pass


@pytest.mark.parametrize("calls", [0, 500], ids=["in the warm-up", "in the run"])
def test_a_segfault_is_reported_with_its_signal(start_synthetic: StartSynthetic, calls: int) -> None:
    facts = {"act": "segfault", "calls": calls}
    with start_synthetic(facts, cpus=ONE_CPU, workers=2) as workers, pytest.raises(WorkerCrashed) as caught:
        workers.run(ClosedLoop.constant(users=2, duration_s=5))
    assert caught.value.signal == signal.SIGSEGV


def test_a_worker_killed_from_outside_is_a_crash_and_not_for_memory(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "sleep", "us": 100}, cpus=ONE_CPU, workers=2) as workers:
        killer = threading.Timer(0.3, os.kill, (workers.pids[1], signal.SIGKILL))
        killer.start()
        with pytest.raises(WorkerCrashed) as caught:
            workers.run(ClosedLoop.constant(users=2, duration_s=20))
        killer.join()
    assert caught.value.signal == signal.SIGKILL


def test_a_worker_that_gets_no_memory_is_out_of_memory(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"act": "no memory"}, cpus=ONE_CPU) as workers, pytest.raises(OutOfMemory):
        workers.run(SHORT)


def test_a_leak_ends_at_the_memory_limit_where_memory_can_be_limited(start_synthetic: StartSynthetic) -> None:
    """Where it cannot, the leak, which is finite, hurts nobody."""
    limit = 256 * 2**20
    facts = {"act": "leak", "mb": 8, "most_mb": 600}
    with start_synthetic(facts, cpus=ONE_CPU, memory_bytes=limit) as workers:
        if workers.envelope.containment == "cgroup":
            with pytest.raises(OutOfMemory, match=r"killed by the kernel: .* more memory than the 256 MiB") as caught:
                workers.run(ClosedLoop.constant(users=2, duration_s=20))
            assert caught.value.limit_bytes == workers.envelope.memory_limit_bytes == limit
        else:
            assert (workers.run(ClosedLoop.constant(users=2, duration_s=1.5)).peak_memory_bytes or 0) > limit


def test_what_a_worker_daemonised_ends_with_it(start_synthetic: StartSynthetic, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with start_synthetic({"daemonises": str(told)}, cpus=ONE_CPU) as workers:
        workers.run(SHORT)
        daemon = psutil.Process(int(told.read_text()))
        assert daemon.is_running()
        assert os.getpgid(daemon.pid) != workers.pids[0]
    assert not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE


@pytest.mark.timed
def test_a_thread_cannot_leave_a_control_group(start_synthetic: StartSynthetic) -> None:
    with start_synthetic({"widens_its_mask": True}, cpus=ONE_CPU) as workers:
        run = workers.run(SHORT)
        escapes = workers.envelope.containment != "cgroup" and len(os.sched_getaffinity(0)) > 1
    assert run.threads_outside == (1 if escapes else 0)


def test_an_exception_in_a_run_names_itself(start_synthetic: StartSynthetic) -> None:
    facts = {"act": "raise", "calls": 500}
    with (
        start_synthetic(facts, cpus=ONE_CPU) as workers,
        pytest.raises(WorkerCrashed, match="ValueError: these rows are not to my taste"),
    ):
        workers.run(ClosedLoop.constant(users=1, duration_s=5))


def test_a_call_that_hangs_ends_the_run_after_its_grace(start_synthetic: StartSynthetic) -> None:
    facts = {"act": "hang", "calls": 500}
    with start_synthetic(facts, cpus=ONE_CPU, grace_s=0.7) as workers, pytest.raises(TimedOut):
        workers.run(ClosedLoop.constant(users=1, duration_s=0.3))


def test_forty_megabytes_of_output_are_read_and_only_the_end_is_kept(
    start_synthetic: StartSynthetic, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_synthetic({"act": "print"}, cpus=ONE_CPU) as workers, pytest.raises(WorkerCrashed) as caught:
        workers.run(SHORT)
    assert caught.value.stderr.endswith("these are my last words")
    assert len(caught.value.stderr) < 20_000
    assert capfd.readouterr() == ("", "")


def test_children_of_a_worker_end_with_it(start_synthetic: StartSynthetic, is_gone: IsGone) -> None:
    with start_synthetic({"forks": True}, cpus=ONE_CPU) as workers:
        (group,) = workers.pids
        assert len(psutil.Process(group).children()) == 2
        workers.run(SHORT)
    assert is_gone(group)


def test_a_dead_worker_is_noticed_though_its_children_hold_its_files_open(
    start_synthetic: StartSynthetic, is_gone: IsGone
) -> None:
    facts = {"forks": True, "act": "kill", "calls": 500}
    with start_synthetic(facts, cpus=ONE_CPU) as workers:
        (group,) = workers.pids
        with pytest.raises(WorkerCrashed):
            workers.run(ClosedLoop.constant(users=1, duration_s=20))
    assert is_gone(group)


@pytest.mark.timed
def test_ctrl_c_in_a_run_leaves_nothing(start_synthetic: StartSynthetic, is_gone: IsGone) -> None:
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with start_synthetic({"act": "sleep", "us": 100}, cpus=ONE_CPU, workers=2) as workers:
        groups = workers.pids
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            workers.run(OpenLoop(rate_per_s=100, duration_s=30))
        interrupt.join()
    assert all(is_gone(group) for group in groups)


STARTS_WORKERS = """
import os, signal, sys
from pathlib import Path
import numpy as np
from servefit.backends.types import Artifact, Target
from servefit.profiler.drivers.driving.processes import WorkerProcesses
from servefit.profiler.drivers.inprocess.workers import start_workers
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration
folder, cpu, dies_at_once = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "at once"
launch = WorkerProcesses.launch
def launch_and_die(processes, environment):
    launch(processes, environment)
    print(processes.pids[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if dies_at_once:
    WorkerProcesses.launch = launch_and_die
configuration = Configuration(vcpus=1, backend="s", environment=(("PYTHONPATH", folder),))
artifact = Artifact(backend="s", backend_version="1", model_digest="", target=Target.CPU, folder=Path("/nonexistent"),
                    facts={"act": "hang", "calls": 100, "hangs_on_load": dies_at_once})
rows = np.zeros((1, 1), dtype=np.float32)
with start_workers(configuration, artifact, rows, cpus=(cpu,), loader="synthetic_predictors:load") as workers:
    print(workers.pids[0], flush=True)
    workers.run(ClosedLoop.constant(users=1, duration_s=60))
"""


@pytest.mark.parametrize("when", ["in a run", "at once"])
def test_workers_end_when_the_process_that_started_them_is_killed(when: str) -> None:
    folder = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", STARTS_WORKERS, str(folder), str(ONE_CPU[0]), when]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        if when == "in a run":
            assert process_start(worker) is not None
            parent.kill()
    deadline = time.monotonic() + 10
    try:
        while process_start(worker) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
