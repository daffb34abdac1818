"""The queue of requests for workers, in the simulation as in the in-process driver: first come, first served.

A worker that is free claims what is due, up to ``max_batch`` requests. When that is fewer, the first of them waits up
to ``batch_delay_us`` for others; a full batch leaves when its last request is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from servefit.checks import check_at_least, check_whole

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration

CALL_OVERHEAD_NS = 500.0
REQUEST_OVERHEAD_NS = 150.0
"""The time of the driver's loops from the end of a call until the worker is free for the next: claiming, joining rows
and reading the clock for each call, writing down three times for each request.

Measured with a predictor that does nothing: 0.4 to 0.7 us with one request a call (benchmarks/README.md), 2 us with 8
and 5.4 us with 32.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """So many ``workers`` serve batches of up to ``max_batch`` requests. Raises SpecError."""

    workers: int = 1
    max_batch: int = 1
    batch_delay_us: int = 0
    call_overhead_ns: float = CALL_OVERHEAD_NS
    request_overhead_ns: float = REQUEST_OVERHEAD_NS

    def __post_init__(self) -> None:
        check_whole("workers", self.workers, least=1)
        check_whole("batch", self.max_batch, least=1)
        check_whole("delay", self.batch_delay_us, least=0)
        check_at_least("overhead", self.call_overhead_ns, 0)
        check_at_least("overhead", self.request_overhead_ns, 0)

    @classmethod
    def of(cls, configuration: Configuration) -> Self:
        """Return the queue of ``configuration``, with the overhead of the in-process driver."""
        return cls(
            workers=configuration.workers,
            max_batch=configuration.max_batch,
            batch_delay_us=configuration.batch_delay_us,
        )

    @property
    def delay_ns(self) -> int:
        return 1000 * self.batch_delay_us

    def overhead_ns(self, requests: int) -> float:
        """Return the nanoseconds from the end of a call of so many requests until the worker is free."""
        return self.call_overhead_ns + self.request_overhead_ns * requests


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedRequests:
    """The times of each request, in the order in which they were begun: float64 nanoseconds from the start, (n,).

    ``batches`` (int64) has the number of requests of each call, in the same order.
    """

    scheduled_ns: np.ndarray
    started_ns: np.ndarray
    ended_ns: np.ndarray
    batches: np.ndarray

    @classmethod
    def of_calls(cls, scheduled_ns: np.ndarray, *, starts: list[float], ends: list[float], sizes: list[int]) -> Self:
        """Make it from the times at which requests were due, in order, and the times and sizes of the calls that took
        them."""
        batches = np.array(sizes, dtype=np.int64)
        return cls(
            scheduled_ns=scheduled_ns,
            started_ns=np.repeat(np.array(starts, dtype=np.float64), batches),
            ended_ns=np.repeat(np.array(ends, dtype=np.float64), batches),
            batches=batches,
        )
