"""Many more requests than a worker can answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.serving.conftest import invocation

if TYPE_CHECKING:
    from tests.serving.conftest import Running, Start

pytestmark = pytest.mark.integration

CALL_MS = 4
QUEUED = 16
CLIENTS = 160
PREDICTED = 200


class Flood:
    """Clients that ask again as soon as they are answered, until so many requests are predicted."""

    def __init__(self, endpoint: Running) -> None:
        self.statuses: Counter[int] = Counter()
        self.without_retry_after = 0
        self.most_before = 0
        """Requests that were predicted while one that was let in waited."""
        self._endpoint = endpoint

    async def go_on(self) -> None:
        await asyncio.gather(*(self._client() for _ in range(CLIENTS)))

    async def _client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._endpoint.port)
        while self.statuses[200] < PREDICTED:
            predicted_before = self.statuses[200]
            writer.write(invocation(1.0))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            status = int(head.split()[1])
            self.statuses[status] += 1
            if status == 200:
                self.most_before = max(self.most_before, self.statuses[200] - predicted_before)
            else:
                self.without_retry_after += b"retry-after: 1\r\n" not in head
                await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()


def test_ten_times_too_many_requests_are_shed_and_memory_stays_and_all_is_well_after(start: Start) -> None:
    with start({"us": 1000 * CALL_MS}, limits={"queued_requests": QUEUED}) as endpoint:
        endpoint.invoke(1.0)
        before_bytes = endpoint.resident_bytes()
        flood = Flood(endpoint)
        asyncio.run(flood.go_on())
        assert set(flood.statuses) == {200, 503}
        assert flood.statuses[503] > flood.statuses[200]
        assert flood.without_retry_after == 0
        # The queue is short, so those that are let in do not wait for many others.
        assert flood.most_before < 3 * QUEUED
        assert endpoint.resident_bytes() - before_bytes < 20 * 2**20
        assert endpoint.invoke(2.0).predictions == [2.0]
        assert endpoint.metric("servefit_rejected_requests_total") == flood.statuses[503]
