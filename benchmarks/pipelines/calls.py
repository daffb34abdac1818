"""Calls in one process that are timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_SLICE_S = 0.01
"""Of calls in one turn, at least one call: long enough that the clock costs nothing. Chosen."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Have native libraries use one thread."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


def in_turns(own: Callable[[], Any], other: Callable[[], Any], rounds: int) -> np.ndarray:
    """Return by how much ``own`` is faster than ``other``, of each round, (rounds,)."""
    own(), other()
    turns = []
    for nth in range(rounds):
        first, second = (own, other) if nth % 2 else (other, own)
        of_first, of_second = seconds(first), seconds(second)
        turns.append(of_first / of_second if first is other else of_second / of_first)
    return np.array(turns)


def seconds(call: Callable[[], Any]) -> float:
    """Return the time of one of several calls."""
    begin, calls, passed = time.perf_counter(), 0, 0.0
    while passed < _SLICE_S:
        call()
        calls += 1
        passed = time.perf_counter() - begin
    return passed / calls
