"""``servefit fleet start`` and ``servefit fleet manifest``, as processes, with an SSH server and a database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from tests.cli.conftest import COMMAND
from tests.search.conftest import postgresql, postgresql_url  # noqa: F401 - fixtures
from tests.search.fleet.launching.ssh_server import SshServer, free_port, ssh_server

from servefit.processes import process_start
from servefit.search.fleet.making import make_fleet

if TYPE_CHECKING:
    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration

HOST = """
[host.{name}]
ssh = "127.0.0.1"
port = {port}
identity = "{key}"
python = "{python}"
options = {{UserKnownHostsFile = "{known_hosts}"}}
"""

AGENT = """
import os, sys, time
from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases

address = fleet_address(os.environ["SERVEFIT_STORAGE"])
database = FleetDatabase(address)
fleet_leases(database, address)
with open({path!r}, "a") as file:
    file.write(f"{{os.getpid()}}\\n")
print("agent", sys.argv[sys.argv.index("--name") + 1], "takes orders", flush=True)
{end}
"""
"""An agent that looks whether there is a fleet, through the tunnel, and writes its process id down."""

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def sshd() -> Iterator[SshServer]:
    with ssh_server() as server:
        yield server


@pytest.fixture
def empty_url(postgresql_url: str) -> str:  # noqa: F811
    """A database without a fleet."""
    return postgresql_url


@pytest.fixture
def fleet_url(empty_url: str) -> str:
    """A database with a fleet."""
    make_fleet(empty_url)
    return empty_url


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """The file that agents write their process ids into."""
    return tmp_path / "pids"


@pytest.fixture
def inventory(sshd: SshServer, tmp_path: Path, pids: Path) -> Callable[..., Path]:
    def write(end: str = "time.sleep(60)", **changes: object) -> Path:
        python = sshd.python(AGENT.format(path=str(pids), end=end))
        usual = {"name": "rack3-07", "port": sshd.port, "key": sshd.key, "python": python}
        path = tmp_path / "hosts.toml"
        with path.open("a") as file:
            file.write(HOST.format(**{**usual, "known_hosts": sshd.known_hosts, **changes}))
        return path

    return write


@contextmanager
def starting(hosts: Path, url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The command in the background, with the database in its environment."""
    command = [*COMMAND, "fleet", "start", "--hosts", str(hosts), *options]
    environment = {**os.environ, "SERVEFIT_STORAGE": url}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(what: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline_s = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def ended(pids: Path) -> bool:
    return all(process_start(int(pid)) is None for pid in pids.read_text().split())


@pytest.mark.thorough
@pytest.mark.timed
def test_ctrl_c_ends_the_agents_within_5_s_and_a_summary_says_what_became_of_each_host(
    inventory: Callable[..., Path], fleet_url: str, pids: Path, sshd: SshServer
) -> None:
    inventory(name="fine")
    hosts = inventory(name="refused", key=sshd.other_key)
    with starting(hosts, fleet_url, "--format", "json") as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "fine: agent takes orders" in line:
                break
        assert pids.exists(), said
        assert not ended(pids)
        at_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=PATIENCE_S)
        assert time.monotonic() - at_s < 5
        assert ended(pids)
    assert any("refused: not started, no key is accepted" in line for line in said)
    hosts_by_name = {host["name"]: host for host in json.loads(stdout)["hosts"]}
    assert hosts_by_name["fine"]["state"] == "stopped"
    assert hosts_by_name["fine"]["starts"] == 1
    assert hosts_by_name["refused"]["state"] == "given up"
    assert process.returncode == 4


