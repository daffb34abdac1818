"""Limits of how long what is waited for may take, where something larger has a limit: a job's time holds for all that
it does.

A limit is set around a block, as a cancel scope is, and not handed from function to function: whoever starts a child
process, workers or an endpoint in the block, and waits for them, asks here how long that may take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf

_left_s: ContextVar[Callable[[], float]] = ContextVar("servefit time limit", default=lambda: inf)


@contextmanager
def time_limit(left_s: Callable[[], float]) -> Iterator[None]:
    """Allow the block no more than the seconds that ``left_s`` gives when it is asked, nor than a limit
    around it leaves. A thread that is started in the block has the limit if it runs in a copy of the context."""
    outer = _left_s.get()
    token = _left_s.set(lambda: min(outer(), left_s()))
    try:
        yield
    finally:
        _left_s.reset(token)


@contextmanager
def reserving(seconds: float) -> Iterator[None]:
    """Allow the block so many seconds less: they are kept for what follows."""
    outer = _left_s.get()
    with time_limit(lambda: outer() - seconds):
        yield


def time_left_s() -> float:
    """Return the time that the limits around leave: infinite where there are none, below zero once the time is over."""
    return _left_s.get()()


def allowed_s(timeout_s: float) -> float:
    """Return ``timeout_s``, or what is left of the time if that is less; never below zero."""
    return max(0.0, min(timeout_s, time_left_s()))
