"""Clients that are slow, idle, gone, or too many."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Exchange, eventually, invocation, row
from tests.serving.obedient_predictor import SLEEP, WAIT
from tests.serving.over_http.conftest import PING, POST, READ_TIMEOUT_S

if TYPE_CHECKING:
    from tests.serving.conftest import Running
    from tests.serving.obedient_predictor import Gate

pytestmark = pytest.mark.integration


def test_clients_that_send_too_slowly_are_refused_and_others_are_served_meanwhile(endpoint: Running) -> None:
    """One drips its head, one its body."""

    def drip(begin: bytes, drop: bytes) -> tuple[int, float]:
        with endpoint.connect() as connection:
            began_s = time.monotonic()
            connection.sendall(begin)
            connection.settimeout(0.05)
            received = b""
            while not received:
                try:
                    received = connection.recv(1000)
                except TimeoutError:
                    connection.sendall(drop)
            return int(received.split()[1]), time.monotonic() - began_s

    with ThreadPoolExecutor(2) as pool:
        head = pool.submit(drip, b"GET /ping HTTP/1.1\r\nHost: a\r\n", b"A: b\r\n")
        body = pool.submit(drip, b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n", b"1")
        while not (head.done() and body.done()):
            assert endpoint.invoke(1.0).predictions == [1.0]
    for status, took_s in (head.result(), body.result()):
        assert status == 408
        assert took_s >= READ_TIMEOUT_S


def test_a_connection_without_requests_is_closed_without_a_word(exchange: Exchange) -> None:
    began_s = time.monotonic()
    exchange.send(PING)
    exchange.answer()
    assert exchange.is_closed()
    assert time.monotonic() - began_s > 0.9


def test_a_client_that_does_not_read_its_answers_is_let_go(endpoint: Running) -> None:
    """It asks for more than sockets hold, and reads nothing."""
    with endpoint.connect() as connection:
        connection.settimeout(0.2)
        open_before = endpoint.metric("servefit_connections")
        try:
            while True:
                connection.sendall(b"GET /v2/models/obedient/config HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        except (TimeoutError, ConnectionError):
            pass
        assert eventually(lambda: endpoint.metric("servefit_connections") < open_before)


def test_bodies_that_come_together_are_bounded_together(endpoint: Running) -> None:
    """Three bodies of 90 % of the limit are more than is held of all at once."""
    with endpoint.connect() as first, endpoint.connect() as second, endpoint.connect() as third:
        for connection in (first, second):
            connection.sendall(POST + b"Content-Length: 99000\r\n\r\n" + b" " * 90_000)
        exchange = Exchange(socket=third)
        assert eventually(lambda: endpoint.ask("GET", "/ping").status == 200)
        exchange.send(POST + b"Content-Length: 99000\r\n\r\n" + b" " * 90_000)
        answer = exchange.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    body = b" " * 90_000 + row(1.5)
    answer = endpoint.ask("POST", "/invocations", body, {"content-type": "application/json"})
    assert answer.predictions == [1.5]


def test_requests_whose_clients_are_gone_are_not_predicted(endpoint: Running, gate: Gate) -> None:
    """While a call goes on, twenty clients ask and leave. Those that a next call does not take at once are dropped."""
    before = endpoint.metric("servefit_requests_total")
    leaving = [endpoint.connect() for _ in range(20)]
    with endpoint.connect() as slow:
        slow.sendall(invocation(WAIT))
        assert eventually(lambda: gate.waiting == 1)
        for connection in leaving:
            connection.sendall(invocation(SLEEP, 0.05))
            connection.close()
        gate.open()
        assert Exchange(socket=slow).answer().predictions == [WAIT]
    assert endpoint.invoke(2.0).predictions == [2.0]
    assert 2 <= endpoint.metric("servefit_requests_total") - before < 20
