"""How an endpoint stops: what was accepted is answered, within the time that a stop may take."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.serving.busy_clients import Clients
from tests.serving.conftest import Exchange, described, eventually, invocation, launch
from tests.serving.obedient_predictor import SLEEP, WAIT

if TYPE_CHECKING:
    from tests.serving.conftest import Answer, Start
    from tests.serving.obedient_predictor import Gate

pytestmark = pytest.mark.integration


def test_sigterm_under_load_loses_nothing_that_was_accepted(start: Start, gate: Gate) -> None:
    with start({"us": 300, **gate.facts}, workers=2, max_batch=4) as endpoint:
        clients = Clients(endpoint, keeping=6, fresh=4)
        slow = Exchange(socket=endpoint.connect())
        slow.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        assert eventually(lambda: clients.statuses[200] > 100)
        endpoint.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "finishes what is in flight" in endpoint.says())
        gate.open()
        assert endpoint.process.wait(10) == 0
        clients.end()
        assert slow.answer().predictions == [WAIT]
        slow.socket.close()
    assert clients.lost == []
    assert set(clients.statuses) == {200}


def test_while_it_stops_it_is_alive_and_not_ready_and_says_that_connections_end(start: Start) -> None:
    with start() as endpoint, endpoint.connect() as first, endpoint.connect() as second, endpoint.connect() as third:
        kept = [Exchange(socket=connection) for connection in (first, second, third)]
        for exchange in kept:
            exchange.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert "connection" not in exchange.answer().headers
        endpoint.process.send_signal(signal.SIGTERM)

        def ask(exchange: Exchange, path: bytes) -> Answer:
            exchange.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            return exchange.answer()

        while (answer := ask(kept[0], b"/v2/health/ready")).status == 200:
            assert "connection" not in answer.headers
        answers = [answer, ask(kept[1], b"/ping"), ask(kept[2], b"/v2/health/live")]
        assert [answer.status for answer in answers] == [503, 200, 200]
        for exchange, answer in zip(kept, answers, strict=True):
            assert answer.headers["connection"] == "close"
            assert exchange.is_closed()
            exchange.socket.close()
        assert endpoint.process.wait(10) == 0


def test_a_kept_connection_without_requests_is_closed_a_moment_after_the_signal(start: Start) -> None:
    with start() as endpoint, endpoint.connect() as first, endpoint.connect() as second:
        idle, late = Exchange(socket=first), Exchange(socket=second)
        for exchange in (idle, late):
            exchange.send(invocation(1.0))
            exchange.answer()
        began_s = time.monotonic()
        endpoint.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        late.send(invocation(2.0))
        assert late.answer().predictions == [2.0]
        late.socket.close()
        assert idle.is_closed()
        idle.socket.close()
        assert time.monotonic() - began_s > 0.9
        assert endpoint.process.wait(10) == 0


@pytest.mark.thorough
def test_a_stop_takes_no_longer_than_it_may_and_a_second_signal_ends_it_at_once(start: Start) -> None:
    with start(limits={"grace_s": 0.3}) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        assert endpoint.stop() == 1
        assert endpoint.says().endswith("its time was up; what it had not answered is cut off\n")
    with start() as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        endpoint.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        endpoint.process.send_signal(signal.SIGINT)
        assert endpoint.process.wait(10) == 1
        assert endpoint.says().endswith("there was a second signal; what it had not answered is cut off\n")


def test_a_worker_that_answers_late_or_dies_while_it_stops_makes_the_status_say_so(start: Start) -> None:
    with start(limits={"grace_s": 0.2}) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 0.2) * 6)
        time.sleep(0.1)
        assert endpoint.stop() == 1
        assert "its time was up; what it had not answered is cut off\n" in endpoint.says()
    with start() as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        endpoint.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "finishes what is in flight" in endpoint.says())
        os.kill(endpoint.pids[1], signal.SIGKILL)
        assert endpoint.process.wait(10) == 1
        assert endpoint.says().endswith("killed by SIGKILL; what it had not answered is cut off\n")


def test_a_group_wide_sigterm_is_a_graceful_stop_too(start: Start, gate: Gate) -> None:
    """systemd and terminals send signals to all processes of a group."""
    with start(gate.facts) as endpoint, endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        exchange.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        for pid in endpoint.pids:
            os.kill(pid, signal.SIGTERM)
        assert eventually(lambda: "finishes what is in flight" in endpoint.says())
        gate.open()
        assert exchange.answer().predictions == [WAIT]
        connection.close()
        assert endpoint.process.wait(10) == 0


def test_a_hang_up_is_a_graceful_stop_and_hurries_none(start: Start, gate: Gate) -> None:
    """Some send it together with SIGTERM."""
    with start(gate.facts) as endpoint, endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        exchange.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        endpoint.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "finishes what is in flight" in endpoint.says())
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        gate.open()
        assert exchange.answer().predictions == [WAIT]
        connection.close()
        assert endpoint.process.wait(10) == 0


@pytest.mark.thorough
def test_a_hang_up_that_was_ignored_before_stays_ignored(tmp_path: Path) -> None:
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process, ready = launch(described({}, {}), tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert os.read(ready, 4096)
    os.close(ready)
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.terminate()
    assert process.wait(10) == 0
