"""Agents over SSH, with a server and connections that are real, and an agent that says what it was given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url
from tests.search.fleet.launching.conftest import GREETING, PASSWORD
from tests.search.fleet.launching.ssh_server import free_port, ssh_server

from servefit.processes import process_start
from servefit.search.fleet.launching.starting import HostOutcome, StartPauses, keep_agents

if TYPE_CHECKING:
    from tests.search.fleet.launching.conftest import MakeAgent, MakeHost
    from tests.search.fleet.launching.ssh_server import SshServer

    from servefit.search.fleet.launching.inventory import InventoryHost
    from servefit.search.fleet.launching.tunnel import TunnelledDatabase

pytestmark = pytest.mark.integration

PATIENCE_S = 20.0
FAST = StartPauses(first_pause_s=0.1, longest_pause_s=0.4)

CONNECT = """
import socket, urllib.parse
url = urllib.parse.urlsplit(os.environ["SERVEFIT_STORAGE"])
with socket.create_connection(("127.0.0.1", url.port)) as connection:
    record["read"] = connection.recv(100).decode()
everything = []
for number in os.listdir("/proc"):
    if number.isdigit():
        try:
            everything.append(open(f"/proc/{number}/cmdline", "rb").read().decode(errors="replace"))
        except OSError:
            pass
