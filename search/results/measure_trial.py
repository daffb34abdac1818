"""One test of one configuration, by whichever driver: find its capacity, and hold it to the SLA.

A closed loop that keeps every worker busy, or the user's own phases, gives the capacity. Where a rate is asked, an open
loop at that rate, shared out over as many instances as it takes, gives the latency; a closed loop never stands in for
it. What may be done or left is left where a time limit leaves no room for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.drivers.start_driver import assemble
from servefit.profiler.evidence.plateaus import on_plateau, plateaus_of
from servefit.profiler.evidence.sequential_test import MAX_TRAFFIC_S
from servefit.profiler.evidence.stopping import StoppingConditions
from servefit.profiler.evidence.summary import PERCENTILES, samples_needed, summarize
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.procedures.decided_runs import run_decided, run_valid
from servefit.profiler.procedures.open_loops import whole_cycles_s
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.search.request.arrivals import cycle_s
from servefit.search.results.instances import PLANNED_UTILISATION, instance_counts
from servefit.search.results.objectives.registry import rate_that_counts
from servefit.search.results.recommendation import Trial
from servefit.time_limit import reserving, time_left_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.evidence.verdict import Judgement
    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.decided_runs import Decision
    from servefit.profiler.record.types import Measurement, Run
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.sla import Sla

MIN_CALLS = 10
"""Calls that the closed loop gives every worker time for. Throughput counts whole calls, so it may be too low by one
part in so many. Chosen, not measured."""

MAX_CAPACITY_S = 10.0
"""The closed loop takes no longer, however slow a call is: one second a call of MIN_CALLS."""

BETWEEN_S = 0.15
"""Seconds that a load takes beside itself: warm-up, telemetry, keeping the samples."""

MAX_BETWEEN_S = 0.7
"""As many are left for that where time is short: workers warm up for half a second at most, and what a time limit cuts
off is lost. Chosen, not measured."""

_NEAR = 0.5
"""A run that is undecided below this part of its limit lacks requests; more instances would have fewer still. Chosen,
not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """The seconds of the closed loop, and the fewest and the most of the open loop.

    The open loop takes as long as it takes to decide limits that are kept by far, which is more at a low rate. How long
    that is, is known before.
    """

    capacity_s: float
    at_rate_s: float
    at_rate_max_s: float

    def covering_cycle(self, cycle_s: float) -> Durations:
        """Return the same with an open loop of ``cycle_s`` at least, so that all that its arrivals do is seen."""
        return replace(self, at_rate_s=max(self.at_rate_s, cycle_s), at_rate_max_s=max(self.at_rate_max_s, cycle_s))


USUAL_START_S = 0.6
"""Seconds from nothing to fresh processes that are ready, before any start of this job was timed."""

SCREENING = Durations(capacity_s=0.4, at_rate_s=0.5, at_rate_max_s=3.0)
"""A test of the search: short, so that the usual time of a job has room for many. Chosen, not measured."""

ROUND = Durations(capacity_s=0.5, at_rate_s=1.0, at_rate_max_s=1.0)
"""A turn of a finalist: as long for each, since they are compared, and its limits need no decision. Chosen, not
measured."""

_PER_TURN = 1.5
"""Times the requests that a p95 takes, which turns at a rate are compared by: a turn has as many or more. Chosen, not
measured."""

MAX_TURN_S = 4.0
"""A job of the usual time has no room for rounds of longer turns. Chosen, not measured."""

CONFIRMING = Durations(capacity_s=1.5, at_rate_s=2.0, at_rate_max_s=MAX_TRAFFIC_S)
"""The last test of the winner, whose figures people are shown: it has whatever time is left."""

CONFIRMING_RUNS = 5
"""Runs of a confirmation, each by fresh processes and with arrivals of its own. The interval of five is half as wide as
that of three where they differ as much. Chosen."""

_TO_DECIDE = 8
"""Times the samples that a percentile takes: requests that wait in one queue are worth fewer independent ones. Chosen,
not measured."""


def turn_durations(request: JobRequest, instances: int = 1) -> Durations:
    """Return the durations of a turn where so many ``instances`` share the rate; without one that matters to the
    objective there is no open loop."""
    rate_per_s = rate_that_counts(request)
    if rate_per_s is None:
        return replace(ROUND, at_rate_s=0.0, at_rate_max_s=0.0)
    at_rate_s = max(ROUND.at_rate_s, _PER_TURN * samples_needed(95) * instances / rate_per_s)
    return replace(ROUND, at_rate_s=at_rate_s, at_rate_max_s=at_rate_s)


def min_test_s(request: JobRequest) -> float:
    """Return how long a test of the search takes at least: fresh processes are started, and put under load."""
    capacity_s = SCREENING.capacity_s if request.phases is None else request.phases.duration_s
    durations = SCREENING.covering_cycle(cycle_s(request))
    at_rate_s = 0.0 if request.sla.rate_per_s is None else BETWEEN_S + durations.at_rate_s
    return USUAL_START_S + BETWEEN_S + capacity_s + at_rate_s


