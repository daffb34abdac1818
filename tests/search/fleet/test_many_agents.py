"""Fifty agents, of which forty die at once. They are forks of one process that take orders as agents do, and answer
them without measuring."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.search.fleet.conftest import MakeJob, eventually, rows

from servefit.errors import AgentLost
from servefit.search.fleet.dispatcher import LOOK_S
from servefit.search.fleet.host import Leases
from servefit.search.fleet.orders import Answer

pytestmark = [pytest.mark.timed, pytest.mark.thorough]

AGENTS, KILLED = 50, 40

_FORKS = """
import asyncio, os, sys, time
from servefit.profiler.machine.host import describe_host
from servefit.search.fleet.classes.host_facts import host_facts
from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases
from servefit.search.fleet.host import FleetHost
from servefit.errors import MeasurementError
from servefit.search.fleet.orders import Answer, Failure, Orders
from servefit.search.fleet.queue import channel_of, open_queue
from servefit.search.fleet.registry import Registry
import procrastinate, psycopg_pool
from servefit.processes import die_with_parent

url, agents, host = sys.argv[1], int(sys.argv[2]), describe_host()
facts = host_facts(host)

async def live(name):
    address = fleet_address(url)
    database = FleetDatabase(address)
    leases = fleet_leases(database, address)
    registry, orders = Registry(database, address, leases), Orders(database)
    claim = registry.claim(FleetHost(name=name, host=host, facts=facts, servefit="0", schema=1))

    async def renew():
        while True:
            await asyncio.sleep(leases.renew_s)
            await asyncio.to_thread(registry.renew, claim, None)

    async def carry(token):
        order = await asyncio.to_thread(orders.begin, token, claim.token)
        if order is not None:
            await asyncio.sleep(order.limit_s)
            failure = Failure.of(MeasurementError("nothing was measured"))
            await asyncio.to_thread(orders.answer, token, claim.token, Answer(failure=failure))

    renewing = asyncio.create_task(renew())
    async with open_queue(address, channel=channel_of(name)) as queue:
        os.write(1, f"{name} {os.getpid()}\\n".encode())
        await queue.work(name, carry)

for nth in range(agents):
    parent = os.getpid()
    if os.fork() == 0:
        die_with_parent(parent)
        asyncio.run(live(f"node-{nth:02}"))
time.sleep(600)
"""


LONG = Leases(silent_s=3600, lost_s=3600)
"""Fifty agents may be heard of late on a busy machine."""


@pytest.fixture
def agents(fleet_url: str) -> Iterator[dict[str, int]]:
    """Their process numbers by name."""
    rows(fleet_url, f"UPDATE servefit_fleet SET silent_s = {LONG.silent_s}, lost_s = {LONG.lost_s} RETURNING 1")
    with subprocess.Popen(
        [sys.executable, "-c", _FORKS, fleet_url, str(AGENTS)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            started = [process.stdout.readline().split() for _ in range(AGENTS)]
            yield {name: int(pid) for name, pid in started}
        finally:
            process.kill()


def test_forty_of_fifty_agents_die_and_the_others_answer(agents: dict[str, int], open_job: MakeJob) -> None:
    names = sorted(agents)
    job = open_job(*names, leases=LONG, look_s=LOOK_S)
    eventually(lambda: [state.status for state in job.dispatcher.registry.hosts()] == ["idle"] * AGENTS)

    def ask(name: str) -> Answer | str:
        try:
            return job.dispatcher.ask(job.order(name, limit_s=4.0))
        except AgentLost as error:
            return error.reason

    with ThreadPoolExecutor(AGENTS) as pool:
        asked = pool.map(ask, names)
        eventually(lambda: len(job.dispatcher.orders.open_of(names[0], begun=True)) == 1)
        for name in names[:KILLED]:
            os.kill(agents[name], signal.SIGKILL)
        dead = f"name < '{names[KILLED]}'"
        rows(
            job.url, f"UPDATE servefit_agents SET renewed_at = renewed_at - 2 * {LONG.lost_s} WHERE {dead} RETURNING 1"
        )
        answered = dict(zip(names, asked, strict=True))
    assert [answered[name] for name in names[KILLED:] if not isinstance(answered[name], Answer)] == []
    assert len([answer for answer in answered.values() if not isinstance(answer, Answer)]) > KILLED / 2
    # Those that are left go on.
    assert isinstance(ask(names[-1]), Answer)
    assert Path(f"/proc/{agents[names[-1]]}").exists()
