"""A client that was asked for its part of a load: its order, and what comes of it."""

from __future__ import annotations

import secrets
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servefit.errors import AgentLost
from servefit.search.fleet.load.load_result import LoadClientResult
from servefit.search.fleet.load.merging import ResponseTimes
from servefit.search.fleet.load.recording import BLOCKS
from servefit.search.fleet.load_orders import LoadPart
from servefit.search.fleet.orders import Order

if TYPE_CHECKING:
    from servefit.errors import ServefitError
    from servefit.search.fleet.load_orders import LoadClient
    from servefit.search.fleet.orders import Answer

_MAX_NAME = 63
"""Letters of the name of a job among orders."""


@dataclass(slots=True)
class AskedClient:
    """``order`` asks a client for its part. ``waits_for`` is what it was last said to do; ``lost`` is why nothing comes
    of it, where that is known."""

    order: Order
    asked: LoadClient
    answer: Future[Answer] = field(default_factory=Future)
    waits_for: str = ""
    lost: str | None = None

    @classmethod
    def on(cls, host: str, asked: LoadClient, authority: str) -> AskedClient:
        """Return the client on ``host``, not asked yet, for a load on ``authority``."""
        order = Order(
            token=secrets.token_hex(16),
            host=host,
            job=f"load on {authority}"[:_MAX_NAME],
            asked=asked,
            limit_s=asked.duration_s,
            elapsed_s=0.0,
        )
        return cls(order, asked)

    @property
    def host(self) -> str:
        return self.order.host

    def failure(self) -> ServefitError | None:
        """Return what kept the client from its part, once it has answered; None where nothing did."""
        try:
            failure = self.answer.result().failure
        except AgentLost as error:
            return error
        return None if failure is None else failure.as_error()

    def result(self) -> LoadClientResult:
        """Return what became of the client, which has answered or is lost."""
        part = None
        lost = self.lost
        if lost is None:
            error = self.failure()
            lost = None if error is None else reason_of(error)
        if lost is None:
            result = self.answer.result().result
            part = result if isinstance(result, LoadPart) and _is_whole(result) else None
            lost = None if part is not None else "its answer is damaged"
        return LoadClientResult(host=self.host, rate_per_s=self.asked.rate_per_s, part=part, lost=lost)


def reason_of(error: ServefitError) -> str:
    """Return why a client is lost, without its host."""
    return error.reason if isinstance(error, AgentLost) else error.message


def _is_whole(part: LoadPart) -> bool:
    try:
        ResponseTimes.of(part.blocks)
    except ValueError:
        return False
    return len(part.blocks) == BLOCKS
