"""Gets a predictor to the speed that it keeps, before anything is measured."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from servefit.profiler.drivers.inprocess.requests import RotatingRequests

_WARM_UP_NS, _WARM_UP_BLOCK_NS = 500_000_000, 5_000_000
"""Most predictors are warm after their first calls; a block holds many calls of a quick one, and four of a slow one.
Chosen, not measured."""


def warm_up(predict: Callable[[np.ndarray], np.ndarray], requests: RotatingRequests, max_batch: int) -> None:
    """Predict until two consecutive blocks of calls take the same within 10 %, for half a second at most.

    Before that, every batch size that is a power of two, and the largest, is predicted three times (once where that
    takes long already), since libraries keep plans and buffers per shape.
    """
    deadline = time.monotonic_ns() + _WARM_UP_NS
    sizes = sorted({2**power for power in range(max_batch.bit_length())} | {max_batch})
    sequence = 0
    for attempt in range(3):
        for size in sizes:
            if attempt and time.monotonic_ns() > deadline:
                return
            predict(requests.batch(sequence, size))
            sequence += size
    previous = 0.0
    while (now := time.monotonic_ns()) < deadline:
        calls = 0
        while calls < 4 or time.monotonic_ns() - now < _WARM_UP_BLOCK_NS:
            predict(requests.batch(sequence, max_batch))
            sequence += max_batch
            calls += 1
        mean = (time.monotonic_ns() - now) / calls
        if abs(mean - previous) <= 0.1 * mean:
            return
        previous = mean
