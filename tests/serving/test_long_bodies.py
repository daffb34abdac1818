"""A worker answers others while it handles long requests: real endpoints, probed all the time."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import NAME, Exchange, ask_on
from tests.serving.hostile_bodies import Body, hostile_bodies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Running, Start

CLIENTS = 3
SIZE = 2**18
CROWD = 500

pytestmark = pytest.mark.timed


@dataclass
class Probes:
    """How long health checks took."""

    took_s: list[float] = field(default_factory=list)

    def quantile_s(self, share: float) -> float:
        return sorted(self.took_s)[int(share * (len(self.took_s) - 1))]


@contextmanager
def probing(endpoint: Running) -> Iterator[Probes]:
    """Ask whether the endpoint lives, again and again, for as long as the block lasts."""
    probes = Probes()
    over: list[bool] = []
    connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
    # To look at all objects of a process that has run tests for an hour takes so long that probes would seem late.
    gc.collect()
    gc.freeze()

    def probe() -> None:
        while not over:
            began_s = time.monotonic()
            assert ask_on(connection, "GET", "/v2/health/live").status == 200
            probes.took_s.append(time.monotonic() - began_s)
            time.sleep(0.002)

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(probe)
        try:
            yield probes
        finally:
            over.append(True)
            asked.result()
            connection.close()
            gc.unfreeze()


def ask(endpoint: Running, body: Body) -> tuple[str, int]:
    path = f"/v2/models/{NAME}/infer" if body.tensors else "/invocations"
    return body.name, endpoint.ask("POST", path, body.content, body.headers).status


def test_probes_are_answered_while_the_worst_bodies_are_read(start: Start) -> None:
    bodies = list(hostile_bodies(3, SIZE))
    with start() as endpoint:
        endpoint.ask("POST", "/invocations", b"1,2,3\n" * 20_000, {"content-type": "text/csv"})
        with probing(endpoint) as probes, ThreadPoolExecutor(CLIENTS) as pool:
            statuses = dict(pool.map(lambda body: ask(endpoint, body), bodies))
        assert {status for status in statuses.values() if not 400 <= status < 500} <= {200}, statuses
        assert endpoint.metric("servefit_worker_restarts_total") == 0
    # The loop is held for 30 ms at most; the rest is for machines that do other things too.
    assert probes.quantile_s(0.95) < 0.1
    assert probes.quantile_s(1) < 0.5


def test_probes_are_answered_while_long_answers_are_written(start: Start) -> None:
    body = b"1,2,3\n" * 100_000
    with start({"outputs": 40}) as endpoint:
        with probing(endpoint) as probes:
            began_s = time.monotonic()
            answer = endpoint.ask("POST", "/invocations", body, {"content-type": "text/csv"})
            took_s = time.monotonic() - began_s
        assert answer.body.count(b"\n") == 100_000
    assert probes.quantile_s(1) < max(0.25, took_s / 8)


def posted(body: bytes) -> bytes:
    return b"POST /invocations HTTP/1.1\r\nHost: endpoint\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize(
    "message",
    [
        b"GET /metrics HTTP/1.1\r\nHost: endpoint\r\n\r\n",
        posted(b"[" + b"1e-310," * 79 + b"1e-310]"),
        posted(b"a,b,c\n" + b"1,2,3\n" * 99 + b"1,2,x"),
    ],
    ids=["metrics", "numbers near the least", "refused"],
)
def test_probes_are_answered_while_many_requests_that_were_sent_ahead_are(message: bytes, start: Start) -> None:
    with start(limits={"queued_requests": 4 * CROWD}) as endpoint:
        with probing(endpoint) as probes, endpoint.connect(timeout_s=60) as connection:
            exchange = Exchange(socket=connection)
            with ThreadPoolExecutor(1) as pool:
                sent = pool.submit(exchange.send, message * CROWD)
                statuses = {exchange.answer().status for _ in range(CROWD)}
                sent.result()
        assert len(statuses) == 1
    assert probes.quantile_s(1) < 0.25