record["command_lines"] = everything
"""


@dataclass
class Told:
    """What the starter told, until ``enough`` says that it is to stop."""

    enough: Callable[[list[str]], bool]
    stop: asyncio.Event
    lines: list[str] = field(default_factory=list)

    def __call__(self, host: str, what: str) -> None:
        self.lines.append(f"{host}: {what}")
        if self.enough(self.lines):
            self.stop.set()


def start(
    hosts: Sequence[InventoryHost],
    database: TunnelledDatabase,
    *,
    enough: Callable[[list[str]], bool] = lambda lines: False,
    pace: StartPauses = FAST,
) -> tuple[dict[str, HostOutcome], list[str]]:
    """Start agents until all have ended, or what was told is ``enough``."""

    async def run() -> tuple[dict[str, HostOutcome], list[str]]:
        told = Told(enough, asyncio.Event())
        keeping = keep_agents(hosts, database, stop=told.stop, tell=told, pace=pace)
        outcomes = await asyncio.wait_for(keeping, PATIENCE_S)
        return {outcome.name: outcome for outcome in outcomes}, told.lines

    return asyncio.run(run())


def running(lines: list[str], times: int = 1) -> bool:
    return sum("takes orders" in line for line in lines) >= times


def test_a_start_that_is_cut_short_leaves_no_process_that_ends_after_the_loop(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase, tmp_path: Path
) -> None:
    program, started = tmp_path / "ssh", tmp_path / "started"
    started.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}/$$\nexec sleep 60\n")
    program.chmod(0o755)
    agent = make_agent()
    hosts = [make_host(agent, name=f"rack3-0{nth}") for nth in range(4)]

    async def cut_short() -> list[int]:
        keeping = asyncio.ensure_future(
            keep_agents(hosts, database, stop=asyncio.Event(), tell=print, pace=FAST, program=str(program))
        )
        while len(pids := [int(path.name) for path in started.iterdir()]) < len(hosts):
            await asyncio.sleep(0.01)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
        return [pid for pid in pids if process_start(pid) is not None]

    assert asyncio.run(cut_short()) == []


def test_an_agent_reaches_the_database_through_the_connection_and_has_its_password_from_no_command_line(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    agent = make_agent(CONNECT)
    outcomes, _ = start([make_host(agent)], database, enough=lambda lines: running(lines) and bool(agent.runs))
    (run,) = agent.runs
    assert run["read"] == GREETING.decode()
    assert run["arguments"] == [
        *("-m", "servefit", "agent", "--name", "rack3-07", "--label", "rack=3", "--cost", "per_hour=0.21")
    ]
    url = make_url(run["storage"])
    assert (url.username, url.password, url.database) == ("fleet", PASSWORD, "servefit")
    assert url.port != database.address.url.port
    seen = "\n".join(run["command_lines"])
    assert "ssh" in seen
    assert not any(secret in seen for secret in database.address.secrets)
    assert outcomes["rack3-07"].state == "stopped"
    assert outcomes["rack3-07"].starts == 1


def test_hosts_that_refuse_are_given_up_with_the_reason_while_the_others_go_on(
    sshd: SshServer, make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase, tmp_path: Path
) -> None:
    agent = make_agent()
    no_servefit = tmp_path / "python"
    no_servefit.write_text("#!/bin/sh\necho \"$0: No module named 'servefit'\" >&2; exit 1\n")
    no_servefit.chmod(0o755)
    hosts = [
        make_host(agent, "fine"),
        make_host(agent, "unknown-key", options={"UserKnownHostsFile": "/dev/null"}),
        make_host(agent, "refused", identity=sshd.other_key, options={
            "UserKnownHostsFile": str(sshd.known_hosts), "IdentitiesOnly": "yes"}),
        make_host(agent, "no-python", python="/nowhere/python"),
        make_host(agent, "no-servefit", python=str(no_servefit)),
    ]  # fmt: skip
    outcomes, lines = start(
        hosts, database, enough=lambda lines: running(lines) and sum("given up" in line for line in lines) == 4
    )
    assert outcomes["fine"].state == "stopped"
    assert not outcomes["fine"].failed
    reasons = {
        "unknown-key": "Host key verification failed",
        "refused": "Permission denied (publickey)",
        "no-python": "its Python cannot be run (exit status 127)",
        "no-servefit": "its Python has no servefit",
    }
    for name, reason in reasons.items():
        assert outcomes[name].state == "given up"
        assert outcomes[name].failed
        assert outcomes[name].starts == 0
        assert reason in outcomes[name].reason
        # Once, since time does not cure it
        assert len([line for line in lines if line.startswith(f"{name}: ")]) == 1
    assert len(agent.runs) == 1


def test_a_server_that_forwards_no_ports_is_named_as_the_reason(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    agent = make_agent()
    with ssh_server(forwarding=False) as strict:
        options = {"UserKnownHostsFile": str(strict.known_hosts)}
        host = make_host(agent, port=strict.port, identity=strict.key, options=options)
        outcomes, _ = start([host], database)
    assert "AllowTcpForwarding" in outcomes["rack3-07"].reason
    assert agent.runs == []


def test_a_host_that_is_not_there_is_tried_again_and_given_up_after_the_time_that_was_given(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    pace = StartPauses(first_pause_s=0.1, longest_pause_s=0.2, within_s=0.6)
    outcomes, lines = start([make_host(make_agent(), port=free_port())], database, pace=pace)
    assert outcomes["rack3-07"].state == "given up"
    assert "Connection refused" in outcomes["rack3-07"].reason
    assert len(lines) >= 3
    assert all("again in" in line for line in lines[:-1])


@pytest.mark.thorough
def test_an_agent_that_fails_at_once_is_started_again_after_pauses_that_grow(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    end = "sys.exit('the database: ' + os.environ['SERVEFIT_STORAGE'])"
    agent = make_agent("record['at'] = time.monotonic()", end, ready=False)
    pace = StartPauses(first_pause_s=0.2, longest_pause_s=2)
    outcomes, lines = start([make_host(agent)], database, enough=lambda lines: len(lines) == 3, pace=pace)
    assert outcomes["rack3-07"].state == "not started"
    assert outcomes["rack3-07"].failed
    assert all("ended with status 1 after" in line for line in lines)
    # Its last line, without the password
    assert "the database: postgresql" in lines[0]
    assert not any(secret in line for line in lines for secret in database.address.secrets)
    first, second, third = (run["at"] for run in agent.runs)
    assert second - first >= 0.2
    assert third - second >= 0.4


@pytest.mark.parametrize(("status", "state", "failed"), [(0, "ended", False), (2, "given up", True)])
def test_an_agent_that_ends_well_or_is_refused_is_not_started_again(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase, status: int, state: str, failed: bool
) -> None:
    agent = make_agent("", f"print('name is taken', file=sys.stderr); sys.exit({status})")
    outcomes, _ = start([make_host(agent)], database)
    assert outcomes["rack3-07"].state == state
    assert outcomes["rack3-07"].failed == failed
    assert len(agent.runs) == 1
    if failed:
        assert outcomes["rack3-07"].reason.endswith("name is taken")


def test_a_connection_that_is_cut_ends_its_agent_and_another_is_started(
    sshd: SshServer, make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    agent = make_agent()
    cut = False

    def enough(lines: list[str]) -> bool:
        nonlocal cut
        if running(lines) and not cut:
            cut = True
            sshd.cut()
        return running(lines, 2)

    outcomes, lines = start([make_host(agent)], database, enough=enough)
    assert outcomes["rack3-07"].starts == 2
    assert outcomes["rack3-07"].state == "stopped"
    assert any("lost after" in line and "again in" in line for line in lines)
    for run in agent.runs:
        wait_until_gone([run["pid"]])


STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(
    [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"],
    start_new_session=True,
)
record["child"] = child.pid
"""


@pytest.mark.timed
@pytest.mark.thorough
def test_all_that_an_agent_started_ends_within_5_s_of_the_stop_even_if_it_takes_no_notice(
    make_agent: MakeAgent, make_host: MakeHost, database: TunnelledDatabase
) -> None:
    agent = make_agent(STUBBORN)
    stopped_at_s = 0.0

    def enough(lines: list[str]) -> bool:
        nonlocal stopped_at_s
        stopped_at_s = time.monotonic()
        while not agent.runs:
            time.sleep(0.02)
        return running(lines)

    start([make_host(agent)], database, enough=enough)
    (run,) = agent.runs
    wait_until_gone([run["pid"], run["child"]], patience_s=0)
    assert time.monotonic() - stopped_at_s < 5


def wait_until_gone(pids: list[int], *, patience_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while living := [pid for pid in pids if process_start(pid) is not None]:
        assert time.monotonic() < deadline_s, f"{living} live on"
        time.sleep(0.02)