def kept_for_rate_s(request: JobRequest, durations: Durations) -> float:
    """Return the seconds of a test that its closed loop leaves for the open one, zero where there is none."""
    if request.sla.rate_per_s is None:
        return 0.0
    return MAX_BETWEEN_S + durations.covering_cycle(cycle_s(request)).at_rate_s


def run_test(
    driver: MeasuredDriver,
    request: JobRequest,
    host: Host,
    durations: Durations = SCREENING,
    *,
    spare_s: float = 0.0,
    seed: int,
    instances: int | None = None,
    nth_round: int | None = None,
    chances: int = 1,
    keep: Callable[[Measurement], str | None] | None = None,
) -> Trial:
    """Measure what ``driver`` drives, on ``host``, and judge it. Its open loops are ``spare_s`` longer, as far as there
    is time after the closed one, and their arrivals come from ``seed``.
    ``instances`` share the rate, as few as keep the limits if not told. A PASS is one of so many ``chances``.
    ``keep`` is handed everything that was recorded, and says where it put it. Raises MeasurementError."""
    durations = durations.covering_cycle(cycle_s(request))
    with reserving(kept_for_rate_s(request, durations)):
        closed, problems = _run_closed(driver, request, durations)
    capacity = best_plateau(closed, request.sla)
    durations = replace(durations, at_rate_s=durations.at_rate_s + spare_s)
    attempts = _try_instances(driver, request, capacity, durations, seed, instances, chances)
    runs = (closed, *(attempt.run for attempt in attempts))
    measurement = assemble(driver, runs, host)
    trial = trial_of(measurement, request, capacity, problems, attempts, nth_round=nth_round, chances=chances)
    return replace(trial, kept_in=None if keep is None else keep(measurement))


def trial_of(
    measurement: Measurement,
    request: JobRequest,
    capacity: Summary,
    problems: tuple[Problem, ...],
    attempts: Sequence[JudgedLoop],
    *,
    nth_round: int | None = None,
    chances: int = 1,
) -> Trial:
    """Return the trial that the runs of ``measurement`` make: a closed loop with its ``capacity`` and ``problems``, and
    the open loops of ``attempts``. The other arguments are as in ``run_test``."""
    closed = measurement.runs[0]
    final = min(attempts, key=_nearness, default=None)
    if final is None:
        # Any of several plateaus may be the one that passes.
        of_plateaus = chances * len(plateaus_of(closed))
        judgement = judge(
            request.sla.thresholds, capacity=capacity, asked_per_s=request.sla.rate_per_s, chances=of_plateaus
        )
    else:
        problems, judgement = final.problems or problems, final.judgement
    invalid = bool(problems) and not request.allow_noise
    return Trial(
        configuration=measurement.configuration,
        measurement=replace(measurement, runs=()),
        capacity=capacity,
        at_rate=None if final is None else final.summary,
        instance_count=1 if final is None else final.instances,
        verdict="INVALID" if invalid else judgement.verdict,
        reason=problems[0].reason if invalid else judgement.reason,
        violation=judgement.violation,
        stopped=closed.stopped,
        problems=problems,
        threads_outside=max(run.threads_outside for run in measurement.runs),
        round=nth_round,
        driver=closed.driver,
        asked_per_s=None if final is None else final.asked_per_s,
    )


def _run_closed(driver: MeasuredDriver, request: JobRequest, durations: Durations) -> tuple[Run, tuple[Problem, ...]]:
    """Run the user's own phases, or as many users as keep every worker busy, for as long as a slow predictor takes to
    answer a countable number of calls."""
    allow_noise = request.allow_noise
    if request.phases is not None:
        rate_per_s = request.sla.rate_per_s
        stopping = StoppingConditions(
            flat=request.flat_invocations == "Stop",
            # More than this is not needed: an instance is planned to have time to spare.
            most_per_s=None if rate_per_s is None else rate_per_s / PLANNED_UTILISATION,
            thresholds=request.sla.thresholds,
        )
        return run_valid(driver, request.phases, allow_noise=allow_noise, stopping=stopping)
    users = driver.usual_users
    run, problems = run_valid(
        driver, ClosedLoop.constant(users=users, duration_s=durations.capacity_s), allow_noise=allow_noise
    )
    ended = run.samples.ended_ns()
    calls_ns = (ended - run.samples.started_ns())[ended > 0]
    call_s = float(calls_ns.mean()) / NS_PER_S if len(calls_ns) else 0.0
    # Calls in flight are waited for, and there is one to warm up.
    needed_s = min(MIN_CALLS * call_s, MAX_CAPACITY_S, time_left_s() - BETWEEN_S - 2 * call_s)
    if needed_s <= durations.capacity_s:
        return run, problems
    return run_valid(driver, ClosedLoop.constant(users=users, duration_s=needed_s), allow_noise=allow_noise)


