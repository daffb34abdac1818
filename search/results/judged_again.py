"""A test judged once more, by a process that did not make it: its trial is computed again from what was recorded.

Of what was said of the test only the number of instances goes in, which says by which of the runs it was judged. What
telemetry shows of a disturbance is held against the same rules as where the test was made (``evidence.validity``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.validity import problems
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.results.confirmed_trial import ConfirmationTest, confirmed_trial
from servefit.search.results.instances import instance_counts
from servefit.search.results.measure_trial import JudgedLoop, best_plateau, percentiles_of, trial_of

if TYPE_CHECKING:
    from servefit.profiler.evidence.problem import Problem
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.record.types import Measurement, Run
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial


def judged_again(
    measurement: Measurement,
    request: JobRequest,
    chosen: int,
    *,
    instances: int | None = None,
    nth_round: int | None = None,
    chances: int = 1,
) -> Trial:
    """Return the trial that the runs of ``measurement`` make, as ``run_test`` and ``confirmed_trial`` would; the
    arguments by name are theirs. ``chosen`` is the number of instances that it was judged for. ``measurement`` has one
    run or more, and the first is a closed loop."""
    parts: list[ConfirmationTest] = []
    for runs in tests_in(measurement.runs):
        count = chosen if parts else instances
        part = replace(measurement, runs=tuple(runs))
        trial = _trial(part, request, chosen, instances=count, nth_round=nth_round, chances=chances)
        parts.append(ConfirmationTest(trial=trial, measurement=part))
    return confirmed_trial(parts, request, chances=chances, instances=instances)


def tests_in(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Yield the runs of each test: a closed loop, and the open loops that follow it."""
    test: list[Run] = []
    for run in runs:
        if test and not isinstance(run.traffic, OpenLoop):
            yield test
            test = []
        test.append(run)
    if test:
        yield test


def _trial(
    measurement: Measurement,
    request: JobRequest,
    chosen: int,
    *,
    instances: int | None,
    nth_round: int | None,
    chances: int,
) -> Trial:
    closed, *loops = measurement.runs
    capacity = best_plateau(closed, request.sla)
    rate_per_s, attempts = request.sla.rate_per_s, []
    if rate_per_s is not None and capacity.throughput_per_s:
        counts = instance_counts(rate_per_s, capacity.throughput_per_s) if instances is None else [instances]
        attempts = [
            _attempt(run, measurement, request, capacity, chosen, chances * len(counts))
            for run in loops
            if isinstance(run.traffic, OpenLoop) and run.traffic.rate_per_s == rate_per_s / chosen
        ]
    return trial_of(
        measurement,
        request,
        capacity,
        _problems(closed, measurement, None),
        attempts,
        nth_round=nth_round,
        chances=chances,
    )


def _attempt(
    run: Run, measurement: Measurement, request: JobRequest, capacity: Summary, instances: int, chances: int
) -> JudgedLoop:
    thresholds, workers = request.sla.thresholds, measurement.configuration.workers
    evidence = evidence_of_runs([run], thresholds, workers=workers, chances=chances)
    if run.stopped == "verdict" and not run.left_out_ns:
        # A limit was surely broken by then, which more requests do not make untrue.
        evidence = tuple(replace(part, verdict="FAIL") for part in evidence)
    summary = summarize(run, percentiles=percentiles_of(request))
    asked_per_s = (request.sla.rate_per_s or 0.0) / instances
    return JudgedLoop(
        instances=instances,
        asked_per_s=asked_per_s,
        run=run,
        problems=_problems(run, measurement, min((threshold.limit_ms for threshold in thresholds), default=None)),
        summary=summary,
        judgement=judge(
            request.sla.thresholds,
            capacity=capacity,
            at_rate=summary,
            evidence=evidence,
            asked_per_s=asked_per_s,
            budget_s=request.budget_s,
        ),
    )


def _problems(run: Run, measurement: Measurement, limit_ms: float | None) -> tuple[Problem, ...]:
    """Return what is wrong with a run; what was disturbed of it is left out already, if that made it a good one."""
    return problems(run, limit_ms=limit_ms, cpus=measurement.cpus, containment=measurement.containment)
