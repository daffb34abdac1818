"""Health checks while workers cannot answer: all of them are in a call of the predictor, or none is ready."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import NAME, Exchange, ask_on, eventually, invocation
from tests.serving.obedient_predictor import WAIT

from servefit.serving.probes import check_in
from servefit.serving.routing import Action

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serving.conftest import Running, Start
    from tests.serving.obedient_predictor import Gate

PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"


def checked(endpoint: Running, path: str, method: str = "GET", *, within_s: float = 10) -> tuple[int, bytes]:
    """The answer to one check."""
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=within_s)
    try:
        answer = ask_on(connection, method, path)
    finally:
        connection.close()
    return answer.status, answer.body


@pytest.mark.integration
def test_health_checks_are_answered_while_all_workers_are_in_a_call(start: Start, gate: Gate) -> None:
    with start(gate.facts, workers=2) as endpoint, ExitStack() as stack:
        busy = [Exchange(socket=stack.enter_context(endpoint.connect())) for _ in range(2)]
        for exchange in busy:
            exchange.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 2)
        silent = Exchange(socket=stack.enter_context(endpoint.connect()))
        assert checked(endpoint, "/ping") == (200, b"")
        assert checked(endpoint, "/ping", "HEAD") == (200, b"")
        assert checked(endpoint, "/v2/health/live") == (200, b'{"live":true}')
        assert checked(endpoint, "/v2/health/ready?verbose") == (200, b'{"ready":true}')
        assert checked(endpoint, f"/v2/models/{NAME}/ready") == (200, b'{"name":"obedient","ready":true}')
        silent.send(PING)
        answer = silent.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert silent.is_closed()
        gate.open()
        assert [exchange.answer().status for exchange in busy] == [200, 200]


@pytest.mark.timed
def test_while_all_workers_are_in_a_call_a_health_check_takes_less_than_the_second_of_kubernetes(
    start: Start, gate: Gate
) -> None:
    with start(gate.facts) as endpoint, endpoint.connect() as connection:
        busy = Exchange(socket=connection)
        busy.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        assert checked(endpoint, "/ping", within_s=1) == (200, b"")
        gate.open()
        assert busy.answer().status == 200


@pytest.mark.integration
def test_what_is_no_health_check_waits_for_a_worker(start: Start, gate: Gate) -> None:
    with start(gate.facts) as endpoint, ExitStack() as stack:
        busy = Exchange(socket=stack.enter_context(endpoint.connect()))
        busy.send(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        waiting = [Exchange(socket=stack.enter_context(endpoint.connect())) for _ in range(5)]
        for exchange, sent in zip(
            waiting, (invocation(2.0), PING * 2, PING[:-2], b"", b"nonsense\r\n\r\n"), strict=True
        ):
            exchange.send(sent)
        # By when the supervisor answers this one, it has seen the others.
        assert checked(endpoint, "/ping") == (200, b"")
        gate.open()
        assert busy.answer().predictions == [WAIT]
        assert waiting[0].answer().predictions == [2.0]
        assert [waiting[1].answer().status for _ in range(2)] == [200, 200]
        waiting[2].send(b"\r\n")
        assert waiting[2].answer().status == 200
        waiting[3].send(invocation(3.0))
        assert waiting[3].answer().predictions == [3.0]
        assert waiting[4].answer().status == 400


@pytest.mark.integration
@pytest.mark.thorough
def test_an_endpoint_whose_workers_cannot_be_started_goes_on_trying_says_so_and_serves_again(
    start: Start, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    with start({"broken_by": str(broken)}) as endpoint:
        broken.touch()
        os.kill(endpoint.pids[1], signal.SIGKILL)
        assert eventually(lambda: endpoint.says().count("no such library; install it; it is replaced") >= 3)
        assert checked(endpoint, "/v2/health/live") == (200, b'{"live":true}')
        for path in ("/ping", "/v2/health/ready", f"/v2/models/{NAME}/ready"):
            status, body = checked(endpoint, path)
            assert (status, b"no worker is ready, try again later" in body) == (503, True)
        with endpoint.connect(timeout_s=20) as connection:
            waiting = Exchange(socket=connection)
            waiting.send(invocation(1.0))
            broken.unlink()
            assert waiting.answer().predictions == [1.0]


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (PING, (Action.PING, False)),
        (b"HEAD /v2/models/a-b/ready HTTP/1.0\r\nhost: a\r\nA: \r\n\r\n", (Action.MODEL_READY, True)),
        (PING[:-2], None),
        (PING + b"G", None),
        (b"POST /ping HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nA: b\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nHOST: b\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-length: 0\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nContent-length : 1\r\n\r\n", None),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nA: b\n\r\n\r\n", None),
        (b"GET /ping HTTP/2\r\nHost: a\r\n\r\n", None),
    ],
)
def test_a_head_is_a_check_if_it_can_mean_nothing_else(head: bytes, found: tuple[Action, bool] | None) -> None:
    assert check_in(head, "a_b") == found
