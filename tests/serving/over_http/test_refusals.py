"""Requests that break the rules of HTTP or a limit: refused with a status, and the connection is closed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.serving.conftest import Exchange, invocation, row
from tests.serving.over_http.conftest import CHUNKED, PING, POST

if TYPE_CHECKING:
    from tests.serving.conftest import Running

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", [b"Connection", b"transfer-encoding", b"Content-Length", b"Host", b"Upgrade"])
def test_what_says_where_a_request_ends_is_refused_behind_its_body(name: bytes, exchange: Exchange) -> None:
    body = row(7.0)
    exchange.send(CHUNKED + b"%x\r\n%b\r\n0\r\n%b: close\r\n\r\n" % (len(body), body, name) + PING)
    answer = exchange.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert exchange.is_closed(), "what follows is not read as a request"


def test_a_client_with_too_long_a_body_is_not_told_to_continue(exchange: Exchange) -> None:
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n")
    assert exchange.answer().status == 413
    assert exchange.is_closed()


def test_other_expectations_are_not_met(exchange: Exchange) -> None:
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n")
    assert exchange.answer().status == 417
    assert exchange.is_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /ping\r\n\r\n", 505),
        (b"GET /ping HTTP/0.9\r\n\r\n", 505),
        (b"GET /ping HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /ping HTTP/1.1\nHost: a\n\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", 400),
        (b"GET /ping HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (POST + b"Content-Length: +3\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /ping HTTP/3.1\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n", 413),
        (b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + b"1" * 100_001, 413),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, bytes) else None,
)
def test_what_cannot_be_read_is_refused_and_the_connection_closed(exchange: Exchange, sent: bytes, status: int) -> None:
    exchange.send(invocation(1.0) + sent)
    assert exchange.answer().predictions == [1.0]
    refusal = exchange.answer()
    assert (refusal.status, refusal.headers["connection"]) == (status, "close")
    assert b'{"error":"' in refusal.body
    assert exchange.is_closed()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 70_000,
        b"GET /ping HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 70_000,
        b"GET /ping HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 101,
        b"GET /ping HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 70_000 + b"\r\n\r\n",
        PING + b"GET /ping HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 70_000,
        CHUNKED + b"0\r\nTrailer: " + b"a" * 70_000,
        CHUNKED + b"0\r\n" + b"A: b\r\n" * 101,
        CHUNKED + b"C350\r\n" + b" " * 50_000 + b"\r\n0\r\nTrailer: " + b"a" * 70_000,
        CHUNKED + b"1;extension=" + b"a" * 70_000,
    ],
    ids=["target", "header", "headers", "whole", "ahead", "trailer", "trailers", "after a body", "extension"],
)
def test_endless_heads_are_refused(exchange: Exchange, sent: bytes) -> None:
    exchange.send(sent)
    if sent.startswith(PING):
        assert exchange.answer().status == 200
    assert exchange.answer().status == 431
    assert exchange.is_closed()


def test_a_huge_body_is_refused_while_it_comes_and_takes_no_memory(endpoint: Running, exchange: Exchange) -> None:
    """The client sends all of it before it reads, and gets its answer still."""
    before_bytes = endpoint.resident_bytes()
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        exchange.send(b"100000\r\n" + b"1" * 2**20 + b"\r\n")
    assert exchange.answer().status == 413
    assert endpoint.resident_bytes() - before_bytes < 10 * 2**20


REFUSED = (b"400", b"404", b"405", b"406", b"408", b"411", b"413", b"415", b"417", b"431", b"501", b"505")

_HEADERS = st.sampled_from(
    [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close", b"Expect: 100-continue", b"Host: a"]
)

_ALMOST = st.builds(
    lambda method, target, version, headers, body: (
        b"%b %b %b\r\n%b\r\n%b" % (method, target, version, b"".join(header + b"\r\n" for header in headers), body)
    ),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"M-SEARCH", b""]),
    st.sampled_from([b"/ping", b"/invocations", b"/v2", b"*", b"//", b"/%zz", b"http://a", b"/v2/models//infer"]),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/9", b""]),
    st.lists(_HEADERS | st.binary(max_size=20), max_size=4),
    st.binary(max_size=20),
)


@settings(
    max_examples=examples(25, drawn=100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(_ALMOST | st.binary(max_size=200), min_size=1, max_size=4))
def test_whatever_comes_is_answered_without_a_5xx(endpoint: Running, pieces: list[bytes]) -> None:
    with endpoint.connect() as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            # An empty line ends what may be ended, and the end of what is sent ends the rest.
            connection.sendall(b"\r\n\r\n")
            connection.shutdown(1)
            received = b""
            while chunk := connection.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
    assert set(re.findall(rb"HTTP/1.1 (\d{3})", received)) <= {b"100", b"200", *REFUSED}
