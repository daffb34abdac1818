"""The plan of measuring the winner again: the number of runs of fresh processes, and their durations, in the time that
is left.

Several runs show how much such runs differ, which no single one does. Where there is no time for as many as an interval
takes, one run has all of the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING

from servefit.profiler.evidence.intervals import MIN_VALUES
from servefit.profiler.evidence.rare_disturbances import LONG_S
from servefit.profiler.evidence.sequential_test import least_to_pass
from servefit.profiler.evidence.summary import samples_needed
from servefit.quantities import span_text
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.measure_trial import CONFIRMING, CONFIRMING_RUNS, ROUND, USUAL_START_S, turn_durations

if TYPE_CHECKING:
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.measure_trial import Durations

_REPEATED = 0.5
_LEFT_OUT = 0.8
"""The part of the time that open loops have: a run that the machine gets in the way of is made again, a single one as a
whole, one of several as far as that fits. Chosen, not measured."""

_DRAIN_S = 1.0
"""Kept at the end of the last run, or as long as the longest limit: workers warm up before its open loop, and what
waits when that is over has to be answered in time. Chosen, not measured."""

_MIN_START_S = 0.3
"""From nothing to warm processes, at least: where rounds were quicker than their loads, they were cut short."""

_BUDGET_STEP_S = 10
_BUDGETS = 360
"""Budgets are proposed in such steps, of an hour more at most."""

_PER_PERCENTILE = 2
"""Times the samples that a percentile takes, in each run: more than chance makes of them. Chosen, not measured."""

_SHARE = 0.45
"""Of the time of a job, that is kept for the runs of its confirmation at most: what people rely on is measured then.
Chosen: so searches of 42 s, which keep time for turns as well, chose what is surely worse in 0, 6 and 50 % of 16 seeds
(cost, latency, throughput; benchmarks/claims/regret.py). With a quarter, which left 2 s for traffic, it was 8, 8 and
38 % of 24."""


MAX_CONFIRMATIONS = 2
"""A confirmation can make another configuration the winner, which is then confirmed: this is where that ends. One PASS
is enough for the answer. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationPlan:
    """So many ``runs``, each of the durations ``each``. ``spare_s`` are kept for runs that are made again; what is left
    of them the last open loop has."""

    runs: int
    each: Durations
    spare_s: float = 0.0

    @property
    def loads_s(self) -> float:
        """The seconds of all loads where none is made again, without the starts of their processes."""
        return self.runs * self.each.capacity_s + self.traffic_s

    @property
    def traffic_s(self) -> float:
        """The seconds of all open loops where none is made again."""
        return self.runs * self.each.at_rate_s + self.spare_s


_ENOUGH = 1_000_000
"""Requests, which have ten thousand beyond their p99. More are only kept and computed with. Chosen, not measured."""

_ENOUGH_S = 20.0
"""Of traffic, after which servers pass that keep far from a limit, also those that pause
(benchmarks/claims/verdicts.py). So much is kept time for, and is all that a job takes whose time has no limit."""


def plan_confirmation(request: JobRequest, *, left_s: float, round_test_s: float, in_one: bool) -> ConfirmationPlan:
    """Plan a confirmation that has ``left_s``, where a test in a round took ``round_test_s``; ``in_one`` run only if
    told, and where the traffic is the user's own, or has cycles."""
    start_s, at_rate = start_of_run_s(request, round_test_s), request.sla.rate_per_s is not None
    longest_s = _longest_s(request) if isfinite(left_s) else _ENOUGH_S
    shortest = shortest_run(request)
    beside_s = start_s + shortest.capacity_s
    fitting = int(min(CONFIRMING_RUNS, left_s / (beside_s + shortest.at_rate_s)))
    if at_rate:  # Fewer runs leave more of the time to traffic, which decides.
        long_runs = min(CONFIRMING_RUNS, left_s / (beside_s + CONFIRMING.at_rate_s))
        fitting = min(fitting, max(MIN_VALUES, int(long_runs)))
    if in_one or not can_be_in_runs(request) or fitting < MIN_VALUES:
        whole = CONFIRMING.covering_cycle(cycle_s(request))
        left_s -= _single_run_s(request, round_test_s)
        at_rate_s = max(whole.at_rate_s, min(longest_s, left_s * _share(request, _REPEATED)))
        return ConfirmationPlan(runs=1, each=replace(whole, at_rate_s=at_rate_s, at_rate_max_s=at_rate_s))
    if not at_rate:
        return ConfirmationPlan(runs=fitting, each=replace(shortest, at_rate_s=0.0, at_rate_max_s=0.0))
    loops_s = left_s - fitting * beside_s
    at_rate_s = max(shortest.at_rate_s, min(longest_s, loops_s * _share(request, _LEFT_OUT)) / fitting)
    drain_s = max([_DRAIN_S, *(threshold.limit_ms / 1000 for threshold in request.sla.thresholds)])
    spare_s = max(0.0, min(longest_s, loops_s - drain_s) - fitting * at_rate_s)
    run = replace(shortest, at_rate_s=at_rate_s, at_rate_max_s=at_rate_s)
    return ConfirmationPlan(runs=fitting, each=run, spare_s=spare_s)


