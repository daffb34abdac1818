"""Whether the workers of an open loop had time to spare: then their queue does not grow."""

from __future__ import annotations

import numpy as np

UNHURRIED, MIN_TO_KNOW_HOW_BUSY = 0.85, 200
"""Workers that were serving for less of the time, over so many requests, keep up with what arrives. Chosen."""

HALF_IDLE, MIN_TO_KNOW_HALF_IDLE = 0.5, 50
"""And so do those that were idle for half of the time over fewer: a queue that begins to grow is idle for a tenth of
its first 50 requests (sqrt(2 x 50 / pi) of them). Chosen."""


def is_unhurried(requests: int, busy: float) -> bool:
    """Return whether workers had time to spare that served ``requests`` requests, and were serving for the part
    ``busy`` of the time."""
    half_idle = requests >= MIN_TO_KNOW_HALF_IDLE and busy < HALF_IDLE
    return half_idle or (requests >= MIN_TO_KNOW_HOW_BUSY and busy < UNHURRIED)


def busy_share(started_ns: np.ndarray, ended_ns: np.ndarray) -> float:
    """Return for which part of the time at least one request was being served, from the first begin to the last answer;
    0.0 for fewer than two requests. ``started_ns`` and ``ended_ns`` are as for ``workers_serving``.

    Example:
        >>> busy_share(np.array([0, 2, 7]), np.array([4, 3, 10]))
        0.7
    """
    if len(started_ns) < 2:
        return 0.0
    order = np.argsort(started_ns, kind="stable")
    begun, until = started_ns[order], np.maximum.accumulate(np.abs(ended_ns)[order])
    idle = np.maximum(begun[1:] - until[:-1], 0).sum()
    span = until[-1] - begun[0]
    return float(1 - idle / span) if span else 0.0


def workers_serving(due_ns: np.ndarray, started_ns: np.ndarray, ended_ns: np.ndarray) -> float:
    """Return how many workers were serving on average, from the first arrival to the last answer; 0.0 for fewer than
    two requests.

    Takes answered requests in order of arrival, shape (n,); ``ended_ns`` is below zero for those that failed. Requests
    of one call, which are served at the same time, follow each other.
    """
    if len(due_ns) < 2 or np.abs(ended_ns).max() == due_ns[0]:
        return 0.0
    ended_ns = np.abs(ended_ns)
    calls = np.flatnonzero(np.diff(started_ns, prepend=0))
    return float((ended_ns[calls] - started_ns[calls]).sum() / (ended_ns.max() - due_ns[0]))
