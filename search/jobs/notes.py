"""The notes on a recommendation: warnings, and the speed-up of every compilation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from math import fsum
from typing import TYPE_CHECKING, TypeAlias

from servefit.backends.payload.types import unused_warning
from servefit.backends.types import Target
from servefit.profiler.arrivals.contract import STEADY
from servefit.profiler.machine.prices import old_prices
from servefit.quantities import count_text, duration_text, size_text
from servefit.search.results.instances import per_minute
from servefit.search.results.objectives.missing import MissingObjective
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.pooled_trials import pool_trials
from servefit.search.results.price import Price

if TYPE_CHECKING:
    from servefit.profiler.machine.instance_profile import InstanceProfile
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.request.sla import Sla
    from servefit.search.request.space import Space
    from servefit.search.results.recommendation import CompilationReport, FailedTrial, Recommendation, Trial
    from servefit.search.storage.header import JobHeader

_Shape: TypeAlias = tuple[int, tuple[tuple[str, str], ...]]
"""An envelope's vCPUs and the user's own variables."""


def job_warnings(
    header: JobHeader,
    trials: Sequence[Trial],
    failed: Sequence[FailedTrial],
    recommendations: Sequence[Recommendation],
    space: Space,
) -> tuple[str, ...]:
    """Return everything that a reader of the job must know, the most important first. ``space`` says which profiles may
    have what was measured."""
    return tuple(_warnings(header, trials, failed, recommendations, space))


def _warnings(
    header: JobHeader,
    trials: Sequence[Trial],
    failed: Sequence[FailedTrial],
    recommendations: Sequence[Recommendation],
    space: Space,
) -> Iterator[str]:
    """Yield the warnings, the most important first."""
    payload = header.payload
    yield from header.model.warnings
    if payload.synthetic:
        yield "synthetic payload: rows were drawn from the model, not from your traffic; give one with --payload"
    if payload.truncated_from is not None:
        yield f"the first {payload.rows:,} of {payload.truncated_from:,} rows of the payload are used"
    yield from unused_warning(payload.source, payload.unused_columns)
    if any(trial.measurement.containment == "uncontained" for trial in trials):
        yield (
            "uncontained: profiles are emulated by CPU affinity alone, without a memory limit; "
            "servefit host says what is missing"
        )
    if any(trial.threads_outside for trial in trials):
        yield "some threads were allowed on CPUs outside their profile, so their profile's figures may be too good"
    if any(recommendation.profile.is_of_a_cloud for recommendation in recommendations):
        yield "named instance types give a shape and a price; every figure was measured on this host's processors"
    yield from old_prices((recommendation.profile for recommendation in recommendations), date.today())
    yield from _noise(trials)
    for profile, min_bytes in _too_small(space, trials):
        yield (
            f"{profile.name} is not recommended: all that was measured for it took more than its "
            f"{size_text(profile.memory_bytes)} of memory, {size_text(min_bytes)} at least"
        )
    yield from _unknown_figure(recommendations, header.request)
    if trials:
        yield from _of_traffic(header.request)
    yield from _of_deployment(header.request, recommendations, trials)
    for crowded in _crowded(trials):
        yield (
            f"{crowded.workers} workers of {crowded.settings.threads} threads were asked for on {crowded.vcpus} vCPUs: "
            f"they take turns, and latency suffers"
        )
    for (backend, reason), times in Counter((trial.configuration.backend, trial.reason) for trial in failed).items():
        yield f"{backend} could not be measured ({count_text(times, 'measurement')} failed): {reason}"


def _of_traffic(request: JobRequest) -> Iterator[str]:
    """Yield what the traffic leaves open, and what cannot be said of it."""
    if request.sla.thresholds and request.sla.rate_per_s is None:
        yield "latency was measured in a closed loop; give --rate to have it measured at a rate of arrivals"
    if request.arrivals not in STEADY:
        yield f"requests arrived as {request.arrivals}: percentiles are of whole cycles of that, and have no intervals"


def _unknown_figure(recommendations: Sequence[Recommendation], request: JobRequest) -> Iterator[str]:
    """Yield a warning where the goal is not installed, or the first recommendation has no figure: nothing has one."""
    for best in recommendations[:1]:
        objective = objective_of(request)
        if isinstance(objective, MissingObjective):
            yield objective.warning
            return
        context = context_of(request, Price.of(best.profile.price_per_hour, best.profile.vcpus))
        if objective.of_trial(best.trial, context) is None:
            yield f"no test shows {objective.aim}: what is recommended is the simplest, and not the best"


def _of_deployment(
    request: JobRequest, recommendations: Sequence[Recommendation], trials: Sequence[Trial]
) -> Iterator[str]:
    """Yield what there is to say of the endpoint, whether that is what is deployed or not."""
    if request.deployment == "library":
        yield from _over_http(recommendations, request.sla)
    else:
        yield from _of_endpoints(recommendations, trials)


def _over_http(recommendations: Sequence[Recommendation], sla: Sla) -> Iterator[str]:
    """Yield warnings where an endpoint does not keep what the measurement without a network promised."""
    for recommendation in recommendations:
        trial, endpoint = recommendation.trial, recommendation.endpoint
        if endpoint is None:
            continue
        because = "" if endpoint.reason is None else f": {endpoint.reason}"
        if endpoint.verdict == "INVALID":
            yield f"the measurement over HTTP is not to be believed{because}"
        elif endpoint.verdict != "PASS" and trial.verdict == "PASS":
            yield f"over HTTP {sla} {'is not met' if endpoint.verdict == 'FAIL' else 'may not be met'}{because}"
        elif endpoint.instance_count > trial.instance_count:
            yield (
                f"over HTTP it takes {endpoint.instance_count:,} instances where the model alone takes "
                f"{trial.instance_count:,}: an instance answers "
                f"{round(per_minute(endpoint.capacity.throughput_per_s)):,} a minute"
            )
        for kind, count in endpoint.judged.errors.items():
            yield f"{count} requests failed over HTTP: {kind}"


def _of_endpoints(recommendations: Sequence[Recommendation], trials: Sequence[Trial]) -> Iterator[str]:
    """Yield the notes on endpoints: predicted figures, and requests that failed."""
    predicted = [
        recommendation.profile.name for recommendation in recommendations if recommendation.trial.basis == "predicted"
    ]
    if predicted:
        yield (
            f"the endpoint's figures on {', '.join(dict.fromkeys(predicted))} are predicted: such an instance is the "
            "whole host, and leaves no CPU to a load client"
        )
    kinds: Counter[str] = Counter()
    for trial in (measured for measured in trials if measured.basis == "measured"):
        kinds.update(trial.capacity.errors)
        if trial.at_rate is not None:
            kinds.update(trial.at_rate.errors)
    for kind, count in kinds.items():
        yield f"{count} requests failed over HTTP: {kind}"


def _noise(trials: Sequence[Trial]) -> Iterator[str]:
    """Yield what got in the way of measurements, with an example of each kind."""
    disturbed = [trial for trial in trials if trial.problems]
    times = Counter(kind for trial in disturbed for kind in {problem.kind for problem in trial.problems})
    examples = {problem.kind: problem for trial in disturbed for problem in trial.problems}
    for kind, count in times.most_common():
        example = f"{examples[kind].reason}; {examples[kind].remedy}"
        yield f"the machine got in the way of {count} of {len(trials)} tests ({kind}): {example}"
    shortened = [seconds for trial in trials if (seconds := trial.left_out_s)]
    if shortened:
        others_s = duration_text(fsum(shortened), digits=2)
        yield (
            f"others used the CPUs for {others_s} in {len(shortened)} of {len(trials)} tests: what was measured "
            "meanwhile was left out"
        )


def _too_small(space: Space, trials: Sequence[Trial]) -> Iterator[tuple[InstanceProfile, int]]:
    """Yield the profiles that have less memory than everything took that was measured for them, and the least it took,
    in bytes."""
    for profile, fitting in space.profiles:
        tests = [trial for trial in trials if trial.configuration in fitting and trial.round is None]
        peaks = [trial.measurement.peak_memory_bytes for trial in tests]
        if peaks and min(peaks) > profile.memory_bytes:
            yield profile, min(peaks)


def _crowded(trials: Sequence[Trial]) -> list[Configuration]:
    """Return an example for every size of envelope of configurations with more threads than vCPUs."""
    tested = [trial.configuration for trial in trials]
    crowded = {
        configuration.vcpus: configuration
        for configuration in tested
        if configuration.workers * configuration.settings.threads > configuration.vcpus
    }
    return list(crowded.values())


def with_speedups(
    reports: Sequence[CompilationReport],
    speedups: Sequence[tuple[str, Target, float]],
    reference: str,
    trials: Sequence[Trial],
) -> tuple[CompilationReport, ...]:
    """Return the reports with each backend's speed over the reference's: of calls timed alone, where there are any,
    else of ``trials`` in the same shape. A compilation that did not pay says so."""
    speedup_of = _measured_speedups(trials, reference)
    speedup_of.update({(backend, target): speedup for backend, target, speedup in speedups})
    return tuple(
        _with_speedup(report, speedup_of.get((report.backend, report.target)), reference) for report in reports
    )


def _measured_speedups(trials: Sequence[Trial], reference: str) -> dict[tuple[str, Target], float]:
    """Return the capacity of each backend over that of the reference, both with one worker of one thread and one
    request a call and the best of their own knobs, in the largest envelope in which both were measured so."""
    per_s: dict[tuple[str, Target], dict[_Shape, float]] = defaultdict(dict)
    for pooled in pool_trials(trial for trial in trials if trial.verdict != "INVALID"):
        configuration = pooled.configuration
        plainest = (configuration.workers, configuration.settings.threads, configuration.max_batch) == (1, 1, 1)
        if plainest and pooled.capacity_per_s:
            fastest = per_s[configuration.backend, configuration.target]
            shape = configuration.vcpus, configuration.environment
            fastest[shape] = max(fastest.get(shape, 0.0), pooled.capacity_per_s)
    plain = per_s[reference, Target.CPU]
    shared = {backend: shapes.keys() & plain.keys() for backend, shapes in per_s.items()}
    largest = {backend: max(shapes) for backend, shapes in shared.items() if shapes}
    return {backend: per_s[backend][shape] / plain[shape] for backend, shape in largest.items()}


def _with_speedup(report: CompilationReport, speedup: float | None, reference: str) -> CompilationReport:
    """Return ``report`` with its ``speedup``, None where it was not timed; the reference has none."""
    if report.status == "FAILED" or (report.backend, report.target) == (reference, Target.CPU):
        return report
    if speedup is None:
        return replace(report, reason=f"not timed in the same setting as {reference}")
    return replace(
        report, speedup=speedup, reason=None if speedup > 1 else f"not faster than {reference} at one request a call"
    )
