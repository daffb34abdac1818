"""Whether recorded calls are even enough to be replayed: where a single one makes much of what lies beyond a
percentile, nobody knows how often such come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.profiler.queueing.recorded_calls import CallsInOrder

_MAX_OF_SQUARES, _MAX_OF_BEYOND = 0.03, 0.1
"""Of the sum of the squares of all service times, and of the requests beyond the percentile, the most that a single
call may have. Of 15,000 lognormal times that vary as much as their mean the longest has 0.015 of the squares, of those
that vary three times as much 0.1; a stall of the machine has more, and may be over before it matters."""


def are_even(calls: CallsInOrder, *, longest_s: float, utilisation: float, rank: float, seconds: float) -> bool:
    """Return whether no call counts for too much in the percentile of ``rank`` (0..100), in so many ``seconds``: it has
    little part in the squares of all times, which queueing grows with, or the requests that come until the queue behind
    it is gone are few of those beyond the percentile."""
    squares = np.square(calls.relative)
    soon_over = longest_s <= _MAX_OF_BEYOND * (1 - rank / 100) * (1 - utilisation) * seconds
    return bool(soon_over or squares.max() <= _MAX_OF_SQUARES * squares.sum())
