"""The confirmation of a configuration: several tests of it, each by fresh processes, that make one trial.

What is printed of a winner has the differences between runs in its intervals (``profiler.evidence.several_runs``), and
is held against the SLA with the requests of all runs. A run that the machine got in the way of is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.profiler.evidence.intervals import MIN_VALUES
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.results.instances import instance_counts
from servefit.search.results.measure_trial import percentiles_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servefit.profiler.evidence.sequential_test import Evidence
    from servefit.profiler.record.types import Measurement, Run
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial


MIN_VALID = MIN_VALUES
"""Undisturbed runs that a confirmation of several takes: as many as an interval does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationTest:
    """One test of a confirmation: the trial, and what it recorded."""

    trial: Trial
    measurement: Measurement

    @property
    def closed(self) -> Run:
        """The closed loop."""
        return self.measurement.runs[0]

    def judged(self, rate_per_s: float | None) -> Run | None:
        """Return the open loop that the trial was judged by, where all instances together have ``rate_per_s``; None
        where no rate was asked, or nothing was answered."""
        if rate_per_s is None or self.trial.at_rate is None:
            return None
        share_per_s = rate_per_s / self.trial.instance_count
        for run in self.measurement.runs:
            if isinstance(run.traffic, OpenLoop) and run.traffic.rate_per_s == share_per_s:
                return run
        return None


def confirmed_trial(
    parts: Sequence[ConfirmationTest],
    request: JobRequest,
    *,
    chances: int = 1,
    instances: int | None = None,
    keep: Callable[[Measurement], str | None] | None = None,
) -> Trial:
    """Return the trial that ``parts``, one or more tests of one configuration, make together.

    It is INVALID where the machine got in the way of so many that an interval over the others would take more, unless
    one of these fails: then no more were made, and it counts. A PASS is one of so many ``chances``, times as many as
    there are numbers of instances to try where these were not given. ``keep`` is handed what all of them recorded, and
    says where it put it.
    """
    first = parts[0].trial
    whole = replace(
        parts[-1].measurement,
        runs=tuple(run for part in parts for run in part.measurement.runs),
        peak_memory_bytes=max(part.measurement.peak_memory_bytes for part in parts),
    )
    kept_in = None if keep is None else keep(whole)
    valid = [part for part in parts if part.trial.verdict != "INVALID"]
    problems = one_of_each_kind([problem for part in parts for problem in part.trial.problems])
    first = replace(
        first,
        measurement=replace(whole, runs=()),
        kept_in=kept_in,
        threads_outside=max(part.trial.threads_outside for part in parts),
    )
    if len(parts) == 1:
        return first
    failed = any(part.trial.verdict == "FAIL" for part in valid)
    invalid = not failed and len(valid) < min(len(parts), MIN_VALID)
    counted = parts if invalid else valid
    if request.sla.rate_per_s is None and len(counted) < MIN_VALUES:
        counted = counted[-1:]  # two have no interval, which limits in a closed loop are held against, and one has
    names = percentiles_of(request)
    capacity = summarize_runs([part.closed for part in counted], percentiles=names)
    loops = [loop for part in counted if (loop := part.judged(request.sla.rate_per_s)) is not None]
    at_rate = None
    if len(loops) == len(counted):
        at_rate = summarize_runs(loops, configuration=first.configuration, percentiles=names)
    tried = 1 if instances is not None else _instance_counts(request, first)
    evidence = () if at_rate is None else _evidence(loops, request, first, chances * tried)
    judgement = judge(
        request.sla.thresholds,
        capacity=capacity,
        at_rate=at_rate,
        evidence=evidence,
        asked_per_s=_share_per_s(request, first.instance_count),
        chances=chances,
        runs=len(counted),
        budget_s=request.budget_s,
    )
    return replace(
        first,
        capacity=capacity,
        at_rate=at_rate,
        verdict="INVALID" if invalid else judgement.verdict,
        reason=problems[0].reason if invalid else judgement.reason,
        violation=judgement.violation,
        problems=problems if invalid or request.allow_noise else (),
    )


def _evidence(loops: Sequence[Run], request: JobRequest, first: Trial, chances: int) -> Sequence[Evidence]:
    """Return what ``loops`` together say of each limit."""
    return evidence_of_runs(
        loops,
        request.sla.thresholds,
        workers=first.configuration.workers,
        chances=chances,
    )


def _share_per_s(request: JobRequest, instances: int) -> float | None:
    """Return the rate that each of so many instances has to carry; None where none was asked."""
    return None if request.sla.rate_per_s is None else request.sla.rate_per_s / instances


def _instance_counts(request: JobRequest, first: Trial) -> int:
    """Return how many numbers of instances the ``first`` test chose from; one where nothing was answered, since it
    tried none then."""
    per_s = first.capacity.throughput_per_s
    return len(instance_counts(request.sla.rate_per_s or 0.0, per_s)) if per_s else 1
