"""Requests as clients of all kinds send them over HTTP."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Exchange, invocation, row
from tests.serving.over_http.conftest import CHUNKED, PING

if TYPE_CHECKING:
    from tests.serving.conftest import Running

pytestmark = pytest.mark.integration


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
    requests = b"".join(invocation(value) for value in values) + PING * 1000
    sending = threading.Thread(target=exchange.send, args=(requests,))
    sending.start()
    assert [exchange.answer().predictions for _ in values] == [[value] for value in values]
    assert {exchange.answer().status for _ in range(1000)} == {200}
    sending.join()


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


def test_an_offer_of_http_2_is_answered_in_http_1_1(exchange: Exchange) -> None:
    """Java's client makes one with every first request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    exchange.send(invocation(6.0, headers=offer))
    assert exchange.answer().predictions == [6.0]
    exchange.send(invocation(7.0) + PING)
    assert exchange.answer().predictions == [7.0]
    assert exchange.answer().status == 200


@pytest.mark.parametrize("options", [b"Upgrade, close", b"close,upgrade", b"Upgrade, Close, HTTP2-Settings"])
def test_a_client_that_offers_another_protocol_and_wants_to_close_is_closed(options: bytes, exchange: Exchange) -> None:
    exchange.send(invocation(6.0, headers=b"Connection: %b\r\nUpgrade: h2c\r\n" % options))
    answer = exchange.answer()
    assert (answer.predictions, answer.headers["connection"]) == ([6.0], "close")
    assert exchange.is_closed()


def test_a_target_may_name_the_host_and_have_a_query(exchange: Exchange) -> None:
    exchange.send(b"GET http://endpoint/ping?now=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /ping?x HTTP/1.1\r\nHost: a\r\n\r\n")
    assert [exchange.answer().status, exchange.answer().status] == [200, 200]


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
