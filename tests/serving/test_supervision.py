"""The processes of an endpoint: how it begins, spreads its work, loses workers, and stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.serving.conftest import Exchange, ask_on, described, eventually, invocation, is_gone, launch, row
from tests.serving.obedient_predictor import DIE, RAISE, SLEEP, TELL_CALL, TELL_PROCESS

if TYPE_CHECKING:
    from tests.serving.conftest import Running, Start

JSON = {"content-type": "application/json"}


class Clients:
    """Threads that invoke again and again, on connections that they keep or on a new one for every request."""

    def __init__(self, endpoint: Running, *, keeping: int, fresh: int) -> None:
        self.endpoint = endpoint
        self.statuses: Counter[int] = Counter()
        self.lost: list[str] = []
        """Requests that were sent on a connection that was accepted, and got no answer."""
        self._over = threading.Event()
        targets = [self._keep] * keeping + [self._renew] * fresh
        self._threads = [threading.Thread(target=target) for target in targets]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _keep(self) -> None:
        while not self._over.is_set():
            connection = self._connected()
            while connection is not None and not self._over.is_set() and self._ask(connection):
                pass
            if connection is not None:
                connection.close()

    def _renew(self) -> None:
        while not self._over.is_set():
            connection = self._connected()
            if connection is not None:
                self._ask(connection)
                connection.close()

    def _connected(self) -> http.client.HTTPConnection | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.endpoint.port, timeout=10)
        try:
            connection.connect()
        except ConnectionError:
            time.sleep(0.005)
            return None
        connection.auto_open = 0  # it would hide that a kept connection was closed
        return connection

    def _ask(self, connection: http.client.HTTPConnection) -> bool:
        """Whether another request may follow on this connection."""
        try:
            answer = ask_on(connection, "POST", "/invocations", row(1.0), JSON)
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
            return False
        self.statuses[answer.status] += 1
        return answer.headers.get("connection") != "close"


def test_it_is_ready_when_every_worker_has_loaded_and_not_before(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began_s = time.monotonic()
    process, ready = launch(described({"loads_s": 0.5}, {}, workers=2), tmp_path, "--port", str(port))
    try:
        while time.monotonic() - began_s < 0.4:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            time.sleep(0.05)
        told = json.loads(os.read(ready, 4096))
        assert time.monotonic() - began_s > 0.5
        assert told["port"] == port
        assert len(set(told["pids"])) == 3
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            assert Exchange(socket=connection).answer().status == 200
    finally:
        process.terminate()
        assert process.wait(10) == 0
        os.close(ready)


def test_connections_are_spread_evenly_and_every_worker_tells_of_all(start: Start) -> None:
    with start(workers=2) as endpoint:
        kept = [Exchange(socket=endpoint.connect()) for _ in range(16)]
        processes: Counter[float] = Counter()
        for exchange in kept:
            exchange.send(invocation(TELL_PROCESS))
            processes[exchange.answer().predictions[0]] += 1
        assert processes == {float(pid): 8 for pid in endpoint.pids[1:]}
        # Those that leave make room where they were.
        for exchange in kept[::2]:
            exchange.socket.close()
        assert eventually(lambda: endpoint.metric("servefit_connections") == 9)
        for exchange in kept[1::2]:
            exchange.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b'servefit_requests_total{model="obedient"} 16.0' in exchange.answer().body
            exchange.socket.close()


def test_batches_join_requests_of_many_connections(start: Start) -> None:
    """While one call sleeps, others arrive, and one call serves them all."""
    with start(max_batch=16) as endpoint:
        kept = [Exchange(socket=endpoint.connect()) for _ in range(11)]
        kept[0].send(invocation(SLEEP, 0.3))
        time.sleep(0.1)
        for exchange in kept[1:]:
            exchange.send(invocation(TELL_CALL))
        assert kept[0].answer().predictions == [SLEEP]
        joined = [exchange.answer().predictions[0] for exchange in kept[1:]]
        for exchange in kept:
            exchange.socket.close()
        assert endpoint.metric("servefit_batches_total", requests=f"{max(joined):.0f}") >= 1
    # All ten, unless this process was held up for long.
    assert max(joined) > 2
    assert len(set(joined)) <= 2


def test_a_failing_prediction_is_a_500_and_the_worker_stays(start: Start) -> None:
    with start() as endpoint:
        for _ in range(3):
            answer = endpoint.invoke(RAISE)
            assert answer.status == 500
            assert json.loads(answer.body)["error"] == "the predictor failed with ValueError"
        assert endpoint.invoke(TELL_PROCESS).predictions == [endpoint.pids[1]]
        assert endpoint.metric("servefit_failed_requests_total") == 3
        assert endpoint.says().count("failed with ValueError: these rows are not to my taste") == 1


def test_sigterm_under_load_loses_nothing_that_was_accepted(start: Start) -> None:
    with start({"us": 300}, workers=2, max_batch=4) as endpoint:
        clients = Clients(endpoint, keeping=6, fresh=4)
        time.sleep(0.4)
        slow = Exchange(socket=endpoint.connect())
        slow.send(invocation(SLEEP, 0.5))
        time.sleep(0.05)
        began_s = time.monotonic()
        assert endpoint.stop() == 0
        assert time.monotonic() - began_s < 5
        clients.end()
        assert slow.answer().predictions == [SLEEP]
        slow.socket.close()
    assert clients.lost == []
    assert set(clients.statuses) == {200}
    assert clients.statuses[200] > 100


def test_while_it_stops_it_is_alive_and_not_ready_and_says_that_connections_end(start: Start) -> None:
    with start() as endpoint, endpoint.connect() as first, endpoint.connect() as second, endpoint.connect() as third:
        kept = [Exchange(socket=connection) for connection in (first, second, third)]
        for exchange in kept:
            exchange.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert "connection" not in exchange.answer().headers
        endpoint.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        asked = ((b"/ping", 200), (b"/v2/health/live", 200), (b"/v2/health/ready", 503))
        for exchange, (path, status) in zip(kept, asked, strict=True):
            exchange.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            answer = exchange.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
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
        time.sleep(0.6)
        late.send(invocation(2.0))
        assert late.answer().predictions == [2.0]
        late.socket.close()
        assert idle.is_closed()
        idle.socket.close()
        assert 0.9 < time.monotonic() - began_s < 4
        assert endpoint.process.wait(10) == 0


def test_a_stop_takes_no_longer_than_it_may_and_a_second_signal_ends_it_at_once(start: Start) -> None:
    with start(limits={"grace_s": 0.3}) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        began_s = time.monotonic()
        assert endpoint.stop() == 1
        assert time.monotonic() - began_s < 5
        assert endpoint.says().endswith("its time was up; what it had not answered is cut off\n")
    with start() as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        endpoint.process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        endpoint.process.send_signal(signal.SIGINT)
        assert endpoint.process.wait(5) == 1
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


def test_a_hang_up_is_a_graceful_stop_and_hurries_none(start: Start) -> None:
    """Some send it together with SIGTERM."""
    with start() as endpoint, endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        exchange.send(invocation(SLEEP, 0.5))
        time.sleep(0.1)
        endpoint.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "finishes what is in flight" in endpoint.says())
        endpoint.process.send_signal(signal.SIGHUP)
        endpoint.process.send_signal(signal.SIGTERM)
        assert exchange.answer().predictions == [SLEEP]
        connection.close()
        assert endpoint.process.wait(10) == 0


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


def test_a_signal_in_the_first_moments_is_heard_and_no_worker_is_left(tmp_path: Path) -> None:
    """It comes as soon as the process catches it, long before the endpoint serves."""
    process, ready = launch(described({"loads_s": 5}, {}, workers=2), tmp_path)
    status = Path(f"/proc/{process.pid}/status")

    def catches_it() -> bool:
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    try:
        assert eventually(catches_it)
        began_s = time.monotonic()
        assert psutil.Process(process.pid).children() == []
        process.terminate()
        assert process.wait(10) == 0
        assert time.monotonic() - began_s < 4
        assert os.read(ready, 10) == b""
    finally:
        process.kill()
        process.wait()
        os.close(ready)


def test_listening_beyond_this_machine_is_warned_of(start: Start, tmp_path: Path) -> None:
    with start() as endpoint:
        assert "authentication" not in endpoint.says()
    process, ready = launch(described({}, {}), tmp_path, "--host", "0.0.0.0")
    assert os.read(ready, 4096)
    os.close(ready)
    process.terminate()
    assert process.wait(10) == 0
    warned = "0.0.0.0 can be reached from other machines, and there is neither authentication nor TLS\n"
    assert warned in (tmp_path / "stderr").read_text()


def test_too_few_descriptors_for_the_limits_are_said_and_fewer_connections_are_kept(tmp_path: Path) -> None:
    process, ready = launch(described({}, {}), tmp_path, through=("sh", "-c", 'ulimit -n 500; exec "$@"', "sh"))
    assert os.read(ready, 4096)
    os.close(ready)
    process.terminate()
    assert process.wait(10) == 0
    [line] = [line for line in (tmp_path / "stderr").read_text().splitlines() if "ulimit" in line]
    assert line == (
        "servefit: only 500 files may be open, so a worker keeps 308 connections and not 4096; allow 4288 (ulimit -n)"
    )


def test_a_worker_killed_under_load_is_replaced_and_only_its_own_requests_fail(start: Start) -> None:
    with start({"us": 300}, workers=2) as endpoint:
        clients = Clients(endpoint, keeping=6, fresh=2)
        time.sleep(0.3)
        before = clients.statuses[200]
        victim = endpoint.pids[2]
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: endpoint.metric("servefit_worker_restarts_total") == 1)
        assert eventually(lambda: endpoint.metric("servefit_workers") == 2)
        time.sleep(0.3)
        clients.end()
        # Of eight clients half were the victim's, each with one request.
        assert len(clients.lost) <= 5
        assert set(clients.statuses) == {200}
        assert clients.statuses[200] > before + 50
        assert f"worker 2 (process {victim}): killed by SIGKILL; it is replaced" in endpoint.says()
        assert endpoint.metric("servefit_requests_total") >= clients.statuses[200]
        processes = {endpoint.invoke(TELL_PROCESS).predictions[0] for _ in range(20)}
        assert victim not in processes


def test_connections_that_a_dead_worker_had_not_taken_go_to_others(start: Start) -> None:
    """It is killed in a call, while clients that came later wait for it to look."""
    with start() as endpoint:
        with endpoint.connect() as doomed:
            doomed.sendall(invocation(SLEEP, 20))
            time.sleep(0.1)
            waiting = [Exchange(socket=endpoint.connect()) for _ in range(5)]
            for exchange in waiting:
                exchange.send(invocation(TELL_PROCESS))
            time.sleep(0.1)
            os.kill(endpoint.pids[1], signal.SIGKILL)
            answers = {exchange.answer().predictions[0] for exchange in waiting}
            for exchange in waiting:
                exchange.socket.close()
        assert len(answers) == 1
        assert endpoint.pids[1] not in answers


def test_a_request_that_kills_its_worker_again_and_again_does_not_end_the_endpoint(start: Start) -> None:
    with start() as endpoint:
        for _ in range(2):
            with endpoint.connect() as connection:
                connection.sendall(invocation(DIE))
                assert Exchange(socket=connection).is_closed()
        assert endpoint.invoke(1.0).predictions == [1.0]
        assert endpoint.metric("servefit_worker_restarts_total") == 2


def test_when_no_worker_can_be_started_any_more_it_ends(start: Start, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with start({"broken_by": str(broken)}) as endpoint:
        broken.touch()
        os.kill(endpoint.pids[1], signal.SIGKILL)
        assert endpoint.process.wait(30) == 4
        last = endpoint.says().splitlines()[-1]
        assert last.startswith("servefit: no worker can be started any more: worker 1")
        assert last.endswith("no such library; install it")


def test_killing_the_supervisor_leaves_nothing(start: Start) -> None:
    with start(workers=2) as endpoint, endpoint.connect() as connection:
        connection.sendall(invocation(SLEEP, 20))
        time.sleep(0.1)
        endpoint.process.kill()
        assert eventually(lambda: all(is_gone(pid) for pid in endpoint.pids[1:]), within_s=3)


def test_an_artifact_that_cannot_be_loaded_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    process, ready = launch(described({"broken_by": str(tmp_path / "broken")}, {}, workers=2), tmp_path)
    assert process.wait(20) == 4
    assert os.read(ready, 10) == b""
    os.close(ready)
    [line] = (tmp_path / "stderr").read_text().splitlines()
    assert line.endswith("obedient: no such library; install it")


def test_a_worker_that_crashes_while_it_loads_ends_it(tmp_path: Path) -> None:
    process, ready = launch(described({"crashes": True}, {}), tmp_path)
    assert process.wait(20) == 4
    os.close(ready)
    assert "killed by SIGSEGV" in (tmp_path / "stderr").read_text()


def test_an_address_in_use_is_said(start: Start, tmp_path: Path) -> None:
    with start() as endpoint:
        process, ready = launch(described({}, {}), tmp_path, "--port", str(endpoint.port))
        assert process.wait(20) == 2
        os.close(ready)
    [line] = (tmp_path / "stderr").read_text().splitlines()
    assert f"port: {endpoint.port} cannot be listened on at 127.0.0.1: Address already in use" in line


def test_the_environment_is_there_before_the_artifact_is_loaded(start: Start, tmp_path: Path) -> None:
    told = tmp_path / "environment"
    with start({"writes_environment": str(told)}, environment=(("COLOUR", "blue"), ("OMP_NUM_THREADS", "3"))):
        assert told.read_text() == "3 blue"


def test_a_group_wide_sigterm_is_a_graceful_stop_too(start: Start) -> None:
    """systemd and terminals send signals to all processes of a group."""
    with start() as endpoint, endpoint.connect() as connection:
        exchange = Exchange(socket=connection)
        exchange.send(invocation(SLEEP, 0.3))
        time.sleep(0.1)
        for pid in endpoint.pids:
            os.kill(pid, signal.SIGTERM)
        assert exchange.answer().predictions == [SLEEP]
        connection.close()
        assert endpoint.process.wait(10) == 0
