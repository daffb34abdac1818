"""The processes of an endpoint on this machine, and whether load clients got in their way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.endpoint_driver import EndpointDriver, seen_from_outside
from servefit.profiler.drivers.http.local_server import local_server
from servefit.profiler.drivers.http.resolution import resolve_address
from servefit.profiler.evidence.validity import problems
from servefit.profiler.machine.telemetry import TelemetryPoint
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import ClientRecord, Run, Samples

if TYPE_CHECKING:
    import numpy as np
    from tests.profiler.conftest import HostSmall

pytestmark = pytest.mark.integration

FIRST_CPU, LAST_CPU = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_the_processes_that_listen_are_found_with_their_children_and_their_cpus(
    host_small: HostSmall, host: str
) -> None:
    with host_small({"forks": True}, cpus=(LAST_CPU,)) as hosted:
        server = local_server(
            resolve_address(Address.parse(f"http://{host}:{hosted.port}/"), allow_remote=False).address
        )
        assert server is not None
        assert server.listening == (hosted.pids[0],)
        assert server.cpus == {LAST_CPU}
        assert server.name.startswith("python")
        with server.watch(()) as telemetry:
            assert telemetry is not None


def test_who_listens_elsewhere_or_not_at_all_is_not_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = local_server(Address.parse(f"http://127.0.0.1:{port}"))
        assert found is not None
        assert found.listening == (os.getpid(),)
        assert local_server(Address.parse(f"http://127.0.0.7:{port}")) is None
    assert local_server(Address.parse(f"http://127.0.0.1:{port}")) is None


def test_a_server_in_this_very_process_is_told_from_its_clients() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as client,
    ):
        server = local_server(Address.parse(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        assert server is not None
        with server.watch(()) as telemetry:
            time.sleep(0.15)
        assert telemetry is not None
        assert [len(point.worker_percents) for point in telemetry.points()][:1] == [1]
        client.communicate(b"\n")


@pytest.mark.timed
def test_a_run_beside_a_server_says_what_that_used(host_small: HostSmall, payload_rows: np.ndarray) -> None:
    with host_small({}, cpus=(LAST_CPU,)) as hosted:
        destination = Destination.of(hosted.url, "json")
        server = local_server(destination.address)
        assert server is not None
        with start_clients(destination, payload_rows, server, cpus=(FIRST_CPU,)) as driver:
            run = EndpointDriver(driver, apart=True).run(ClosedLoop.constant(users=4, duration_s=0.6))
    assert run.client is not None
    assert not run.client.shares_cpus
    assert run.busy_cpu_ns is not None
    assert 0.05 < run.busy_cpu_ns / (run.plateau_ns[1] - run.plateau_ns[0]) < 1.5
    assert run.peak_memory_bytes is not None
    assert run.peak_memory_bytes > 2**22
    # Steal, throttling and a client that waits would be real; nothing is to be made of an envelope that nobody knows.
    about_the_envelope = {"competing load", "outside the envelope", "client on the server's CPUs"}
    waits_for_nobody = replace(run, client=replace(run.client, waited_percent=None))
    assert not about_the_envelope & {problem.kind for problem in problems(waits_for_nobody, limit_ms=None, cpus=())}


def seen(*, waited: float, used: float, client: float | None, apart: bool = False) -> bool:
    """Whether clients that were on a CPU for ``client`` per cent of the time took time from a server."""
    return looked_at(waited=waited, used=used, client=client, apart=apart).shares_cpus


def looked_at(
    *, waited: float, used: float, client: float | None, client_waited: float | None = None, apart: bool = False
) -> ClientRecord:
    """What is said of such clients, which themselves waited for ``client_waited`` per cent of it."""
    second = 1_000_000_000
    run = Run(
        driver="http",
        traffic=ClosedLoop.constant(users=1, duration_s=1),
        samples=Samples(scheduled=b"", started=b"", ended=b""),
        plateau_ns=(0, second),
        offered=0,
        backlog=0,
        lags=b"",
        busy_cpu_ns=0,
        threads_per_worker=(),
        threads_outside=0,
        peak_memory_bytes=0,
        telemetry=tuple(
            TelemetryPoint(
                at_ns=nth * second // 10,
                over_ns=second // 10,
                cpu_percent=used,
                memory_bytes=nth,
                run_queue_percent=waited,
                worker_percents=(used,),
            )
            for nth in range(1, 11)
        ),
        client=ClientRecord(
            processes=1,
            cpus=(0,),
            cpu_percent=client,
            waited_percent=client_waited,
            connections=1,
            reconnections=0,
            errors={},
            shares_cpus=True,
        ),
    )
    found = seen_from_outside(run, apart=apart)
    assert found.client is not None
    assert found.peak_memory_bytes == 10
    assert found.telemetry[0] == replace(run.telemetry[0], run_queue_percent=None, worker_percents=(), own_percent=None)
    return found.client


@pytest.mark.parametrize(
    ("apart", "client_waited", "left"),
    [(True, 40.0, 40.0), (False, 40.0, 15.0), (False, 20.0, 0.0), (False, None, None)],
)
def test_a_client_may_wait_for_as_long_as_a_server_was_on_its_cpu(
    apart: bool, client_waited: float | None, left: float | None
) -> None:
    found = looked_at(waited=1, used=25, client=10, client_waited=client_waited, apart=apart)
    assert found.waited_percent == (left if left is None else pytest.approx(left))


def test_clients_are_in_the_way_where_threads_of_the_server_waited_for_them() -> None:
    assert seen(waited=30, used=140, client=30)
    assert seen(waited=30, used=140, client=None)
    assert not seen(waited=1, used=90, client=30)
    # So much that the clients cannot have been it: the server's threads waited for each other, or for others.
    assert not seen(waited=700, used=800, client=30)
    assert not seen(waited=30, used=70, client=2)
    assert not seen(waited=30, used=140, client=30, apart=True)
