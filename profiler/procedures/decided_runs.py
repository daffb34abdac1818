"""Runs whose outcome can be relied upon: repeated where the machine got in the way, and decided as a whole.

What makes a run worthless is said in ``evidence.validity``, how a threshold is decided in
``evidence.sequential_test``, and when a PASS may be relied upon in ``evidence.run_verdict``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.arrivals.seeds import derived_seed
from servefit.profiler.defaults import ARRIVALS
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.evidence.replayed_percentiles import all_answered
from servefit.profiler.evidence.run_verdict import evidence_of, responses_ns, start_tests
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.undisturbed import counted, left_out_s
from servefit.profiler.evidence.validity import problems, without_disturbances
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.procedures.highest_rate import MIN_RUN_S, highest_rate
from servefit.profiler.procedures.open_loops import check_search, whole_cycles_s
from servefit.profiler.procedures.tried_rates import OpenRun
from servefit.profiler.queueing.recorded_calls import discipline_of, served_requests
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.showing import shown
from servefit.time_limit import time_left_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from servefit.profiler.drivers.driver import Driver
    from servefit.profiler.evidence.limits import LatencyThreshold, Verdict
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.sequential_test import Evidence, SequentialTest
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.procedures.tried_rates import HighestRate
    from servefit.profiler.record.traffic import Traffic
    from servefit.profiler.record.types import Run

_log = logging.getLogger(__name__)

ATTEMPTS = 3
"""At a run. A short one lies within a disturbance as a whole, and then there is no rest of it: beside a neighbour that
has the CPU for 30 % of every second, one job in four was not confirmed with two attempts. Chosen."""

REPEATED_IN = 1.25
"""A run is made again where so many times what it took is left: the second may take longer to begin, and what a time
limit cuts off is lost with the first. Chosen, not measured."""

CAPACITY_SHARE = 0.05
"""The part of the time for a search that the closed loop before it takes."""

MIN_SEARCH_S = 1.0
"""The first run of a search, a twentieth of it, is then twice as long as the shortest that decides anything."""


@shown("verdict", "evidence", "problems")
@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The decision on thresholds at the rate of ``run``, and its reason, None for a PASS. ``evidence`` has one a
    threshold; ``problems`` are what is wrong with the run, the last of all attempts."""

    run: Run
    verdict: Verdict
    reason: str | None
    evidence: tuple[Evidence, ...]
    problems: tuple[Problem, ...]


def run_valid(
    driver: Driver,
    traffic: Traffic,
    *,
    limit_ms: float | None = None,
    allow_noise: bool = False,
    stopping: StoppingConditions | None = None,
    kept_s: float = 0.0,
) -> tuple[Run, tuple[Problem, ...]]:
    """Carry out ``traffic``, and again if the machine got in the way; give the last run and what is wrong with it.

    ``limit_ms`` is the tightest latency limit that the run is to be held against. There is one
    attempt with ``allow_noise``, and where a time limit leaves too little for another and the ``kept_s`` of what
    follows it. ``stopping`` may end a closed loop before its time. Raises as ``Driver.run``.
    """
    return _repeated(
        driver,
        traffic,
        lambda traffic: driver.run(traffic, stopping=stopping),
        limit_ms=limit_ms,
        allow_noise=allow_noise,
        kept_s=kept_s,
    )


