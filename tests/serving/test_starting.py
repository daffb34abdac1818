"""How an endpoint starts, and why it may not."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from tests.serving.conftest import Exchange, described, eventually, launch

if TYPE_CHECKING:
    from tests.serving.conftest import Start

pytestmark = pytest.mark.integration


def test_an_endpoint_is_ready_when_every_worker_has_loaded_and_not_before(tmp_path: Path) -> None:
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


def test_the_environment_is_there_before_the_artifact_is_loaded(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOUR", "blue")
    told = tmp_path / "environment"
    with start({"writes_environment": str(told)}, environment=(("COLOUR", "red"), ("OMP_NUM_THREADS", "3"))):
        assert told.read_text() == "3 blue"


def test_what_a_model_refuses_while_it_warms_up_is_for_the_requests_to_hear(start: Start) -> None:
    with start({"refused_rows": 4}, max_batch=4) as endpoint:
        rows = [[1.0, 2.0, 3.0]] * 4
        answers = [
            endpoint.ask(
                "POST", "/invocations", json.dumps(rows[:count]).encode(), {"content-type": "application/json"}
            )
            for count in (3, 4)
        ]
    assert [answer.status for answer in answers] == [200, 400]
    assert b"the model refuses these rows: 4 are the wrong number" in answers[1].body


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


def test_a_signal_in_the_first_moments_is_heard_and_no_worker_is_left(tmp_path: Path) -> None:
    """It comes as soon as the process catches it, long before the endpoint serves."""
    process, ready = launch(described({"loads_s": 60}, {}, workers=2), tmp_path)
    status = Path(f"/proc/{process.pid}/status")

    def catches_it() -> bool:
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
        return bool(caught >> (signal.SIGTERM - 1) & 1)

    try:
        assert eventually(catches_it)
        assert psutil.Process(process.pid).children() == []
        process.terminate()
        assert process.wait(10) == 0
        assert os.read(ready, 10) == b""
    finally:
        process.kill()
        process.wait()
        os.close(ready)
