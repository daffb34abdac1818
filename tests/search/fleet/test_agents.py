"""Agents as processes: what they carry out, and what becomes of it whatever goes wrong."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import make_url
from tests.search.fleet.conftest import (
    LEASES,
    Cable,
    MakeJob,
    StartAgent,
    eventually,
    in_thread,
    rows,
    through,
)

from servefit.errors import AgentLost, TimedOut
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.database import fleet_address
from servefit.search.fleet.dispatcher import Dispatcher
from servefit.search.fleet.measurer import settle
from servefit.search.fleet.orders import Answer
from servefit.search.results.recommendation import Trial
from servefit.search.storage.steps import Attempt

if TYPE_CHECKING:
    from tests.search.conftest import Server

    from servefit.search.fleet.host import HostState


@pytest.mark.thorough
@pytest.mark.integration
def test_a_second_agent_of_a_name_is_refused_until_the_first_is_dead(start_agent: StartAgent) -> None:
    first = start_agent("rack3-07")
    second = start_agent("rack3-07", wait=False)
    assert second.process.wait(20) == 2
    assert f"is that of an agent that runs: process {first.process.pid}" in second.said()
    first.end(signal.SIGKILL)
    start_agent("rack3-07")


@pytest.mark.integration
@pytest.mark.thorough
def test_an_agent_has_two_connections_to_the_database(start_agent: StartAgent, fleet_url: str) -> None:
    connections = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    before = set(rows(fleet_url, connections))
    start_agent("rack3-07")
    assert len(set(rows(fleet_url, connections)) - before) == 2


@pytest.mark.thorough
@pytest.mark.integration
def test_an_agent_that_the_server_has_no_connection_for_says_so_in_one_line_and_is_not_in_the_fleet(
    start_agent: StartAgent, fleet_url: str, postgresql: Server
) -> None:
    with postgresql.connect() as connection:
        connection.execute("CREATE ROLE starved LOGIN PASSWORD 'hunger' CONNECTION LIMIT 1")
        connection.execute("GRANT pg_read_all_data, pg_write_all_data TO starved")
    url = make_url(fleet_url).set(username="starved", password="hunger").render_as_string(hide_password=False)
    try:
        agent = start_agent("rack3-07", url=url, wait=False)
        assert agent.process.wait(20) == 4
        (line,) = agent.said().splitlines()
        assert 'too many connections for role "starved"' in line
        assert "raise max_connections" in line
        assert rows(fleet_url, "SELECT name FROM servefit_agents") == []
    finally:
        with postgresql.connect() as connection:
            connection.execute("DROP ROLE starved")


@pytest.mark.thorough
@pytest.mark.integration
def test_an_agent_ends_when_it_had_nothing_to_do(start_agent: StartAgent) -> None:
    agent = start_agent("rack3-07", "--idle-exit", "1s")
    assert agent.process.wait(10) == 0


@pytest.mark.thorough
@pytest.mark.timed
def test_ctrl_c_ends_an_agent_and_what_it_measures_within_five_seconds(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(8)))) as found:
        eventually(lambda: _status(job.dispatcher.registry.hosts()) == "measuring")
        eventually(lambda: len(agent.children()) > 1)
        below = agent.children()
        assert agent.end(signal.SIGINT, within_s=6) == 0
        eventually(lambda: not _living(below), within_s=1)
    assert isinstance(found[0], AgentLost)


@pytest.mark.timed
@pytest.mark.thorough
def test_an_agent_that_is_killed_leaves_no_process_and_its_test_is_given_up_once_and_not_begun_again(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(6)))) as found:
        eventually(lambda: len(agent.children()) > 1)
        below = agent.children()
        agent.end(signal.SIGKILL)
        eventually(lambda: not _living(below), within_s=5)
        # Its successor has done with what it left, long before the lease is over.
        began_s = time.monotonic()
        start_agent("rack3-07")
    assert time.monotonic() - began_s < 11
    assert isinstance(found[0], AgentLost)
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
    assert len(rows(job.url, "SELECT 1 FROM servefit_orders WHERE began_at IS NOT NULL")) == 2


@pytest.mark.timed
@pytest.mark.thorough
def test_without_a_successor_a_test_is_given_up_after_its_lease(start_agent: StartAgent, open_job: MakeJob) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(3), limit_s=2.0))) as found:
        eventually(lambda: _status(job.dispatcher.registry.hosts()) == "measuring")
        agent.end(signal.SIGKILL)
    assert isinstance(found[0], AgentLost)
    assert "its agent was silent for" in found[0].reason


@pytest.mark.timed
@pytest.mark.thorough
def test_an_agent_that_was_stopped_beyond_its_lease_answers_in_vain(start_agent: StartAgent, open_job: MakeJob) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    order = job.order("rack3-07", job.load(1), limit_s=2.0)
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: _status(job.dispatcher.registry.hosts()) == "measuring")
        agent.process.send_signal(signal.SIGSTOP)
    assert isinstance(found[0], AgentLost)
    agent.process.send_signal(signal.SIGCONT)
    late = f"SELECT state, answer, late IS NOT NULL FROM servefit_orders WHERE token = '{order.token}'"
    # It answers, or hears first that nobody waits for that.
    eventually(lambda: rows(job.url, late)[0][2] is True or _status(job.dispatcher.registry.hosts()) == "idle")
    ((state, answer, _),) = rows(job.url, late)
    assert answer is None
    assert str(state).startswith("its agent was silent")


@pytest.mark.timed
@pytest.mark.thorough
def test_what_was_measured_while_the_cable_was_out_arrives_and_nothing_is_measured_twice(
    start_agent: StartAgent, open_job: MakeJob, cable: Cable, fleet_url: str
) -> None:
    start_agent("rack3-07", url=through(cable, fleet_url))
    job = open_job("rack3-07")
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(1.5)))) as found:
        eventually(lambda: _status(job.dispatcher.registry.hosts()) == "measuring")
        cable.cut()
        time.sleep(4)
        cable.mend()
    assert isinstance(found[0], Answer)
    assert isinstance(found[0].result, Trial)
    assert len(rows(job.url, "SELECT 1 FROM servefit_orders WHERE began_at IS NOT NULL")) == 2


@pytest.mark.timed
@pytest.mark.thorough
def test_a_database_that_is_killed_and_comes_back_costs_nothing(
    start_agent: StartAgent, open_job: MakeJob, postgresql: Server
) -> None:
    start_agent("rack3-07")
    job = open_job("rack3-07")
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(1.5)))) as found:
        eventually(lambda: _status(job.dispatcher.registry.hosts()) == "measuring")
        postgresql.stop()
        time.sleep(3)
        postgresql.start()
    assert isinstance(found[0], Answer)
    assert isinstance(found[0].result, Trial)
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)


@pytest.mark.timed
@pytest.mark.thorough
def test_an_agent_waits_for_whoever_measures_on_its_host_and_says_for_whom(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    start_agent("rack3-07")
    job = open_job("rack3-07")
    told: list[HostState] = []
    asking = in_thread(partial(job.dispatcher.ask, job.order("rack3-07"), on_state=told.append))
    with asking as found, measuring_slot("profile of somebody"):
        eventually(lambda: any(state.status == "waiting" for state in told))
    assert f"process {os.getpid()}" in told[-1].doing
    assert "profile of somebody" in told[-1].doing
    assert isinstance(found[0], Answer)
    assert found[0].waited_s > 0.5


@pytest.mark.timed
@pytest.mark.thorough
def test_an_order_that_is_withdrawn_is_ended_and_the_next_one_begins(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    order = job.order("rack3-07", job.load(9))
    with in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: len(agent.children()) > 1)
        began_s = time.monotonic()
        job.dispatcher.withdraw(order.token)
        assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
        assert time.monotonic() - began_s < 8
    assert isinstance(found[0], AgentLost)


@pytest.mark.timed
@pytest.mark.thorough
def test_agents_end_what_an_earlier_owner_asked_for_when_waiting_for_it_is_interrupted(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    agent = start_agent("rack3-07")
    job = open_job("rack3-07")
    order = job.order("rack3-07", job.load(60), limit_s=90.0)
    attempt = Attempt(token=order.token, host=order.host, agent="rack3-07")
    later = Dispatcher(job.store.database, fleet_address(job.url), LEASES)
    with later.running(), in_thread(lambda: job.dispatcher.ask(order)) as found:
        eventually(lambda: len(agent.children()) > 1)
        interrupting = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
        interrupting.start()
        with (
            pytest.raises(KeyboardInterrupt),
            job.log.step("load_test", "xgboost", Configuration(backend="xgboost", vcpus=1), attempt=attempt),
        ):
            settle(job.log, later)
        began_s = time.monotonic()
        assert isinstance(later.ask(job.order("rack3-07")).result, Trial)
        assert time.monotonic() - began_s < 45
    assert isinstance(found[0], AgentLost)


@pytest.mark.timed
@pytest.mark.thorough
def test_a_bench_that_hangs_is_ended_and_the_next_order_is_carried_out(
    start_agent: StartAgent, open_job: MakeJob
) -> None:
    agent = start_agent("rack3-07", "--log-level", "info")
    job = open_job("rack3-07")
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
    (bench, *_) = agent.children()
    os.kill(bench, signal.SIGSTOP)
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07"))) as found:
        eventually(lambda: found != [], within_s=45)
    assert isinstance(found[0], Answer)
    assert found[0].failure is not None
    assert isinstance(found[0].failure.as_error(), TimedOut)
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)


@pytest.mark.timed
@pytest.mark.thorough
def test_an_answer_that_was_not_delivered_is_delivered_by_the_next_agent(
    start_agent: StartAgent, open_job: MakeJob, cable: Cable, fleet_url: str, tmp_path: Path
) -> None:
    first = start_agent("rack3-07", url=through(cable, fleet_url))
    job = open_job("rack3-07")
    assert isinstance(job.dispatcher.ask(job.order("rack3-07")).result, Trial)
    spool = tmp_path / "rack3-07" / "fleet" / "rack3-07"
    with in_thread(lambda: job.dispatcher.ask(job.order("rack3-07", job.load(2), limit_s=60))) as found:
        eventually(lambda: job.dispatcher.orders.open_of("rack3-07", begun=True) != ())
        cable.cut()
        eventually(lambda: any(spool.glob("*.json")))
        first.end(signal.SIGKILL)
        start_agent("rack3-07")
    assert isinstance(found[0], Answer)
    assert isinstance(found[0].result, Trial)
    # The answer is in the database before its agent takes note that it was delivered.
    eventually(lambda: not any(spool.glob("*.json")))


def _status(hosts: tuple[HostState, ...]) -> str:
    (state,) = hosts
    return state.status


def _living(processes: list[int]) -> list[int]:
    return [pid for pid in processes if Path(f"/proc/{pid}").exists()]
