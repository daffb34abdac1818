"""Checks of a replay of recorded calls: whether a single call decides a percentile, and whether the queue is as it is
computed, section by section."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.queueing.fresh_streams import replayed_response_ns, served_response_ns
from servefit.profiler.queueing.recorded_calls import CallsInOrder
from servefit.profiler.record.traffic import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.queueing.discipline import Discipline, ServedRequests

SECTION_S, MIN_SECTIONS, MAX_SECTIONS = 1.0, 6, 10
"""Calls that follow each other so long stay together, or longer, where that makes more than ten sections. Fewer than
six have no interval to speak of. A second is longer than most of what disturbs a machine; chosen, not measured."""

MIN_BEYOND = 20
"""Requests beyond a percentile that it takes to compare it with another."""

_MAX_OF_SQUARES, _MAX_OF_BEYOND = 0.03, 0.1
"""Of the sum of the squares of all service times, and of the requests beyond the percentile, the most that a single
call may have. Of 15,000 lognormal times that vary as much as their mean the longest has 0.015 of the squares, of those
that vary three times as much 0.1; a stall of the machine has more, and may be over before it matters."""


def are_even(calls: CallsInOrder, *, utilisation: float, rank: float, seconds: float) -> bool:
    """Return whether no call counts for too much in the percentile of ``rank`` (0..100), in so many ``seconds``: where
    a single one makes much of what lies beyond it, nobody knows how often such come. It has little part in the squares
    of all times, which queueing grows with, or the requests that come until the queue behind it is gone are few of
    those beyond the percentile."""
    squares = np.square(calls.relative)
    soon_over_s = _MAX_OF_BEYOND * (1 - rank / 100) * (1 - utilisation) * seconds
    return bool(calls.longest_ns <= NS_PER_S * soon_over_s or squares.max() <= _MAX_OF_SQUARES * squares.sum())


def log_ratios(run: ServedRequests, parts: int, discipline: Discipline, ranks: Sequence[float]) -> np.ndarray:
    """Return the logarithms of measured over replayed percentiles (0..100) of so many ``parts`` of ``run``, replayed
    with its own calls behind its own arrivals, shape (parts, ranks): both had the same luck."""
    again_ns = replayed_response_ns(run, CallsInOrder.of([run], discipline), discipline)
    both = (np.array_split(response_ns, parts) for response_ns in (served_response_ns(run), again_ns))
    return np.array(
        [
            np.log(np.percentile(measured, ranks) / np.percentile(replayed, ranks))
            for measured, replayed in zip(*both, strict=True)
        ]
    )