@pytest.mark.thorough
def test_the_agent_of_servefit_is_in_the_fleet_for_as_long_as_it_is_kept_and_its_name_is_nobody_elses(
    servefit: Servefit, inventory: Callable[..., Path], fleet_url: str, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nSERVEFIT_HOME={tmp_path}/home SERVEFIT_SLOT={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    hosts = inventory(python=python)
    with starting(hosts, fleet_url) as process:
        assert process.stderr is not None
        assert "rack3-07: agent takes orders, process " in process.stderr.readline()
        (listed,) = servefit("fleet", "hosts", "--storage", fleet_url, "--format", "json").document
        assert (listed["name"], listed["status"]) == ("rack3-07", "idle")
        with starting(hosts, fleet_url) as second:
            _, stderr = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 4
        assert "is that of an agent that runs" in stderr
        assert "given up" in stderr
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, stdout
    (listed,) = servefit("fleet", "hosts", "--storage", fleet_url, "--format", "json").document
    assert listed["status"] == "gone"


@pytest.mark.thorough
def test_agents_that_end_by_themselves_end_the_command_well(inventory: Callable[..., Path], fleet_url: str) -> None:
    with starting(inventory(end="sys.exit(0)"), fleet_url, "--quiet") as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    assert stderr == ""
    assert "rack3-07" in stdout
    assert "ended" in stdout


@pytest.mark.thorough
def test_agents_end_when_the_starter_is_killed_outright(
    inventory: Callable[..., Path], fleet_url: str, pids: Path
) -> None:
    with starting(inventory(), fleet_url) as process:
        wait_for(pids.exists)
        wait_for(lambda: bool(pids.read_text()))
        process.kill()
        process.communicate()
        wait_for(lambda: ended(pids), patience_s=5)


@pytest.mark.thorough
def test_a_host_that_is_not_reached_in_time_is_a_failure(inventory: Callable[..., Path], fleet_url: str) -> None:
    with starting(inventory(port=free_port()), fleet_url, "--start-within", "500ms") as process:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4
    assert "Connection refused" in stderr
    assert "given up" in stdout


def test_what_is_wrong_with_the_inventory_or_the_database_is_said_before_anything_is_started(
    servefit: Servefit,
    inventory: Callable[..., Path],
    empty_url: str,
    tmp_path: Path,
    pids: Path,
) -> None:
    hosts = inventory()
    start = ("fleet", "start", "--hosts", hosts)
    without = servefit(*start, "--storage", empty_url)
    assert without.status == 4
    assert "servefit fleet init" in without.stderr
    wrong = servefit(*start, "--storage", f"sqlite:///{tmp_path}/jobs.db")
    assert wrong.status == 2
    assert "postgresql" in wrong.stderr
    gone = servefit(*start, "--storage", f"postgresql://fleet:secret@127.0.0.1:{free_port()}/servefit")
    assert gone.status == 4
    assert "secret" not in gone.stderr
    hosts.write_text("[host.a]\nssh = '-oProxyCommand=reboot'")
    injected = servefit(*start, "--storage", empty_url)
    assert injected.status == 2
    assert "host.a.ssh" in injected.stderr
    assert not pids.exists()


@pytest.mark.parametrize("kind", ["systemd", "slurm"])
def test_a_manifest_runs_the_agent_of_this_python_as_it_was_told(servefit: Servefit, kind: str) -> None:
    options = ("--label", "rack=3", "--cost", "per_hour=0.21", "--idle-exit", "90s", "--trust-pickle")
    printed = servefit("fleet", "manifest", kind, *options)
    told = "--label rack=3 --cost per_hour=0.21 --idle-exit 90s --trust-pickle"
    assert f"{sys.executable} -m servefit agent {told}" in printed.stdout
    assert printed.stderr == ""


def test_manifests_for_kubernetes_are_yaml(servefit: Servefit) -> None:
    shape = ("--image", "registry.lan/servefit", "--cpus", "8", "--memory", "16Gi", "--nodes", "2")
    printed = servefit("fleet", "manifest", "kubernetes", *shape)
    assert [document["kind"] for document in yaml.safe_load_all(printed.stdout)] == ["Job", "Job"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("slum",), "did you mean 'slurm'?"),
        (("systemd", "--nodes", "3"), "nodes is for slurm and kubernetes alone"),
        (("slurm", "--image", "a"), "image is for kubernetes alone"),
        (("kubernetes",), "image is not given"),
        (("systemd", "--label", "rack"), "label: 'rack' has no value"),
        (("systemd", "--label", "a=1", "--label", "a=2"), "label: 'a' is given twice"),
        (("systemd", "--cost", "per_hour=nan"), "cost per_hour: nan is not finite"),
        (("systemd", "--cost", "much"), "is not a cost"),
        (("systemd", "--cost", "capex=1"), "has one of capex and years"),
        (("systemd", "--idle-exit", "120"), "has no unit"),
        (("systemd", "--name", "a b"), "is not 1 to 63 letters"),
    ],
)
def test_a_mistake_in_the_options_of_a_manifest_is_named(
    servefit: Servefit, options: tuple[str, ...], said: str
) -> None:
    refused = servefit("fleet", "manifest", *options)
    assert refused.status == 2
    assert said in refused.stderr
    assert refused.stdout == ""
