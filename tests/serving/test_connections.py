"""More clients than an endpoint serves, and clients that hold connections without sending anything."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Exchange, eventually, invocation

from servefit.serving.admission import SPARE_CONNECTIONS

if TYPE_CHECKING:
    from tests.serving.conftest import Running, Start

pytestmark = pytest.mark.integration

BEGUN = b"GET /ping HTTP/1.1\r\nHost: a\r\n"
PING = BEGUN + b"\r\n"
QUICK_LOOKS = {"read_timeout_s": 0.8}
"""Connections are looked at four times in the shortest limit."""


class Crowd:
    """Connections to an endpoint, closed together."""

    def __init__(self, endpoint: Running, stack: ExitStack) -> None:
        self._endpoint = endpoint
        self._stack = stack

    def join(self, sent: bytes = b"") -> Exchange:
        exchange = Exchange(socket=self._stack.enter_context(self._endpoint.connect()))
        exchange.send(sent)
        return exchange


def is_open(exchange: Exchange) -> bool:
    exchange.socket.settimeout(0.05)
    try:
        return bool(exchange.socket.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return True
    except ConnectionError:
        return False


@pytest.mark.thorough
def test_at_the_limit_the_longest_idle_connection_makes_place_for_a_new_one(start: Start) -> None:
    with start(limits={"connections": 2, **QUICK_LOOKS}) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        first = crowd.join()
        two = crowd.join(invocation(2.0))
        assert two.answer().predictions == [2.0]
        first.send(invocation(1.0))
        assert first.answer().predictions == [1.0]
        time.sleep(0.5)
        # Since then it has been idle for shorter than the other, which came later.
        first.send(invocation(1.0))
        assert first.answer().predictions == [1.0]
        time.sleep(0.5)
        three = crowd.join(invocation(3.0))
        assert three.answer().predictions == [3.0]
        assert two.is_closed()
        first.send(invocation(1.0))
        assert first.answer().predictions == [1.0]


def test_thousands_of_idle_connections_shut_nobody_out(start: Start) -> None:
    """Here hundreds, at a limit that is lower."""
    with start(workers=2, limits={"connections": 50}) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        for _ in range(300):
            crowd.join()
        for value in (1.0, 2.0, 3.0):
            assert endpoint.invoke(value).predictions == [value]
        assert eventually(lambda: endpoint.metric("servefit_connections") <= 2 * (50 + SPARE_CONNECTIONS))


def test_empty_lines_keep_no_connection_open(start: Start) -> None:
    with start(limits={"idle_timeout_s": 0.8}) as endpoint, endpoint.connect() as connection:
        began_s = time.monotonic()
        exchange = Exchange(socket=connection)

        def is_closed_after_one_more() -> bool:
            with suppress(ConnectionError):
                exchange.send(b"\r\n")
            return not is_open(exchange)

        assert eventually(is_closed_after_one_more)
        assert time.monotonic() - began_s > 0.5


def test_beyond_the_limit_health_and_metrics_are_answered_and_all_else_is_told_to_come_back(start: Start) -> None:
    with start(limits={"connections": 1}) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        busy = crowd.join(BEGUN)
        assert eventually(lambda: endpoint.metric("servefit_connections") == 2)
        for path in ("/ping", "/v2/health/live", "/v2/health/ready", "/v2/models/obedient/ready", "/metrics"):
            answer = endpoint.ask("GET", path)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        refused = crowd.join(invocation(1.0) + invocation(2.0))
        answer = refused.answer()
        assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
        assert refused.is_closed()
        waiting = crowd.join()
        assert is_open(waiting)
        busy.send(b"\r\n")
        assert busy.answer().status == 200
        busy.socket.close()
        time.sleep(0.2)
        # There is room by now.
        for value in (3.0, 4.0):
            waiting.send(invocation(value))
            answer = waiting.answer()
            assert (answer.predictions, answer.headers.get("connection")) == ([value], None)


def test_clients_that_sit_on_the_places_beyond_the_limit_are_put_out_by_later_ones(start: Start) -> None:
    with start(limits={"connections": 1}) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        crowd.join(BEGUN)
        assert eventually(lambda: endpoint.metric("servefit_connections") == 2)
        idle = [crowd.join() for _ in range(2 * SPARE_CONNECTIONS)]
        assert endpoint.ask("GET", "/ping").status == 200
        assert all(exchange.is_closed() for exchange in idle[:SPARE_CONNECTIONS])
        assert is_open(idle[-1])
        idle[-1].send(PING)
        assert idle[-1].answer().status == 200


def test_heads_that_are_not_complete_are_bounded_together_and_whole_requests_are_served_meanwhile(
    start: Start,
) -> None:
    limits = {"unfinished_heads_bytes": 200_000, "head_bytes": 60_000}
    with start(limits=limits) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        held = [crowd.join(BEGUN + b"Cookie: " + b"a" * 50_000) for _ in range(3)]
        assert eventually(lambda: endpoint.metric("servefit_connections") == 4)
        time.sleep(0.1)
        too_many = [crowd.join(BEGUN + b"".join(b"A%d: %b\r\n" % (line, b"a" * 500) for line in range(99)))]
        too_many.append(crowd.join(BEGUN + b"Cookie: " + b"a" * 55_000))
        for exchange in too_many:
            answer = exchange.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert endpoint.invoke(1.0).predictions == [1.0]
        for exchange in held:
            exchange.send(b"\r\n\r\n")
            assert exchange.answer().status == 200
        assert crowd.join(BEGUN + b"Cookie: " + b"a" * 50_000 + b"\r\n\r\n").answer().status == 200


@pytest.mark.thorough
def test_what_unfinished_heads_take_is_bounded_and_given_back(start: Start) -> None:
    limits = {"unfinished_heads_bytes": 2**20}
    with start(limits=limits) as endpoint, ExitStack() as stack:
        crowd = Crowd(endpoint, stack)
        for _ in range(20):
            endpoint.ask("GET", "/ping")
        before_bytes = endpoint.resident_bytes()
        kinds = (b"Cookie: " + b"a" * 62_000, b"".join(b"A%d: %b\r\n" % (line, b"a" * 650) for line in range(95)))
        # 100 MB in all. What is refused is gone a moment later, so the first look may find some of it.
        for kind in 4 * kinds:
            for _ in range(200):
                crowd.join(BEGUN + kind)
        assert endpoint.ask("GET", "/ping").status == 200
        assert eventually(lambda: endpoint.resident_bytes() - before_bytes < 14 * 2**20)
        stack.close()
        assert eventually(lambda: endpoint.metric("servefit_connections") == 1)
        assert eventually(lambda: endpoint.resident_bytes() - before_bytes < 8 * 2**20)
