"""HTTP as clients of all kinds speak it, written by hand on sockets."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.conftest import Exchange, eventually, invocation, row
from tests.serving.obedient_predictor import SLEEP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Running, Start

READ_TIMEOUT_S = 0.8
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def endpoint(start: Start) -> Iterator[Running]:
    limits = {
        "body_bytes": 100_000,
        "buffered_bytes": 250_000,
        "read_timeout_s": READ_TIMEOUT_S,
        "idle_timeout_s": 1.0,
        "queued_requests": 2000,
    }
    with start(limits=limits, max_batch=8) as running:
        yield running
        assert running.metric("servefit_worker_restarts_total") == 0
        assert "failed with" not in running.says()


@pytest.fixture
def exchange(endpoint: Running) -> Iterator[Exchange]:
    with endpoint.connect() as connection:
        yield Exchange(socket=connection)


def test_a_connection_is_kept_for_the_next_request(exchange: Exchange) -> None:
    for value in (1.0, 2.0, 3.0):
        exchange.send(invocation(value))
        answer = exchange.answer()
        assert (answer.status, answer.predictions) == (200, [value])
        assert "connection" not in answer.headers


def test_an_answer_says_how_long_the_model_took_and_when_it_was_sent(exchange: Exchange) -> None:
    exchange.send(invocation(1.0))
    headers = exchange.answer().headers
    assert re.fullmatch(r"queue;dur=\d+\.\d{3}, predict;dur=\d+\.\d{3}", headers["server-timing"])
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d gmt", headers["date"])


def test_a_client_that_wants_the_connection_closed_gets_that(exchange: Exchange) -> None:
    exchange.send(invocation(1.0, headers=b"Connection: close\r\n"))
    assert exchange.answer().headers["connection"] == "close"
    assert exchange.is_closed()


def test_http_1_0_closes_unless_the_client_asks_otherwise(endpoint: Running, exchange: Exchange) -> None:
    exchange.send(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert exchange.answer().headers["connection"] == "keep-alive"
    exchange.send(b"GET /ping HTTP/1.0\r\n\r\n")
    assert exchange.answer().headers["connection"] == "close"
    assert exchange.is_closed()


def test_requests_sent_ahead_are_answered_in_their_order(exchange: Exchange) -> None:
    """Pings are answered at once, and still wait for the predictions before them."""
    nowhere = PING.replace(b"ping", b"nowhere")
    exchange.send(invocation(1.0) + PING + invocation(2.0) + nowhere + invocation(3.0))
    answers = [exchange.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200]
    assert [answer.predictions for answer in answers[::2]] == [[1.0], [2.0], [3.0]]


def test_very_many_requests_can_be_sent_ahead(exchange: Exchange) -> None:
    """More than are taken at once; the rest waits in the socket."""
    values = [float(number) for number in range(1500)]
    sending = threading.Thread(target=exchange.send, args=(b"".join(invocation(value) for value in values),))
    sending.start()
    assert [exchange.answer().predictions for _ in values] == [[value] for value in values]
    sending.join()
    exchange.send(PING * 1000)
    assert {exchange.answer().status for _ in range(1000)} == {200}


def test_a_request_may_come_byte_by_byte(exchange: Exchange) -> None:
    for byte in invocation(5.0):
        exchange.send(bytes([byte]))
    assert exchange.answer().predictions == [5.0]


def test_a_body_may_come_in_chunks(exchange: Exchange) -> None:
    exchange.send(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in row(7.0)) + b"0\r\n\r\n" + PING)
    assert exchange.answer().predictions == [7.0]
    assert exchange.answer().status == 200


def test_what_follows_the_body_does_not_become_a_header(exchange: Exchange) -> None:
    trailers = b"Content-Type: application/x-npy\r\nAccept: text/csv\r\nExpect: miracles\r\n"
    body = row(7.0)
    exchange.send(CHUNKED + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, trailers) + PING)
    answer = exchange.answer()
    assert (answer.status, answer.headers["content-type"], answer.predictions) == (200, "application/json", [7.0])
    assert exchange.answer().status == 200


@pytest.mark.parametrize("name", [b"Connection", b"transfer-encoding", b"Content-Length", b"Host", b"Upgrade"])
def test_what_says_where_a_request_ends_is_refused_behind_its_body(name: bytes, exchange: Exchange) -> None:
    body = row(7.0)
    exchange.send(CHUNKED + b"%x\r\n%b\r\n0\r\n%b: close\r\n\r\n" % (len(body), body, name) + PING)
    answer = exchange.answer()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert exchange.is_closed(), "what follows is not read as a request"


def test_head_gets_the_head_of_the_answer(exchange: Exchange) -> None:
    exchange.send(b"HEAD /v2 HTTP/1.1\r\nHost: a\r\n\r\n" + PING)
    until = exchange.socket.recv(65_536)
    while until.count(b"\r\n\r\n") < 2:
        until += exchange.socket.recv(65_536)
    first, second, _ = until.split(b"\r\n\r\n")
    assert b"content-length: 0" not in first
    assert second.startswith(b"HTTP/1.1 200 OK")


def test_a_client_is_told_to_continue_before_it_sends_the_body(exchange: Exchange) -> None:
    body = row(4.0)
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    exchange.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
    assert exchange.answer().status == 100
    exchange.send(body)
    assert exchange.answer().predictions == [4.0]


def test_continue_waits_for_the_answers_before_it(exchange: Exchange) -> None:
    body = row(4.0)
    head = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
    exchange.send(invocation(1.0) + head + b"Content-Length: %d\r\n\r\n" % len(body))
    assert [exchange.answer().status, exchange.answer().status] == [200, 100]
    exchange.send(body)
    assert exchange.answer().predictions == [4.0]


def test_a_client_with_too_long_a_body_is_not_told_to_continue(exchange: Exchange) -> None:
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n")
    assert exchange.answer().status == 413
    assert exchange.is_closed()


def test_other_expectations_are_not_met(exchange: Exchange) -> None:
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\nContent-Length: 2\r\n\r\n")
    assert exchange.answer().status == 417
    assert exchange.is_closed()


def test_an_offer_of_http_2_is_answered_in_http_1_1(exchange: Exchange) -> None:
    """Java's client makes one with every first request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    exchange.send(invocation(6.0, headers=offer))
    assert exchange.answer().predictions == [6.0]
    exchange.send(invocation(7.0) + PING)
    assert exchange.answer().predictions == [7.0]
    assert exchange.answer().status == 200