def best_plateau(run: Run, sla: Sla) -> Summary:
    """Return the figures of the plateau with the most answers among those within the limits of ``sla``, or, where there
    is none, of the one that is nearest to them."""
    names = [threshold.percentile for threshold in sla.thresholds]
    plateaus = [summarize(on_plateau(run, edges), percentiles=names) for edges in plateaus_of(run)]
    judged = [(judge(sla.thresholds, capacity=plateau), plateau) for plateau in plateaus]
    within = [plateau for judgement, plateau in judged if judgement.verdict != "FAIL"]
    if within:
        return max(within, key=lambda plateau: plateau.throughput_per_s)
    return min(judged, key=lambda pair: pair[0].violation)[1]


def percentiles_of(request: JobRequest) -> tuple[str, ...]:
    """Return the usual percentiles and those that the SLA limits."""
    return tuple(dict.fromkeys([*PERCENTILES, *(threshold.percentile for threshold in request.sla.thresholds)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedLoop:
    """An open loop, ``run``, at the share of the rate that so many instances leave for one; ``problems`` are what is
    wrong with it."""

    instances: int
    asked_per_s: float
    run: Run
    problems: tuple[Problem, ...]
    summary: Summary
    judgement: Judgement


def _try_instances(
    driver: MeasuredDriver,
    request: JobRequest,
    capacity: Summary,
    durations: Durations,
    seed: int,
    only: int | None,
    chances: int,
) -> Sequence[JudgedLoop]:
    """Run open loops at the rate asked, shared out over more and more instances until the limits hold, or over ``only``
    so many; none where no rate was asked, or where the closed loop answered nothing. Each number of instances that may
    be tried is another chance to pass."""
    rate_per_s = request.sla.rate_per_s
    if rate_per_s is None or not capacity.throughput_per_s:
        return ()
    attempts: list[JudgedLoop] = []
    least_s = BETWEEN_S + min(durations.at_rate_s, CONFIRMING.at_rate_s)
    counts = instance_counts(rate_per_s, capacity.throughput_per_s) if only is None else [only]
    for instances in counts:
        decision = _run_at_rate(
            driver,
            request,
            rate_per_s / instances,
            durations,
            seed=derived_seed(seed, instances),
            chances=chances * len(counts),
        )
        summary = summarize(decision.run, percentiles=percentiles_of(request))
        judgement = judge(
            request.sla.thresholds,
            capacity=capacity,
            at_rate=summary,
            evidence=decision.evidence,
            asked_per_s=rate_per_s / instances,
            budget_s=request.budget_s,
        )
        attempts.append(
            JudgedLoop(
                instances=instances,
                asked_per_s=rate_per_s / instances,
                run=decision.run,
                problems=decision.problems,
                summary=summary,
                judgement=judgement,
            )
        )
        if not _more_may_help(judgement, summary, request) or time_left_s() < least_s:
            break
    return attempts


def _nearness(attempt: JudgedLoop) -> tuple[int, float, int]:
    """Return a key to sort attempts by: those that meet the SLA come first, then those that may, then those that are
    nearest to it; the fewest instances of those."""
    order = ("PASS", "UNDECIDED", "FAIL").index(attempt.judgement.verdict)
    return order, attempt.judgement.violation if order == 2 else 0.0, attempt.instances


def _more_may_help(judgement: Judgement, summary: Summary, request: JobRequest) -> bool:
    """Return whether it is for queueing that the limits are broken, or nearly so: calls alone take no longer than
    they."""
    thresholds = request.sla.thresholds
    calls_ms = [
        (summary.service_ms.get(limit.percentile) or summary.service_ms.get("p50"), limit) for limit in thresholds
    ]
    if judgement.verdict == "PASS" or any(ms is not None and ms > limit.limit_ms for ms, limit in calls_ms):
        return False
    if judgement.verdict == "FAIL":
        return bool(thresholds)
    waits_ms = [(summary.latency_ms[limit.percentile], limit) for limit in thresholds]
    return any(ms is not None and ms > _NEAR * limit.limit_ms for ms, limit in waits_ms)


def _run_at_rate(
    driver: MeasuredDriver, request: JobRequest, rate_per_s: float, durations: Durations, *, seed: int, chances: int
) -> Decision:
    """Run an open loop, and hold it against the limits of the SLA. One that has no limits takes its shortest duration,
    and so does one that has little time, or as much of that as is left, but no less than a test of the search. One
    whose rate varies takes whole cycles."""
    thresholds, cycle = request.sla.thresholds, cycle_s(request)
    left_s = time_left_s() - MAX_BETWEEN_S
    least_s = max(min(durations.at_rate_s, left_s), SCREENING.covering_cycle(cycle).at_rate_s)
    needed = max((_TO_DECIDE * samples_needed(threshold.rank) for threshold in thresholds), default=0)
    duration_s = max(least_s, min(needed / rate_per_s, durations.at_rate_max_s, left_s))
    traffic = OpenLoop(
        rate_per_s=rate_per_s,
        duration_s=whole_cycles_s(duration_s, cycle),
        arrivals=request.arrivals,
        seed=seed,
    )
    return run_decided(driver, traffic, thresholds, allow_noise=request.allow_noise, chances=chances)
