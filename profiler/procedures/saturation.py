"""Finds the most requests that an endpoint answers: ever more users in closed loops, until more are not served more.

SageMaker Inference Recommender reads its metrics the same way. Any driver does; nothing need be known of the server.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.defaults import SATURATION_S
from servefit.profiler.evidence.plateaus import UserStep
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.verdict import MAX_FAILED
from servefit.profiler.procedures.decided_runs import run_valid, undisturbed_part
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop
from servefit.quantities import count_text

if TYPE_CHECKING:
    from servefit.profiler.drivers.driver import Driver
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.record.types import Run

MIN_BUDGET_S = 1.0
"""Levels then take 50 ms each, in which an endpoint that takes 5 ms gives a user ten answers."""

MAX_USERS = 1024
"""More connections at a time are a load of their own."""

MIN_GROWTH = 0.02
"""Twice the users that bring less than this are in doubt; two such levels in a row end the search."""

NEAR = 0.05
"""Users who are served as much as the best served, less this, are served as much as far as can be told."""

_FLAT_LEVELS = 2
"""A single level may have met a hiccup of the machine."""

_FINAL_SHARE = 0.25
"""Of the time, for the run whose figures are given."""

_LEVEL_S = 1.0
"""Longer levels say nothing more of most endpoints, and slow ones have them (see below). Chosen, not measured."""

_LEVEL_SHARE, _MAX_LEVEL_SHARE = 0.07, 0.15
"""Of the time for levels: eleven of them, from 1 user to 1024, take 77 % of it, and slow ones twice as long each."""

_MAX_DISTURBED = 3
"""Of a search of some ten levels: a machine that is in the way so often will be again. Chosen, not measured."""

_ANSWERS_A_LEVEL = 10
"""For every user: throughput is then counted to a tenth at worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedUsers:
    """``levels`` are the numbers of users that were tried, in order, the first of them one; ``ended`` says why no more
    were. ``users`` are the fewest who are served within 5 % of the best served. ``problems`` are what kept disturbing
    levels, if that is why no more were tried."""

    levels: tuple[UserStep, ...]
    users: int
    ended: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saturation:
    """The saturation that ``tried`` led to: ``run`` is that of its users, measured again and longer, ``problems`` are
    what is wrong with it, or ended the search for it."""

    tried: TriedUsers
    run: Run
    problems: tuple[Problem, ...]


def find_saturation(driver: Driver, *, budget_s: float = SATURATION_S, allow_noise: bool = False) -> Saturation:
    """Double the users until it is in vain, for about ``budget_s`` in all, a quarter of which is left for the last run.

    What the machine got in the way of is made again: the last run once, levels as ``try_users`` does; with
    ``allow_noise`` neither is. Raises SpecError, and as ``Driver.run``.
    """
    tried = try_users(driver, budget_s=(1 - _FINAL_SHARE) * check_budget(budget_s), allow_noise=allow_noise)
    final = ClosedLoop.constant(users=tried.users, duration_s=_FINAL_SHARE * budget_s)
    run, problems = run_valid(driver, final, allow_noise=allow_noise)
    return Saturation(tried=tried, run=run, problems=one_of_each_kind((*tried.problems, *problems)))


def check_budget(budget_s: float) -> float:
    """Raise SpecError for one that is too short to search in."""
    check_above_zero("duration", budget_s)
    if budget_s < MIN_BUDGET_S:
        raise SpecError("duration", budget_s, "is too short to search in", remedy=f"give {MIN_BUDGET_S:g} s at least")
    return budget_s


def try_users(driver: Driver, *, budget_s: float, allow_noise: bool = False) -> TriedUsers:
    """Try one user, two, four and so on, for about ``budget_s``.

    A disturbed level is left out and repeated, until there are too many of them, unless ``allow_noise``. Problems of
    the load client are those of the last run. Raises as ``Driver.run``.
    """
    begin = time.monotonic()
    levels: list[UserStep] = []
    disturbed = 0
    flat, duration_s = 0, min(_LEVEL_S, _LEVEL_SHARE * budget_s)
    while True:
        users = 2 ** len(levels)
        level_begin = time.monotonic()
        level, failed, problems = _level(driver, users, duration_s)
        now = time.monotonic()
        over = now - begin + (now - level_begin) > budget_s
        if problems and not allow_noise:
            disturbed += 1
            if over or disturbed >= _MAX_DISTURBED:
                counted = levels or [level]
                reason = f"the machine got in the way of {count_text(users, 'user')}"
                return TriedUsers(levels=tuple(counted), users=_fewest(counted), ended=reason, problems=problems)
            continue
        if failed > MAX_FAILED * level.samples:
            # The levels before it had few failures.
            users_served = _fewest(levels or [level])
            reason = f"{failed:,} of {level.samples:,} requests failed with {users} users"
            return TriedUsers(levels=(*levels, level), users=users_served, ended=reason)
        best = max((earlier.throughput_per_s for earlier in levels), default=0.0)
        flat = flat + 1 if level.throughput_per_s < (1 + MIN_GROWTH) * best else 0
        levels.append(level)
        ended = _reason_to_end(users, flat, over=over)
        if ended is not None:
            return TriedUsers(levels=tuple(levels), users=_fewest(levels), ended=ended)
        # Throughput counts whole answers, so slow ones need a longer level.
        duration_s = max(duration_s, min(_ANSWERS_A_LEVEL * _response_s(level), _MAX_LEVEL_SHARE * budget_s))


def _reason_to_end(users: int, flat: int, *, over: bool) -> str | None:
    """Return why the search ends after a level, if it does."""
    if flat >= _FLAT_LEVELS:
        return "more users are not served more"
    if users >= MAX_USERS:
        return f"there are {users} users"
    return "the time for it is over" if over else None


def _level(driver: Driver, users: int, duration_s: float) -> tuple[UserStep, int, tuple[Problem, ...]]:
    """Measure the figures of ``users`` users, how many of their requests failed, and what of others disturbed them."""
    run, problems = undisturbed_part(driver, driver.run(ClosedLoop.constant(users=users, duration_s=duration_s)))
    summary = summarize(run)
    step = UserStep(
        users=users,
        duration_s=(run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S,
        throughput_per_s=summary.throughput_per_s,
        samples=summary.samples,
        latency_ms=summary.latency_ms,
        cpu_percent=summary.cpu_percent,
    )
    disturbing = tuple(problem for problem in problems if not problem.is_of_the_client)
    return step, summary.failed, disturbing


def _response_s(level: UserStep) -> float:
    """Return the mean response time, by Little's law."""
    return level.users / level.throughput_per_s if level.throughput_per_s else level.duration_s


def _fewest(levels: list[UserStep]) -> int:
    best = max(level.throughput_per_s for level in levels)
    return next(level.users for level in levels if level.throughput_per_s >= (1 - NEAR) * best)
