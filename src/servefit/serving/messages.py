"""The messages between a connection, the protocols and the predictor. A connection knows HTTP and not what is asked;
the protocols know what is asked and not how it came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    import numpy as np

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


# One of each is made for every request. A Struct takes a sixth of the time that a frozen dataclass takes.
class Request(msgspec.Struct, frozen=True, gc=False):
    """A whole request. ``path`` is without the query, names in ``headers`` are in lower case, and ``body`` is no longer
    than the limit; a long one may be a bytearray, which stays as it is."""

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    body: bytes


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A reply; the connection adds Content-Length and what keeps it alive."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: Headers = ()


Encode: TypeAlias = "Callable[[np.ndarray], Reply]"


class Inference(msgspec.Struct, frozen=True):
    """A request for predictions, understood. ``rows`` are C-contiguous (n, features), of the datatype that the model's
    rows have, and ``encode`` makes an answer of their predictions, (n,) or (n, outputs); ``quick`` says that this is
    little more than a copy, however many they are."""

    rows: np.ndarray
    encode: Encode
    quick: bool = False


class PendingReply(Protocol):
    """The reply that a client waits for. ``gone`` says that nobody waits for it any more."""

    gone: bool

    def answer(self, reply: Reply, timing: bytes = b"") -> None:
        """Give it, once. ``timing`` is a whole line of a header, or nothing."""
        ...


class TakesLong(Exception):
    """A body that the event loop has no time for: it is to be decoded in another process."""


class Refused(Exception):
    """A request that gets no predictions: ``status`` is 4xx or 5xx, ``reason`` one sentence that names the field."""

    def __init__(self, status: int, reason: str, *, headers: Headers = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of all workers of an endpoint since it began, added up. Times are in ns.

    ``requests`` counts requests for predictions that were answered, ``rows`` their rows, ``calls`` those of the
    predictor, ``queued_ns`` how long requests waited for it and ``predicting_ns`` how long it took for them (a call
    of eight counts eight times), ``calling_ns`` how long the calls took. ``replies`` counts all replies by status.
    ``batches`` has (requests in a call, calls, time of these calls). ``latency_buckets`` counts requests whose model
    latency, waiting included, was at most each of ``LATENCY_BOUNDS_NS``, and all others in a last one;
    ``answer_buckets`` the same for the time from a request that was read to its answer, which is ``answered_ns`` for
    all of them. ``last_request_ms`` is when the last one was answered, in ms since 1970, or 0.
    """

    requests: int = 0
    rows: int = 0
    calls: int = 0
    queued_ns: int = 0
    predicting_ns: int = 0
    calling_ns: int = 0
    failed: int = 0
    rejected: int = 0
    last_request_ms: int = 0
    connections: int = 0
    replies: Mapping[int, int] = field(default_factory=dict)
    batches: tuple[tuple[int, int, int], ...] = ()
    latency_buckets: tuple[int, ...] = ()
    answered_ns: int = 0
    answer_buckets: tuple[int, ...] = ()


LATENCY_BOUNDS_NS = tuple(
    int(1000 * value)
    for value in (
        5,
        10,
        20,
        30,
        50,
        100,
        200,
        300,
        500,
        750,
        1_000,
        2_000,
        3_000,
        5_000,
        7_500,
        10_000,
        20_000,
        50_000,
        100_000,
        200_000,
        500_000,
        1_000_000,
        5_000_000,
    )
)
"""Upper bounds of the buckets of latencies. The kernel for trees takes some microseconds."""