def run_decided(
    driver: Driver,
    traffic: OpenLoop,
    thresholds: Sequence[LatencyThreshold],
    *,
    allow_noise: bool = False,
    chances: int = 1,
) -> Decision:
    """Carry out ``traffic``, and decide on all of its requests whether each of ``thresholds`` holds.

    The run ends early if a limit is certainly broken; with a varying rate of arrivals it never does, since one part
    says nothing about the rest. A run that the machine disturbed is repeated if there is time, and INVALID if every run
    was disturbed; with ``allow_noise`` neither. A PASS allows for ``chances`` decisions, one of which is enough.
    Raises as ``Driver.run``.
    """
    limit_ms = min((threshold.limit_ms for threshold in thresholds), default=None)
    tests = _Tests(thresholds, traffic, chances)

    def carry_out(traffic: Traffic) -> Run:
        tests.begin()
        return driver.run(traffic, enough=tests.surely_fail if thresholds else None)

    run, disturbances = _repeated(driver, traffic, carry_out, limit_ms=limit_ms, allow_noise=allow_noise)
    evidence = tests.evidence(run)
    summary = summarize(run, percentiles=[threshold.percentile for threshold in thresholds])
    judgement = judge(thresholds, capacity=summary, at_rate=summary, evidence=evidence, asked_per_s=traffic.rate_per_s)
    verdict, reason = judgement.verdict, judgement.reason
    if disturbances and not allow_noise:
        verdict, reason = "INVALID", "; ".join(problem.reason for problem in disturbances)
    return Decision(run=run, verdict=verdict, reason=reason, evidence=evidence, problems=disturbances)


def check_search_time(budget_s: float) -> None:
    """Raise SpecError for one that is too short to search in."""
    check_above_zero("duration", budget_s)
    if budget_s < MIN_SEARCH_S:
        raise SpecError("duration", budget_s, "is too short to search in", remedy=f"give {MIN_SEARCH_S:g} s at least")


def find_highest_rate(
    driver: Driver,
    thresholds: Sequence[LatencyThreshold],
    *,
    budget_s: float,
    seed: int = 0,
    allow_noise: bool = False,
    arrivals: str = ARRIVALS,
) -> tuple[HighestRate, tuple[Run, ...], tuple[Problem, ...]]:
    """Look for the highest mean rate of ``arrivals`` at which all ``thresholds`` hold, for about ``budget_s``.

    Return the result, all runs (the first is the closed loop that measures the capacity), and one problem of each kind
    if disturbances limited the result. Of a disturbed run the undisturbed rest counts; if that is too little, the run
    is left out and repeated, until there are too many of them. With ``allow_noise`` no run is left out, and all
    problems are returned. Raises SpecError, and as ``Driver.run``.
    """
    if not thresholds:
        raise SpecError("sla", (), "limits nothing", remedy="limit at least one percentile")
    check_search_time(budget_s)
    cycle_s = check_search(arrivals, budget_s)
    limit_ms = min(threshold.limit_ms for threshold in thresholds)
    users = driver.usual_users
    capacity_s = CAPACITY_SHARE * budget_s
    closed, disturbances = run_valid(
        driver, ClosedLoop.constant(users=users, duration_s=capacity_s), limit_ms=limit_ms, allow_noise=allow_noise
    )
    runs, problems = [closed], list(disturbances)

    def probe(rate_per_s: float, requests: int, stop: Callable[[np.ndarray], bool]) -> OpenRun:
        duration_s = whole_cycles_s(requests / rate_per_s, cycle_s)
        traffic = OpenLoop(
            rate_per_s=rate_per_s, duration_s=duration_s, arrivals=arrivals, seed=derived_seed(seed, len(runs))
        )
        whole = driver.run(traffic, enough=stop)
        run, disturbing = undisturbed_part(driver, whole, limit_ms, allow_noise=allow_noise)
        runs.append(run)
        problems.extend(disturbing)
        rest = counted(run)
        return OpenRun(
            response_ns=responses_ns(rest, thresholds),
            elapsed_s=(run.plateau_ns[1] - run.plateau_ns[0]) / NS_PER_S,
            left_out_s=left_out_s(run),
            saturated=summarize(run).saturated,
            disturbed=bool(disturbing) and not allow_noise,
            served=served_requests(rest) if all_answered(rest) else None,
        )

    highest = highest_rate(
        probe,
        saturation_per_s=max(summarize(closed).throughput_per_s, 1 / capacity_s),
        thresholds=thresholds,
        budget_s=budget_s - capacity_s,
        seed=seed,
        shortest_s=max(MIN_RUN_S, cycle_s),
        discipline=discipline_of(closed, driver.configuration),
        arrivals=arrivals,
    )
    spoilt = highest.disturbed or disturbances or allow_noise
    return highest, tuple(runs), one_of_each_kind(problems) if spoilt else ()