def _longest_s(request: JobRequest) -> float:
    """Return how much traffic is enough: at high rates so many requests, but half a minute of them, so that a
    disturbance that comes every 6 s shows (see ``profiler.evidence.rare_disturbances``)."""
    rate_per_s = request.sla.rate_per_s
    return min(CONFIRMING.at_rate_max_s, inf if rate_per_s is None else max(LONG_S, _ENOUGH / rate_per_s))


def kept_for_confirmation_s(
    request: JobRequest, *, limit_s: float, round_test_s: float, hurried: bool = False
) -> float:
    """Return how much of the time of a job, ``limit_s`` in all, is kept for its confirmation; where that is
    ``hurried``, for as few and as short runs as give an interval."""
    least_s = min_confirmation_s(request, round_test_s=round_test_s)
    if not can_be_in_runs(request):
        return least_s
    shortest, runs = shortest_run(request), MIN_VALUES if hurried else CONFIRMING_RUNS
    traffic_s = runs * shortest.at_rate_s
    if shortest.at_rate_s and not hurried:
        traffic_s = max(traffic_s, _ENOUGH_S)
    beside_s = start_of_run_s(request, round_test_s) + shortest.capacity_s
    return max(least_s, min(_SHARE * limit_s, runs * beside_s + traffic_s))


def min_confirmation_s(request: JobRequest, *, round_test_s: float) -> float:
    """Return how long a confirmation takes at least."""
    whole = CONFIRMING.covering_cycle(cycle_s(request))
    return _single_run_s(request, round_test_s) + (0.0 if request.sla.rate_per_s is None else whole.at_rate_s)


def too_little_traffic(request: JobRequest, *, limit_s: float) -> str | None:
    """Return, in words, that what is kept for the winner of a job with ``limit_s`` is too little traffic for any PASS;
    None where it is enough, or no limit of latency or no rate was asked for."""
    rate_per_s = request.sla.rate_per_s
    if rate_per_s is None or not request.sla.thresholds or not can_be_in_runs(request):
        return None
    highest = max(request.sla.thresholds, key=lambda threshold: threshold.rank)
    needed_s = least_to_pass(highest.rank, chances=MAX_CONFIRMATIONS) / rate_per_s
    given_s = _traffic_s(request, limit_s)
    if needed_s <= given_s:
        return None
    budgets_s = (limit_s + _BUDGET_STEP_S * nth for nth in range(1, _BUDGETS))
    enough_s = next((budget_s for budget_s in budgets_s if _traffic_s(request, budget_s) >= needed_s), None)
    option = "" if enough_s is None else f": --budget {_BUDGET_STEP_S * ceil(enough_s / _BUDGET_STEP_S):g}s"
    return (
        f"the time of this job is short for a PASS: {highest.percentile} takes {span_text(ceil(needed_s))} of "
        f"traffic at {rate_per_s:g}/s, and about {span_text(given_s)} are kept for that{option}"
    )


def _traffic_s(request: JobRequest, limit_s: float) -> float:
    """Return the traffic of a confirmation that has what is kept for it in a job of ``limit_s``, on a usual machine."""
    turn = turn_durations(request)
    round_test_s = turn.capacity_s + turn.at_rate_s + USUAL_START_S
    plan = plan_confirmation(request, left_s=_SHARE * limit_s, round_test_s=round_test_s, in_one=False)
    return plan.traffic_s


def _single_run_s(request: JobRequest, round_test_s: float) -> float:
    """Return what a confirmation in one run takes beside its open loop, with as much to spare as the closed loop of a
    turn takes."""
    start_s, phases = start_of_run_s(request, round_test_s), request.phases
    return start_s + ROUND.capacity_s + (CONFIRMING.capacity_s if phases is None else phases.duration_s)


def can_be_in_runs(request: JobRequest) -> bool:
    """Return whether a confirmation may have several runs: the user's own traffic, and whole cycles, are one."""
    return request.phases is None and not cycle_s(request)


def shortest_run(request: JobRequest) -> Durations:
    """Return the durations of a run that has the samples for every percentile that is limited, and for p95."""
    at_rate_s, rate_per_s = 0.0, request.sla.rate_per_s
    if rate_per_s is not None:
        needed = max(samples_needed(rank) for rank in (95.0, *(threshold.rank for threshold in request.sla.thresholds)))
        at_rate_s = max(CONFIRMING.at_rate_s / CONFIRMING_RUNS, _PER_PERCENTILE * needed / rate_per_s)
    return replace(
        CONFIRMING,
        capacity_s=CONFIRMING.capacity_s / CONFIRMING_RUNS,
        at_rate_s=at_rate_s,
        at_rate_max_s=at_rate_s,
    )


def start_of_run_s(request: JobRequest, round_test_s: float) -> float:
    """Return what a run takes beside its loads, by what a test in a round took."""
    turn = turn_durations(request)
    return max(_MIN_START_S, round_test_s - turn.capacity_s - turn.at_rate_s)


def _share(request: JobRequest, share: float) -> float:
    return 1.0 if request.allow_noise else share
