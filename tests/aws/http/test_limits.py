"""Limits of heads, connections and time, on a server of uvicorn with an application that only answers."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from servefit.aws.http import server as limits
from servefit.aws.http.server import limited_server

pytestmark = pytest.mark.integration

BEGIN = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: "
WHOLE = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = WHOLE.replace(b"/ ", b"/slow ", 1)
SOON_S = 0.3
Connect = Callable[[], socket.socket]


async def answers(scope: Any, receive: Any, send: Any) -> None:
    """An application that takes its time where the path says so."""
    await asyncio.sleep(3 * SOON_S if scope["path"] == "/slow" else 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving() -> Iterator[Connect]:
    """A server in a thread, and a function that connects to it."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = limited_server(answers)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(listening.getsockname(), timeout=30))

        try:
            yield connect
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_HEAD_S", SOON_S)
    monkeypatch.setattr(limits, "MAX_IDLE_S", SOON_S)


def received(connection: socket.socket) -> bytes:
    """What comes until the other end closes."""
    found = b""
    try:
        while part := connection.recv(65536):
            found += part
    except ConnectionResetError:
        pass
    return found


def asked(connection: socket.socket, request: bytes = WHOLE) -> bytes:
    connection.sendall(request)
    found = b""
    while not found.endswith(b"\r\n\r\nok"):
        part = connection.recv(65536)
        assert part, found
        found += part
    return found


def test_a_head_without_end_is_cut_off_and_others_get_answers() -> None:
    with serving() as connect:
        endless = connect()
        endless.sendall(BEGIN)
        with pytest.raises(ConnectionError):
            endless.sendall(b"a" * 300_000_000)
        assert asked(connect()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(("size", "status"), [(60_000, b"200"), (400_000, b"400")])
def test_a_head_has_a_limit_and_one_that_is_within_it_is_taken(size: int, status: bytes) -> None:
    with serving() as connect:
        connection = connect()
        connection.sendall(BEGIN + b"a" * size + b"\r\nConnection: close\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(("lines", "status"), [(200, b"200"), (300, b"400"), (15_000, b"400")])
def test_the_lines_of_a_head_are_bounded_however_short_they_are(lines: int, status: bytes) -> None:
    with serving() as connect:
        connection = connect()
        connection.sendall(WHOLE[:-2] + b"a: b\r\n" * lines + b"Connection: close\r\n\r\n")
        assert received(connection).startswith(b"HTTP/1.1 " + status)


def in_chunks(path: bytes, chunk: bytes, count: int) -> bytes:
    head = b"PUT " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(chunk), chunk) * count + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("size", "count", "status"),
    [pytest.param(1, 200, b"200", marks=pytest.mark.thorough), (1, 1000, b"400"), (300, 1000, b"200")],
)
def test_the_chunks_of_a_body_are_bounded_and_long_ones_are_not(size: int, count: int, status: bytes) -> None:
    with serving() as connect:
        connection = connect()
        connection.sendall(in_chunks(b"/slow", b"a" * size, count))
        assert received(connection).startswith(b"HTTP/1.1 " + status)


def test_what_is_no_chunk_after_the_answer_was_begun_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as connect:
        connection = connect()
        begun = WHOLE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
        assert asked(connection, begun).startswith(b"HTTP/1.1 200")
        connection.sendall(b"no chunk\r\n")
        assert received(connection) == b""
        assert asked(connect()).startswith(b"HTTP/1.1 200")
    assert "Fatal error" not in caplog.text


@pytest.mark.timed
@pytest.mark.usefixtures("soon")
def test_heads_that_are_not_whole_in_time_are_closed() -> None:
    with serving() as connect:
        half = [connect() for _ in range(100)]
        for number, connection in enumerate(half):
            connection.sendall(BEGIN[:number])
        assert [received(connection) for connection in half] == [b""] * len(half)
        assert asked(connect()).startswith(b"HTTP/1.1 200")


@pytest.mark.timed
@pytest.mark.usefixtures("soon")
def test_a_head_that_comes_byte_by_byte_has_no_longer() -> None:
    with serving() as connect:
        dripping = connect()
        for _ in range(300):
            dripping.sendall(b"a")
            if select.select([dripping], [], [], SOON_S / 10)[0]:
                break
        assert dripping.recv(1) == b""


@pytest.mark.timed
@pytest.mark.usefixtures("soon")
def test_half_a_head_after_an_answer_is_closed_too() -> None:
    with serving() as connect:
        connection = connect()
        asked(connection)
        connection.sendall(BEGIN)
        assert received(connection) == b""


@pytest.mark.timed
@pytest.mark.usefixtures("soon")
def test_a_request_whose_answer_takes_longer_than_heads_may_is_answered() -> None:
    with serving() as connect:
        assert asked(connect(), SLOW).startswith(b"HTTP/1.1 200")
        # The second is there before the first is answered.
        connection = connect()
        connection.sendall(WHOLE + SLOW)
        found = b""
        while found.count(b"\r\n\r\nok") < 2:
            part = connection.recv(65536)
            assert part, found
            found += part


def test_requests_on_more_connections_than_are_allowed_are_told_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CONNECTIONS", 3)
    with serving() as connect:
        assert asked(connect()).startswith(b"HTTP/1.1 200")
        connect().sendall(WHOLE)
        third = connect()
        third.sendall(WHOLE)
        assert received(third).startswith(b"HTTP/1.1 503")