def nearest_run(runs: Sequence[Run], highest: HighestRate) -> Run:
    """Return the run at the highest rate, the last of them; without such a rate the one nearest to the estimate."""
    rate_per_s = highest.rate_per_s or highest.root_per_s or 0.0
    open_loops = [(run, run.traffic.rate_per_s) for run in runs if isinstance(run.traffic, OpenLoop)]
    nearest = min(reversed(open_loops), key=lambda run_and_rate: abs(run_and_rate[1] - rate_per_s), default=None)
    return runs[-1] if nearest is None else nearest[0]


def _repeated(
    driver: Driver,
    traffic: Traffic,
    carry_out: Callable[[Traffic], Run],
    *,
    limit_ms: float | None,
    allow_noise: bool,
    kept_s: float = 0.0,
) -> tuple[Run, tuple[Problem, ...]]:
    """Return the first undisturbed run of ``carry_out``, or the last run with its problems. There are at most ATTEMPTS,
    each with other arrivals, within the time left after ``kept_s``."""
    seed = traffic.seed if isinstance(traffic, OpenLoop) else 0
    for attempt in range(ATTEMPTS):
        if attempt and isinstance(traffic, OpenLoop):
            traffic = replace(traffic, seed=derived_seed(seed, attempt))
        began_s = time.monotonic()
        run, disturbances = undisturbed_part(driver, carry_out(traffic), limit_ms, allow_noise=allow_noise)
        took_s = time.monotonic() - began_s
        is_last = attempt == ATTEMPTS - 1 or REPEATED_IN * took_s > time_left_s() - kept_s
        if is_last or allow_noise or not any(problem.is_transient for problem in disturbances):
            break
        _log.info("the run is made again: %s", "; ".join(problem.reason for problem in disturbances))
    return run, disturbances


def undisturbed_part(
    driver: Driver, run: Run, limit_ms: float | None = None, *, allow_noise: bool = False
) -> tuple[Run, tuple[Problem, ...]]:
    """Return ``run`` without its disturbed stretches if that is a good measurement; else ``run`` and its problems. With
    ``allow_noise`` the whole run counts."""
    disturbances = problems_of(driver, run, limit_ms)
    envelope = driver.envelope
    if disturbances and not allow_noise and envelope is not None:
        rest = without_disturbances(run, limit_ms=limit_ms, cpus=envelope.cpus, containment=envelope.containment)
        if rest is not None:
            return rest, ()
    return run, disturbances


def problems_of(driver: Driver, run: Run, limit_ms: float | None = None) -> tuple[Problem, ...]:
    """Return what is wrong with ``run``, which ``driver`` made and which is held against ``limit_ms``, if anything."""
    envelope = driver.envelope
    if envelope is None:
        return problems(run, limit_ms=limit_ms, cpus=())
    return problems(run, limit_ms=limit_ms, cpus=envelope.cpus, containment=envelope.containment)


class _Tests:
    """The tests of one run."""

    def __init__(self, thresholds: Sequence[LatencyThreshold], traffic: OpenLoop, chances: int) -> None:
        self._thresholds = thresholds
        self._chances = chances
        self._tests: list[SequentialTest] = []
        self._steady = traffic.is_steady

    def begin(self) -> None:
        """Forget what was seen of an earlier run."""
        self._tests = start_tests(self._thresholds, chances=self._chances)

    def surely_fail(self, response_ns: np.ndarray) -> bool:
        """Look at the response times so far."""
        return self._steady and any(test.surely_fails(response_ns) for test in self._tests)

    def evidence(self, run: Run) -> tuple[Evidence, ...]:
        """Return the evidence of all of ``run``."""
        # What was seen as the run went on may have been a disturbance.
        tests = start_tests(self._thresholds, chances=self._chances) if run.left_out_ns else self._tests
        return evidence_of(run, tests, self._thresholds, workers=max(1, len(run.threads_per_worker)))
