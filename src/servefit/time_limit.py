"""Limits of how long what is waited for may take, where something larger has a limit: a job's time holds for all that
it does.

A limit is set around a block, as a cancel scope is, and not handed from function to function: whoever starts a child
process, workers or an endpoint in the block, and waits for them, asks here how long that may take, and raises the error
that is made here where it takes longer: it says whose time ran out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import ceil, inf, isinf

from servefit.checks import check_above_zero
from servefit.errors import TimedOut
from servefit.quantities import given_duration_text

MIN_ENOUGH = 2.0
"""Times a budget that ran out which is proposed where nothing is known of what was left to do. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The time that all of a command may take: the user's own, if it was ``given``, else the default."""

    limit_s: float
    given: bool

    def __str__(self) -> str:
        return f"{'' if self.given else 'default '}budget of {given_duration_text(self.limit_s)}"

    def option(self, more_s: float | None = None) -> str:
        """Return the option with a budget that would do: ``more_s`` longer; None where it is not known how much. One
        without an end has no longer one."""
        if isinf(self.limit_s):
            return "--budget"
        needed_s = MIN_ENOUGH * self.limit_s if more_s is None else self.limit_s + max(0.0, more_s)
        return f"--budget {ceil(needed_s)}s"

    def ran_out(self, more_s: float | None = None) -> str:
        """Return, as the reason why something was not done, that the budget ran out, and which one would do."""
        return f"the {self} ran out ({self.option(more_s)})"


def budget_of(seconds: float | None) -> Budget | None:
    """Return the budget that a user gave, None where it is None. Raises SpecError for nothing and less."""
    if seconds is None:
        return None
    check_above_zero("budget", seconds)
    return Budget(limit_s=seconds, given=True)


_left: ContextVar[Callable[[], tuple[float, Budget | None]]] = ContextVar(
    "servefit time limit", default=lambda: (inf, None)
)
"""The seconds that are left, and the budget that they are of."""


@contextmanager
def time_limit(left_s: Callable[[], float], budget: Budget | None = None) -> Iterator[None]:
    """Allow the block no more than the seconds that ``left_s`` gives when it is asked, nor than a limit around it
    leaves; ``budget`` is what errors call it. A thread that is started in the block has the limit if it runs in a copy
    of the context."""
    outer = _left.get()
    with _set(lambda: min(outer(), (left_s(), budget), key=lambda limit: limit[0])):
        yield


@contextmanager
def within(budget: Budget | None) -> Iterator[None]:
    """Allow the block ``budget``, from now on; None is no limit."""
    end_s = inf if budget is None else time.monotonic() + budget.limit_s
    with time_limit(lambda: end_s - time.monotonic(), budget):
        yield


@contextmanager
def reserving(seconds: float) -> Iterator[None]:
    """Allow the block so many seconds less: they are kept for what follows."""
    outer = _left.get()
    with _set(lambda: (outer()[0] - seconds, outer()[1])):
        yield


@contextmanager
def _set(left: Callable[[], tuple[float, Budget | None]]) -> Iterator[None]:
    token = _left.set(left)
    try:
        yield
    finally:
        _left.reset(token)


def time_left_s() -> float:
    """Return the time that the limits around leave: infinite where there are none, below zero once it ran out."""
    return _left.get()()[0]


def allowed_s(timeout_s: float) -> float:
    """Return ``timeout_s``, or what is left of the time if that is less; never below zero."""
    return max(0.0, min(timeout_s, time_left_s()))


def timed_out(what: str, *, limit_s: float, timeout_s: float) -> TimedOut:
    """Return the error for ``what``, which was allowed ``limit_s`` of its own ``timeout_s``, and took longer: where it
    had less than its own time, and a budget ran out, that is what the error says."""
    budget = _left.get()()[1] if limit_s < timeout_s else None
    if budget is None:
        return TimedOut(what, limit_s=limit_s)
    return TimedOut(what, limit_s=limit_s, budget=str(budget), remedy=f"use {budget.option()} or more")
