"""What has to be said beside a recommendation: warnings, and how every compilation turned out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.backends.types import Target

if TYPE_CHECKING:
    from servefit.profiler.types import Configuration
    from servefit.search.header import JobHeader
    from servefit.search.recommendation import CompilationReport, FailedTrial, Recommendation, Trial


def job_warnings(
    header: JobHeader,
    trials: Sequence[Trial],
    failed: Sequence[FailedTrial],
    recommendations: Sequence[Recommendation],
) -> tuple[str, ...]:
    """Everything a reader of the job must know, in the order of importance."""
    return tuple(_warnings(header, trials, failed, recommendations))


def _warnings(
    header: JobHeader,
    trials: Sequence[Trial],
    failed: Sequence[FailedTrial],
    recommendations: Sequence[Recommendation],
) -> Iterator[str]:
    payload, sla = header.payload, header.request.sla
    yield from header.model.warnings
    if payload.synthetic:
        yield "synthetic payload: rows were drawn from the model, not from your traffic; give one with --payload"
    if payload.truncated_from is not None:
        yield f"the first {payload.rows} of {payload.truncated_from} rows of the payload are used"
    if any(trial.measurement.containment == "uncontained" for trial in trials):
        yield (
            "uncontained: profiles are emulated by CPU affinity alone, without a memory limit; "
            "servefit host says what is missing"
        )
    if any(trial.threads_outside for trial in trials):
        yield "some threads were allowed on CPUs outside their profile, so their profile's figures may be too good"
    if any(one.profile.price_source for one in recommendations):
        yield "named instance types give a shape and a price; every figure was measured on this host's processors"
    yield from _noise(trials)
    if trials and sla.thresholds and sla.rate_per_s is None:
        yield "latency was measured in a closed loop; give --rate to have it measured at a rate of arrivals"
    for one in _crowded(trials):
        yield (
            f"{one.workers} workers of {one.settings.threads} threads were asked for on {one.vcpus} vCPUs: "
            f"they take turns, and latency suffers"
        )
    for reason, times in Counter(failure.reason for failure in failed).items():
        yield f"{times} {'test' if times == 1 else 'tests'} failed: {reason}"


def _noise(trials: Sequence[Trial]) -> Iterator[str]:
    """What got in the way of measurements, one example of each kind."""
    disturbed = [trial for trial in trials if trial.problems]
    if not disturbed:
        return
    times = Counter(problem.kind for trial in disturbed for problem in trial.problems)
    examples = {problem.kind: problem for trial in disturbed for problem in trial.problems}
    for kind, count in times.most_common():
        one = examples[kind]
        yield f"the machine got in the way of {count} of {len(trials)} tests ({kind}): {one.reason}; {one.remedy}"


def _crowded(trials: Sequence[Trial]) -> list[Configuration]:
    """One example for every size of envelope of configurations with more threads than vCPUs."""
    crowded = {
        one.vcpus: one for one in (t.configuration for t in trials) if one.workers * one.settings.threads > one.vcpus
    }
    return list(crowded.values())


def with_speedups(
    reports: Sequence[CompilationReport], speedups: Sequence[tuple[str, Target, float]], reference: str
) -> tuple[CompilationReport, ...]:
    """The reports with each backend's speed over the reference's. A compilation that did not pay says so."""
    known = {(backend, target): speedup for backend, target, speedup in speedups}
    return tuple(_with_speedup(report, known.get((report.backend, report.target)), reference) for report in reports)


def _with_speedup(report: CompilationReport, speedup: float | None, reference: str) -> CompilationReport:
    if report.status == "FAILED" or (report.backend, report.target) == (reference, Target.CPU):
        return report
    if speedup is None:
        return replace(report, reason=f"not timed in the same setting as {reference}")
    return replace(report, speedup=speedup, reason=None if speedup > 1 else f"not faster than {reference}")