def test_a_target_may_name_the_host_and_have_a_query(exchange: Exchange) -> None:
    exchange.send(b"GET http://endpoint/ping?now=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /ping?x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [exchange.answer().status, exchange.answer().status] == [200, 200]


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


def test_long_heads_are_read_as_long_as_they_are_within_the_limits(exchange: Exchange) -> None:
    lines = b"".join(b"A%d: %b\r\n" % (number, b"a" * 600) for number in range(98))
    for _ in range(2):
        exchange.send(invocation(8.0, headers=b"Cookie: " + b"a" * 65_000 + b"\r\n"))
        assert exchange.answer().predictions == [8.0]
    exchange.send(b"GET /ping HTTP/1.1\r\nHost: a\r\n")
    exchange.send(lines[:30_000])
    exchange.send(lines[30_000:] + b"\r\n")
    assert exchange.answer().status == 200


def test_http_1_0_needs_no_host_and_is_not_told_to_continue(exchange: Exchange) -> None:
    body = row(9.0)
    exchange.send(
        b"POST /invocations HTTP/1.0\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    time.sleep(0.05)
    exchange.send(body)
    answer = exchange.answer()
    assert (answer.status, answer.predictions, answer.headers["connection"]) == (200, [9.0], "close")
    assert exchange.is_closed()


def test_a_huge_body_is_refused_while_it_comes_and_takes_no_memory(endpoint: Running, exchange: Exchange) -> None:
    """The client sends all of it before it reads, and gets its answer still."""
    before_bytes = endpoint.resident_bytes()
    exchange.send(b"POST /invocations HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(100):
        exchange.send(b"100000\r\n" + b"1" * 2**20 + b"\r\n")
    assert exchange.answer().status == 413
    assert endpoint.resident_bytes() - before_bytes < 10 * 2**20


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
        assert READ_TIMEOUT_S <= took_s < 4 * READ_TIMEOUT_S


def test_a_connection_without_requests_is_closed_without_a_word(exchange: Exchange) -> None:
    began_s = time.monotonic()
    exchange.send(PING)
    exchange.answer()
    assert exchange.is_closed()
    assert 0.9 < time.monotonic() - began_s < 8


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
        assert eventually(lambda: endpoint.metric("servefit_connections") < open_before, within_s=8)


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


def test_requests_whose_clients_are_gone_are_not_predicted(endpoint: Running) -> None:
    """While a call goes on, twenty clients ask and leave. Those that a next call does not take at once are dropped."""
    before = endpoint.metric("servefit_requests_total")
    leaving = [endpoint.connect() for _ in range(20)]
    with endpoint.connect() as slow:
        slow.sendall(invocation(SLEEP, 0.3))
        time.sleep(0.1)
        for connection in leaving:
            connection.sendall(invocation(SLEEP, 0.05))
            connection.close()
        assert Exchange(socket=slow).answer().predictions == [SLEEP]
    assert endpoint.invoke(2.0).predictions == [2.0]
    assert 2 <= endpoint.metric("servefit_requests_total") - before < 20


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


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
