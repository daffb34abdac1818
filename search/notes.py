"""What has to be said beside a recommendation: warnings, and how every compilation turned out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.backends.types import Target

if TYPE_CHECKING:
    from servefit.profiler.types import Configuration
    from servefit.search.job import RecommendationJob
    from servefit.search.recommendation import CompilationReport, Trial


def job_warnings(job: RecommendationJob) -> tuple[str, ...]:
    """Everything a reader of the job must know, in the order of importance."""
    return tuple(_warnings(job))


def _warnings(job: RecommendationJob) -> Iterator[str]:
    yield from job.model.warnings
    if job.payload.synthetic:
        yield "synthetic payload: rows were drawn from the model, not from your traffic; give one with --payload"
    if job.payload.truncated_from is not None:
        yield f"the first {len(job.payload.rows)} of {job.payload.truncated_from} rows of the payload are used"
    if any(trial.measurement.containment == "uncontained" for trial in job.trials):
        yield (
            "uncontained: profiles are emulated by CPU affinity alone, without a memory limit; "
            "servefit host says what is missing"
        )
    if any(run.threads_outside for trial in job.trials for run in trial.measurement.runs):
        yield "some threads were allowed on CPUs outside their profile, so their profile's figures may be too good"
    if any(one.profile.price_source for one in job.recommendations):
        yield "named instance types give a shape and a price; every figure was measured on this host's processors"
    yield from _noise(job.trials)
    if job.trials and job.request.sla.thresholds and job.request.sla.rate_per_s is None:
        yield "latency was measured in a closed loop; give --rate to have it measured at a rate of arrivals"
    for one in _crowded(job.trials):
        yield (
            f"{one.workers} workers of {one.settings.threads} threads were asked for on {one.vcpus} vCPUs: "
            f"they take turns, and latency suffers"
        )
    for reason, times in Counter(failure.reason for failure in job.failed).items():
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
    reports: Sequence[CompilationReport], trials: Sequence[Trial], reference: str
) -> tuple[CompilationReport, ...]:
    """The reports with each backend's throughput over the reference's, from the largest envelope in which both were
    measured with the same workers, threads and batch. A compilation that did not pay says so."""
    return tuple(_with_speedup(report, trials, reference) for report in reports)


def _with_speedup(report: CompilationReport, trials: Sequence[Trial], reference: str) -> CompilationReport:
    if report.status == "FAILED" or (report.backend, report.target) == (reference, Target.CPU):
        return report
    baseline = _throughputs(trials, reference, Target.CPU)
    own = _throughputs(trials, report.backend, report.target)
    shared = baseline.keys() & own.keys()
    if not shared:
        return replace(report, reason=f"not measured in the same setting as {reference}")
    setting = max(shared)
    speedup = own[setting] / baseline[setting]
    return replace(report, speedup=speedup, reason=None if speedup > 1 else f"not faster than {reference}")


def _throughputs(trials: Sequence[Trial], backend: str, target: Target) -> dict[tuple[int, int, int, int], float]:
    """Throughput by setting; the largest setting is the one to compare in: all vCPUs, unbatched, single-threaded."""
    return {
        (one.vcpus, -one.max_batch, -one.settings.threads, one.workers): trial.capacity.throughput_per_s
        for trial in trials
        if (one := trial.configuration).backend == backend and one.target == target
    }
