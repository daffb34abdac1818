"""The time and the tests that a job may spend, across interruptions."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import TYPE_CHECKING

from servefit.quantities import count_text
from servefit.search.optimizer.slowness import Slowness
from servefit.time_limit import Budget

if TYPE_CHECKING:
    from servefit.search.request.job_request import JobRequest

FINISHING_S = 0.25
"""Seconds from the last measurement to the exit of the command, on an idle machine."""

SHARE = 0.25
"""A quarter, chosen and not measured. No compilation, no timing of calls and no test of the search takes a larger part
of the job's time, unless it is the first of its kind: one that hangs leaves the others their turn."""

CONFIRMATION_TESTS = 3
"""Tests of a limited number that are kept for measuring the finalists again: a third at most, and one at least. Three
are a round of as many finalists; chosen, not measured."""


@dataclass(slots=True, kw_only=True)
class Clock:
    """The time and the tests of a job that are spent, and those that are left.

    ``limit_s`` is the user's own budget if it ``is_given``, else the default. ``elapsed_before_s`` is what the job took
    before it was interrupted, ``tests`` how many tests it has begun.
    ``finishing_s`` are kept for what follows on the last measurement, as many times longer as ``slowness`` says.
    ``now`` gives seconds that only ever advance."""

    limit_s: float
    test_limit: float
    is_given: bool = True
    elapsed_before_s: float = 0.0
    tests: int = 0
    finishing_s: float = 0.0
    slowness: Slowness = field(default_factory=Slowness)
    now: Callable[[], float] = time.monotonic
    began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.began_s = self.now()

    @classmethod
    def of(
        cls,
        request: JobRequest,
        *,
        elapsed_before_s: float = 0.0,
        tests: int = 0,
        finishing_s: float = FINISHING_S,
        slowness: Slowness | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> Clock:
        """Return the clock of a job by ``request``, begun now; without limits where that has none. ``slowness`` is what
        was seen of the machine so far, if anything."""
        return cls(
            limit_s=inf if request.time_limit_s is None else request.time_limit_s,
            test_limit=inf if request.test_limit is None else request.test_limit,
            is_given=request.budget_s is not None,
            elapsed_before_s=elapsed_before_s,
            tests=tests,
            finishing_s=finishing_s,
            slowness=slowness or Slowness(),
            now=now,
        )

    @property
    def budget(self) -> Budget:
        """The budget, as messages call it."""
        return Budget(limit_s=self.limit_s, given=self.is_given)

    def ran_out(self, more_s: float | None = None, *, tests_left: float | None = None) -> str:
        """Return which limit of the job left something undone, with one that would do: its tests where none were left,
        or its budget, which ``more_s`` would have been needed of; None where it is not known how much."""
        if isfinite(self.test_limit) and (self.tests_left if tests_left is None else tests_left) < 1:
            return f"the limit of {count_text(int(self.test_limit), 'test')} was reached (--max-tests)"
        return self.budget.ran_out(more_s)

    def leave_out(self, seconds: float) -> None:
        """Do not count ``seconds`` that have passed: the job was not at work."""
        self.began_s += seconds

    @property
    def elapsed_s(self) -> float:
        """The seconds that the job has taken so far."""
        return self.elapsed_before_s + self.now() - self.began_s

    @property
    def left_s(self) -> float:
        """The seconds that the job may still compile and measure."""
        return self.limit_s - self.kept_s - self.elapsed_s

    @property
    def kept_s(self) -> float:
        """The seconds that are kept for what follows on the last measurement."""
        return self.finishing_s * self.slowness.times

    def share_s(self, min_s: float) -> float:
        """Return how long one of several things may take: ``min_s`` at least, if there is as much."""
        return min(self.left_s, max(min_s, SHARE * self.limit_s))

    @property
    def tests_left(self) -> float:
        """The tests that the job may still make, those for the finalists included."""
        return self.test_limit - self.tests

    @property
    def tests_to_search(self) -> float:
        """The tests that are left before those that are kept for the finalists."""
        return self.tests_left - self.tests_for_finalists

    @property
    def tests_for_finalists(self) -> float:
        """The tests that are kept for the finalists."""
        if self.test_limit <= 1 or not isfinite(self.test_limit):
            return 0
        return max(1, min(CONFIRMATION_TESTS, self.test_limit // 3))
