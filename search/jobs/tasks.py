"""The tasks of a job, each a load on a configuration, as a step, and the time that they may take."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, inf
from typing import TYPE_CHECKING

from servefit.search.jobs.closing import DURATIONS, DURATIONS_ALONE
from servefit.search.optimizer.confirmation_plan import MAX_CONFIRMATIONS
from servefit.search.request.sla import Sla
from servefit.search.results.measure_trial import SCREENING, Durations, turn_durations
from servefit.search.results.objectives.registry import rate_that_counts

if TYPE_CHECKING:
    from servefit.search.optimizer.confirmation_plan import ConfirmationPlan
    from servefit.search.request.job_request import JobRequest
    from servefit.search.storage.steps import StepKind

PREPARATION_S = 6.0
"""Seconds before the first test of a model that was never seen, on a small machine that has other work too; two to
three seconds on an idle one."""

MIN_TIMING_S = 3.0
"""Timing the calls of one shape has no less, where there is as much: on an idle machine it takes one second."""

SPOT_CHECK = Durations(capacity_s=1.0, at_rate_s=2.0, at_rate_max_s=2.0)
"""Loads of a spot check: what differs by less than such a load shows makes no other class. Chosen, not measured."""

SPOT_CHECK_LIMIT_S = 60.0
"""A host that was not measured before compiles the model first. Chosen, not measured."""

_ROUNDING = 1e-9
"""A rate that is a share times a whole number takes that many instances, though division may give a little more."""

TIMES_USUAL = 3
"""A test of the search may take so many times what such tests take, if that is more than its share of the time. Chosen,
not measured: a test that the machine got in the way of is made again, and takes twice as long."""


def survey_limit_s(share_s: float, *, before_test_s: float, usual_s: float) -> float:
    """Return how long the costs of an endpoint may be measured where one of several things may take ``share_s``: as
    long as leaves time for a test, which is begun in ``before_test_s`` at the latest, though no less than it takes
    usually."""
    return min(share_s, max(before_test_s, usual_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTask:
    """A step of ``kind``; where time cuts it short it is ``called`` so. It may take ``limit_s``, and leaves ``kept_s``
    of the job's time. So many ``instances`` share the rate, as few as keep the limits if not told. ``nth_round`` is the
    round of finalists that it belongs to, if any. It is made of ``runs`` tests, each by fresh processes; the last has
    ``spare_s`` more, as far as they are left. A PASS of it is one of so many ``chances``."""

    kind: StepKind
    called: str
    request: JobRequest
    durations: Durations
    instances: int | None = None
    nth_round: int | None = None
    runs: int = 1
    spare_s: float = 0.0
    chances: int = 1
    limit_s: float = inf
    kept_s: float = 0.0


def screening(request: JobRequest, *, limit_s: float, kept_s: float) -> StepTask:
    """Return the task of a test of the search, which leaves ``kept_s`` of the job's time."""
    return StepTask(
        kind="load_test",
        called="the last test",
        request=request,
        durations=SCREENING,
        limit_s=limit_s,
        kept_s=kept_s,
    )


def turn(request: JobRequest, nth_round: int, instances: int, *, kept_s: float) -> StepTask:
    """Return the task of a finalist in a round: how much they answer, and, where what the job is about depends on it,
    at their share of the rate. It leaves ``kept_s`` of the job's time."""
    rate_per_s = rate_that_counts(request)
    return StepTask(
        kind="confirmation",
        called="the comparison of the best in turns",
        request=replace(request, sla=Sla(rate_per_s=rate_per_s)),
        durations=turn_durations(request, instances),
        instances=None if rate_per_s is None else instances,
        nth_round=nth_round,
        kept_s=kept_s,
    )


def confirmation(request: JobRequest, plan: ConfirmationPlan, *, kept_s: float) -> StepTask:
    """Return the task of measuring the winner again by ``plan``, which leaves ``kept_s`` of the job's time."""
    return StepTask(
        kind="confirmation",
        called="the second measurement of the winner",
        request=request,
        durations=plan.each,
        runs=plan.runs,
        spare_s=plan.spare_s,
        chances=MAX_CONFIRMATIONS,
        kept_s=kept_s,
    )


def at_rate(task: StepTask, rate_per_s: float) -> StepTask:
    """Return ``task`` at ``rate_per_s`` on each instance, of as many as carry the rate of its request together."""
    asked_per_s = task.request.sla.rate_per_s
    instances = 1 if asked_per_s is None else max(1, ceil(asked_per_s / rate_per_s * (1 - _ROUNDING)))
    sla = replace(task.request.sla, rate_per_s=instances * rate_per_s)
    return replace(task, request=replace(task.request, sla=sla), instances=instances)


def spot_check(request: JobRequest, rate_per_s: float) -> StepTask:
    """Return the task of seeing whether a host does at ``rate_per_s`` what one like it did."""
    task = StepTask(
        kind="spot_check",
        called="a spot check",
        request=request,
        durations=SPOT_CHECK,
        limit_s=SPOT_CHECK_LIMIT_S,
    )
    return at_rate(task, rate_per_s)


def beside(request: JobRequest) -> StepTask:
    """Return the task of measuring the winner in the other deployment."""
    if request.deployment == "library":
        return StepTask(kind="endpoint", called="the measurement over HTTP", request=request, durations=DURATIONS)
    return StepTask(
        kind="model_alone", called="the measurement of the model alone", request=request, durations=DURATIONS_ALONE
    )
