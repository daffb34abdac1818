"""nginx, HAProxy and Envoy themselves, with the files that are exported, in front of hosts of which one drops every
packet, one refuses connections and one is slow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from tests.search.fleet.conftest import eventually
from tests.search.fleet.faults import imitated_endpoint
from tests.search.fleet.faults.namespaces import Network, network, skip_without_namespaces
from tests.search.fleet.plan.balancer_programs import NAMES, command

from servefit.search.fleet.plan.balancers.kinds import BALANCERS, BalancerName
from servefit.search.fleet.plan.balancers.servers import Server

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

PAGE = Path(__file__).parents[4] / "docs/fleet.md"
FRONT, QUICK, SLOW, REFUSING, SILENT = "front", "quick", "slow", "refusing", "silent"
SLOW_S = 2.0
BODY = b"1,2\n" * 375_000
"""1.5 MB: more than nginx takes by itself."""

REQUESTS = 12
PATIENCE_S = 10.0
FIRST_PORT = 8081


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    status: int
    host: str
    waited_s: float
    """For anything but a host that is slow."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A host for the balancers, and hosts with endpoints behind them, but for the one that refuses."""
    skip_without_namespaces()
    names = (FRONT, QUICK, SLOW, REFUSING, SILENT)
    cpu = min(os.sched_getaffinity(0))
    folder = tmp_path_factory.mktemp("hosts")
    with network(folder, names, (cpu,) * len(names)) as made, ExitStack() as stack:
        for name in (QUICK, SLOW, SILENT):
            program = [sys.executable, imitated_endpoint.__file__, name, str(SLOW_S if name == SLOW else 0.0)]
            stack.enter_context(running(made.hosts[name].command(*program)))
        for name in (QUICK, SLOW, SILENT):
            eventually(partial(answers, made.hosts[name].address, imitated_endpoint.PORT))
        yield made


@pytest.fixture(autouse=True)
def plugged_in(site: Network) -> Iterator[None]:
    """All cables are, before the next test, and the front knows it: a kernel that found nobody waits before it asks
    again, and a balancer that begins meanwhile takes the host for one that is down."""
    yield
    site.hosts[SILENT].plug_in()
    reach = f"exec 3<>/dev/tcp/{site.hosts[SILENT].address}/{imitated_endpoint.PORT}"
    command = site.hosts[FRONT].command("timeout", "1", "bash", "-c", reach)
    eventually(lambda: subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0)


@contextmanager
def running(program: Sequence[str]) -> Iterator[None]:
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def balancers(site: Network, hosts: Sequence[str], folder: Path) -> Iterator[Mapping[BalancerName, int]]:
    """Run all three in front of ``hosts``, and give their ports."""
    servers = [
        Server(name=name, address=f"{site.hosts[name].address}:{imitated_endpoint.PORT}", weight=1) for name in hosts
    ]
    ports = {name: FIRST_PORT + nth for nth, name in enumerate(NAMES)}
    with ExitStack() as stack:
        for name, port in ports.items():
            file = folder / BALANCERS[name].file_name
            file.write_text(BALANCERS[name].configure("fraud", servers, port=port, answer_s=60))
            stack.enter_context(running(site.hosts[FRONT].command(*command(name, file))))
        for port in ports.values():
            eventually(partial(answers, site.hosts[FRONT].address, port))
        yield ports


def answers(address: str, port: int) -> bool:
    try:
        with closing(HTTPConnection(address, port, timeout=PATIENCE_S)) as connection:
            connection.request("GET", "/ping")
            with connection.getresponse() as answer:
                return answer.status == 200
    except (OSError, HTTPException):
        return False


def post(address: str, port: int) -> Answered:
    begin_s = time.monotonic()
    with closing(HTTPConnection(address, port, timeout=PATIENCE_S)) as connection:
        connection.request("POST", "/invocations", BODY)
        with connection.getresponse() as answer:
            host = answer.read().decode()
    waited_s = time.monotonic() - begin_s
    return Answered(status=answer.status, host=host, waited_s=waited_s - (SLOW_S if host == SLOW else 0.0))


def all_at_once(address: str, ports: Mapping[BalancerName, int]) -> dict[BalancerName, list[Answered]]:
    """Send requests to all balancers at the same time, each over a connection of its own."""
    with ThreadPoolExecutor(REQUESTS * len(ports)) as threads:
        begun = {name: [threads.submit(post, address, port) for _ in range(REQUESTS)] for name, port in ports.items()}
        return {name: [each.result() for each in asked] for name, asked in begun.items()}


def test_no_request_waits_over_a_second_for_a_host_that_is_silent_or_refuses_and_a_slow_one_is_waited_for(
    site: Network, tmp_path: Path
) -> None:
    site.hosts[SILENT].unplug()
    with balancers(site, (QUICK, SLOW, REFUSING, SILENT), tmp_path) as ports:
        for name, found in all_at_once(site.hosts[FRONT].address, ports).items():
            assert {each.status for each in found} == {200}, name
            assert {each.host for each in found} == {QUICK, SLOW}, name
            assert max(each.waited_s for each in found) < 1.0, name


def test_a_host_that_falls_silent_while_connections_to_it_are_open_costs_no_answer(
    site: Network, tmp_path: Path
) -> None:
    """A kernel that is not told gives an open connection up after a quarter of an hour. nginx cannot tell it; what the
    page says to set does, for all that runs beside it."""
    settings = re.findall(r"net\.ipv4\.tcp_\w+=\d+", PAGE.read_text())
    assert len(settings) == 4
    subprocess.run(site.hosts[FRONT].command("sysctl", "--quiet", "--write", *settings), check=True)
    address = site.hosts[FRONT].address
    with balancers(site, (QUICK, SILENT), tmp_path) as ports:
        before = {name: {each.host for each in found} for name, found in all_at_once(address, ports).items()}
        assert before == {name: {QUICK, SILENT} for name in ports}
        site.hosts[SILENT].unplug()
        for name, found in all_at_once(address, ports).items():
            assert {(each.status, each.host) for each in found} == {(200, QUICK)}, name
            assert max(each.waited_s for each in found) < (2.5 if name == "nginx" else 1.0), name
