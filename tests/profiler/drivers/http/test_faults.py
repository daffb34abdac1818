"""Servers and clients that die during a run give one clear error soon, and no process is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from servefit.errors import MeasurementError, SpecError, WorkerCrashed
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.servers import UnseenServer
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.validity import problems
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.procedures.target_endpoint import resolve_target
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from tests.profiler.conftest import HostSmall
    from tests.profiler.drivers.http.conftest import Drive

    from servefit.profiler.drivers.http.clients import HttpDriver
    from servefit.profiler.record.traffic import Traffic
    from servefit.profiler.record.types import Run


FIRST_CPU, LAST_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


@pytest.mark.thorough
@pytest.mark.parametrize(
    "traffic", [ClosedLoop.constant(users=2, duration_s=60), OpenLoop(rate_per_s=50, duration_s=60)]
)
@pytest.mark.integration
def test_a_server_that_dies_ends_the_run(drive: Drive, traffic: ClosedLoop | OpenLoop) -> None:
    with drive({"act": "die", "after": 400, "delay_ms": 1}) as driver, pytest.raises(WorkerCrashed) as caught:
        driver.run(traffic)
    assert caught.value.signal == signal.SIGKILL


@pytest.mark.integration
def test_a_client_that_is_killed_ends_the_run(drive: Drive) -> None:
    with drive({"delay_ms": 1}, clients=2) as driver:
        killer = threading.Timer(0.3, os.kill, (driver.client_pids[1], signal.SIGKILL))
        killer.start()
        with pytest.raises(WorkerCrashed, match="killed with SIGKILL"):
            driver.run(ClosedLoop.constant(users=2, duration_s=60))
        killer.join()


def test_ctrl_c_leaves_nothing(drive: Drive, is_gone: Callable[[int], bool]) -> None:
    interrupt = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with drive({"delay_ms": 1}) as driver:
        groups = driver.client_pids
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            driver.run(OpenLoop(rate_per_s=100, duration_s=60))
        interrupt.join()
    assert all(is_gone(group) for group in groups)


@pytest.mark.thorough
def test_a_server_elsewhere_that_dies_is_known_by_its_answers(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({"delay_ms": 1}, cpus=(LAST_CPU,)) as hosted:
        destination = Destination.of(hosted.url, "json")
        with start_clients(destination, payload_rows, UnseenServer(), cpus=(FIRST_CPU,), timeout_s=1) as driver:
            killer = threading.Timer(0.5, os.kill, (hosted.pids[0], signal.SIGKILL))

            def begin_with_the_load() -> int:
                """A server that is killed in the warm-up answers nothing of the load."""
                killer.start()
                return time.monotonic_ns()

            run = driver.run(OpenLoop(rate_per_s=100, duration_s=1), begins_at=begin_with_the_load)
            killer.join()
            with pytest.raises(MeasurementError, match="answers no more requests: connection refused"):
                driver.run(ClosedLoop.constant(users=2, duration_s=1))
    assert run.client is not None
    assert run.client.errors["connection refused"] > 1
    assert (run.samples.ended_ns() > 0).sum() > 10


@pytest.mark.integration
def test_nothing_is_claimed_of_a_server_that_cannot_be_seen(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({"delay_ms": 1}, cpus=(LAST_CPU,)) as hosted:
        destination = Destination.of(hosted.url, "json")
        with start_clients(destination, payload_rows, UnseenServer(), cpus=(FIRST_CPU,)) as driver:
            run = driver.run(ClosedLoop.constant(users=2, duration_s=0.3))
    summary = summarize(run, memory_bytes=2**30)
    assert (summary.cpu_percent, summary.memory_percent, summary.peak_memory_bytes) == (None, None, None)
    assert (run.telemetry, run.threads_per_worker) == ((), ())
    assert (driver.configuration, driver.envelope) == (None, None)


@pytest.mark.integration
def test_a_client_on_the_servers_cpus_is_told_of(drive: Drive) -> None:
    with drive({"delay_ms": 1}, shares_cpus=True) as driver:
        closed = driver.run(ClosedLoop.constant(users=1, duration_s=0.2))
        paced = driver.run(OpenLoop(rate_per_s=50, duration_s=0.2))
    for run in (closed, paced):
        found = [problem.kind for problem in problems(run, limit_ms=None, cpus=(LAST_CPU,))]
        assert "client on the server's CPUs" in found
        assert "competing load" not in found


@pytest.mark.integration
def test_what_another_attempt_cannot_change_is_not_attempted_again(drive: Drive) -> None:
    with drive({"delay_ms": 1}, shares_cpus=True) as driver:
        attempts = Counting(driver)
        _, found = run_valid(attempts, ClosedLoop.constant(users=1, duration_s=0.1), limit_ms=10_000)
    assert [problem.kind for problem in found if not problem.is_transient] == ["client on the server's CPUs"]
    assert attempts.runs == 1 + any(problem.is_transient for problem in found)


class Counting:
    """A driver that counts its runs."""

    def __init__(self, driver: HttpDriver) -> None:
        self.configuration = driver.configuration
        self.envelope = driver.envelope
        self.usual_users = driver.usual_users
        self.runs = 0
        self._driver = driver

    def run(self, traffic: Traffic, **options: Any) -> Run:
        self.runs += 1
        return self._driver.run(traffic, **options)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.integration
def test_a_server_without_a_name_is_refused(payload_rows: np.ndarray, scheme: str) -> None:
    with pytest.raises(MeasurementError, match=r"there is no server called no-such-host.invalid"):
        resolve_target(f"{scheme}://no-such-host.invalid/", payload=payload_rows)


@pytest.mark.integration
def test_nobody_there_is_refused_in_one_line(payload_rows: np.ndarray) -> None:
    destination = Destination.of("http://127.0.0.1:1/", "json")
    with (
        start_clients(destination, payload_rows, UnseenServer(), cpus=(FIRST_CPU,)) as driver,
        pytest.raises(MeasurementError, match=r"127.0.0.1:1/ answers no request: connection refused"),
    ):
        driver.run(ClosedLoop.constant(users=1, duration_s=0.1))


@pytest.mark.integration
def test_all_ends_when_the_process_that_started_it_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys\n"
        "import numpy as np\n"
        "from servefit.backends.model.types import Signature, Task\n"
        "from servefit.backends.types import Target\n"
        "from servefit.profiler.drivers.hosted_endpoint import hosted_endpoint\n"
        "from servefit.profiler.drivers.http.clients import start_clients\n"
        "from servefit.profiler.drivers.http.destination import Destination\n"
        "from servefit.profiler.drivers.http.servers import UnseenServer\n"
        "from servefit.profiler.record.traffic import ClosedLoop\n"
        "from servefit.serving.config import ArtifactFacts, EndpointConfig\n"
        "artifact = ArtifactFacts(backend='s', backend_version='1', model_digest='', target=Target.CPU,\n"
        "                         folder='/nonexistent', facts={'delay_ms': 1})\n"
        "config = EndpointConfig(name='s', artifact=artifact, environment=(('PYTHONPATH', sys.argv[1]),),\n"
        "                        signature=Signature(task=Task.BINARY, features=3, outputs=1))\n"
        "cpu = min(os.sched_getaffinity(0))\n"
        "with hosted_endpoint(config, cpus=(cpu,), module='small_server') as hosted:\n"
        "    destination = Destination.of(hosted.url, 'json')\n"
        "    with start_clients(destination, np.zeros((1, 3)), UnseenServer(), cpus=(cpu,)) as driver:\n"
        "        print(hosted.pids[0], driver.client_pids[0], flush=True)\n"
        "        driver.run(ClosedLoop.constant(users=1, duration_s=60))\n"
    )
    folder = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        time.sleep(0.3)
        assert len([child for child in children if child.is_running()]) == 2
        parent.kill()
    deadline = time.monotonic() + 10
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_form_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SpecError, match="form: 'xml' is not known"):
        Destination.of("http://127.0.0.1:1/", "xml")  # type: ignore[arg-type]
