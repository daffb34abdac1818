"""The steps of a load on an endpoint: ever more users, users in phases, a rate, the highest one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from servefit.profiler.evidence.plateaus import plateaus_of, steps_of
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.procedures.decided_runs import (
    MIN_SEARCH_S,
    find_highest_rate,
    nearest_run,
    run_decided,
    run_valid,
)
from servefit.profiler.procedures.saturation import find_saturation, try_users
from servefit.quantities import given_text
from servefit.search.results.measure_trial import best_plateau

if TYPE_CHECKING:
    from servefit.profiler.drivers.http.endpoint_driver import EndpointDriver
    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.plateaus import UserStep
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.procedures.decided_runs import Decision
    from servefit.profiler.procedures.tried_rates import HighestRate
    from servefit.profiler.record.types import Run
    from servefit.search.optimizer.progress import Progress
    from servefit.search.request.load_request import LoadRequest

Clients: TypeAlias = "Callable[[], AbstractContextManager[EndpointDriver]]"
"""Starts load clients for as long as a block lasts."""

_USERS_SHARE = 0.2
"""Part of the time for the highest rate that is for finding how many users keep the endpoint busy. Chosen, not
measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOutcome:
    """The outcome of a load: as in ``LoadTest``, and the most requests a second that there were."""

    runs: tuple[Run, ...]
    summary: Summary
    problems: tuple[Problem, ...]
    most_per_s: float | None = None
    capacity: Summary | None = None
    users: int | None = None
    steps: tuple[UserStep, ...] = ()
    ended: str | None = None
    decision: Decision | None = None
    highest: HighestRate | None = None
    verdict: Verdict | None = None
    reason: str | None = None


def measure(clients: Clients, request: LoadRequest, progress: Progress) -> LoadOutcome:
    """Carry out what is asked for: a search, or users, and then a rate, each with fresh load clients.

    Raises as ``Driver.run``, and what ``clients`` raises.
    """
    rate_per_s = request.sla.rate_per_s
    before: LoadOutcome | None = None
    if rate_per_s is None or request.searches or request.users is not None or request.phases is not None:
        with clients() as driver:
            before = _measure_before_rate(driver, request, progress)
    if rate_per_s is None and before is not None:
        return before
    with clients() as driver:
        return _load_at_rate(driver, request, before, progress)


def _measure_before_rate(driver: EndpointDriver, request: LoadRequest, progress: Progress) -> LoadOutcome:
    if not request.searches:
        return _load_users(driver, request, progress)
    if request.sla.thresholds and request.sla.rate_per_s is None:
        return _find_highest(driver, request, progress)
    return _find_saturation(driver, request, progress)


def _load_users(driver: EndpointDriver, request: LoadRequest, progress: Progress) -> LoadOutcome:
    """Load the endpoint with users who take turns: a constant number, or in phases."""
    allow_noise, thresholds = request.allow_noise, request.sla.thresholds
    limit_ms = min((threshold.limit_ms for threshold in thresholds), default=None)
    if request.users is not None:
        progress.stage(f"{request.users} users")
        run, problems = run_valid(driver, request.constant_users(request.users), allow_noise=allow_noise)
    else:
        progress.stage("users in phases")
        loop = request.phases or request.constant_users(1)
        run, problems = run_valid(driver, loop, limit_ms=limit_ms, allow_noise=allow_noise, stopping=request.stopping())
    summary = best_plateau(run, request.sla)
    # Any of several plateaus may be the one that passes.
    chances = len(plateaus_of(run))
    judgement = judge(thresholds, capacity=summary, chances=chances)
    asked = bool(thresholds)
    return LoadOutcome(
        runs=(run,),
        summary=summary,
        problems=problems,
        most_per_s=None if request.users is not None or judgement.verdict == "FAIL" else summary.throughput_per_s,
        steps=steps_of(run, percentiles=[threshold.percentile for threshold in thresholds]),
        verdict=judgement.verdict if asked else None,
        reason=judgement.reason if asked else None,
    )


def _find_saturation(driver: EndpointDriver, request: LoadRequest, progress: Progress) -> LoadOutcome:
    """Find the most requests that are answered."""
    progress.stage("more and more users, until more are not served more")
    saturation = find_saturation(driver, budget_s=request.search_s, allow_noise=request.allow_noise)
    summary = summarize(saturation.run)
    return LoadOutcome(
        runs=(saturation.run,),
        summary=summary,
        problems=saturation.problems,
        most_per_s=summary.throughput_per_s,
        capacity=summary,
        users=saturation.tried.users,
        steps=saturation.tried.levels,
        ended=saturation.tried.ended,
    )


def _find_highest(driver: EndpointDriver, request: LoadRequest, progress: Progress) -> LoadOutcome:
    """Find the highest rate at which the limits hold, and before it how many users keep the endpoint busy."""
    thresholds = request.sla.thresholds
    progress.stage("more and more users, until more are not served more")
    tried = try_users(driver, budget_s=_USERS_SHARE * request.search_s, allow_noise=request.allow_noise)
    progress.stage("the highest rate within the limits")
    highest, runs, problems = find_highest_rate(
        driver.busy_with(tried.users),
        thresholds,
        budget_s=max(MIN_SEARCH_S, (1 - _USERS_SHARE) * request.search_s),
        seed=request.seed,
        allow_noise=request.allow_noise,
        arrivals=request.arrivals,
    )
    run = nearest_run(runs, highest)
    return LoadOutcome(
        runs=(run,),
        summary=summarize(run, percentiles=[threshold.percentile for threshold in thresholds]),
        problems=problems,
        most_per_s=highest.rate_per_s,
        users=None,
        steps=tried.levels,
        highest=highest,
        verdict=highest.verdict,
        reason=None if highest.verdict == "PASS" else highest.ended,
    )


def _load_at_rate(
    driver: EndpointDriver, request: LoadRequest, before: LoadOutcome | None, progress: Progress
) -> LoadOutcome:
    """Load the endpoint at a rate, after whatever came before it."""
    loop, thresholds = request.open_loop(), request.sla.thresholds
    progress.stage(f"{given_text(loop.rate_per_s)} requests/s")
    decision = run_decided(driver, loop, thresholds, allow_noise=request.allow_noise)
    summary = summarize(decision.run, percentiles=[threshold.percentile for threshold in thresholds])
    outcome = LoadOutcome(
        runs=(decision.run,),
        summary=summary,
        problems=decision.problems,
        decision=decision,
        verdict=decision.verdict,
        reason=decision.reason,
    )
    if before is None:
        return outcome
    return replace(
        outcome,
        runs=(*before.runs, *outcome.runs),
        problems=(*before.problems, *outcome.problems),
        most_per_s=before.most_per_s,
        capacity=before.capacity or before.summary,
        users=before.users,
        steps=before.steps,
        ended=before.ended,
    )
