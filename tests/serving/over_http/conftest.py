"""An endpoint with low limits, and a connection to it on which requests are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import Exchange
from tests.serving.obedient_predictor import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.serving.conftest import Running, Start

READ_TIMEOUT_S = 0.8
PING = b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def endpoint(start: Start, gate: Gate) -> Iterator[Running]:
    limits = {
        "body_bytes": 100_000,
        "buffered_bytes": 250_000,
        "read_timeout_s": READ_TIMEOUT_S,
        "idle_timeout_s": 1.0,
        "queued_requests": 2000,
    }
    with start(gate.facts, limits=limits, max_batch=8) as running:
        yield running
        assert running.metric("servefit_worker_restarts_total") == 0
        assert "failed with" not in running.says()


@pytest.fixture
def exchange(endpoint: Running) -> Iterator[Exchange]:
    with endpoint.connect() as connection:
        yield Exchange(socket=connection)
