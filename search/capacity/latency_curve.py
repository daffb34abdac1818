"""The latency of a configuration against the rate of arrivals, as a job measured it.

Every open loop that the job made is a point, also those of rates that it gave up. Raw samples are read back from the
folder of the job; of tests whose samples are not on this host, the summary that the job keeps stands in. What the
points mean for the rate of an instance is in ``instance_rate``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from servefit.errors import UnreadableMeasurement
from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.validity import problems
from servefit.profiler.evidence.verdict import judge
from servefit.profiler.record.storage.measurements import load_measurement
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.results.measure_trial import percentiles_of
from servefit.showing import shown

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.profiler.evidence.limits import Verdict
    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.record.types import Run
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """Response times of one instance at ``rate_per_s``: requests that arrive in an open loop, answers in a closed one.

    ``latency_ms`` has percentiles by name, None where there are too few of the ``samples``; ``latency_ms_ci95`` their
    95 % intervals. ``verdict`` is whether the limits of the SLA hold at the rate. It is None for a closed loop, which
    says nothing about a rate of arrivals, and for a point that was not measured but ``estimated`` by simulation, which
    has no samples either.
    """

    rate_per_s: float
    loop: Literal["open", "closed"]
    source: Literal["measured", "estimated"]
    latency_ms: Mapping[str, float | None]
    latency_ms_ci95: Mapping[str, tuple[float, float]]
    samples: int | None
    verdict: Verdict | None

    @classmethod
    def measured(cls, summary: Summary, *, rate_per_s: float, verdict: Verdict | None) -> CurvePoint:
        """Return the point that was measured with this ``summary``."""
        return cls(
            rate_per_s=rate_per_s,
            loop=summary.loop,
            source="measured",
            latency_ms=summary.latency_ms,
            latency_ms_ci95=summary.latency_ms_ci95,
            samples=summary.samples,
            verdict=verdict,
        )

    @classmethod
    def at_full_load(cls, trial: Trial) -> CurvePoint:
        """Return the point of the closed loop of ``trial``: estimated where it was predicted."""
        capacity = trial.capacity
        point = cls.measured(capacity, rate_per_s=capacity.throughput_per_s, verdict=None)
        return point if trial.basis == "measured" else replace(point, source="estimated", samples=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCurve:
    """The latency of a configuration by rate. ``points`` are all open loops that a job made of a configuration, by
    ascending rate. ``closed`` is the closed loop of the test that stands for it, None where its raw samples are not
    here; ``without_samples`` counts all tests of which they are not."""

    points: tuple[CurvePoint, ...]
    closed: Run | None
    without_samples: int

    @classmethod
    def of(cls, trial: Trial, trials: Iterable[Trial], request: JobRequest, folder: Path) -> Self:
        """Return the curve of the configuration of ``trial``, from all ``trials`` of the job and what they left in its
        ``folder``."""
        points: list[CurvePoint] = []
        closed, without_samples = None, 0
        for other in trials:
            if other.configuration != trial.configuration:
                continue
            if other.basis == "predicted":
                points.extend(_predicted_points(other, request))
                if other == trial:
                    closed = _closed_loop(kept_runs(other, folder))
                continue
            runs = kept_runs(other, folder)
            without_samples += not runs
            points.extend(measured_points(other, runs, request))
            if other == trial:
                closed = _closed_loop(runs)
        return cls(
            points=tuple(sorted(points, key=lambda point: point.rate_per_s)),
            closed=closed,
            without_samples=without_samples,
        )

    @property
    def passed_per_s(self) -> float:
        """The highest rate that was measured and passed, 0.0 if none."""
        passed = (point for point in self.points if point.verdict == "PASS" and point.source == "measured")
        return max((point.rate_per_s for point in passed), default=0.0)


def _closed_loop(runs: Sequence[Run]) -> Run | None:
    """Return the closed loop among ``runs``, None where there is none."""
    return next((run for run in runs if not isinstance(run.traffic, OpenLoop)), None)


def kept_runs(trial: Trial, folder: Path) -> tuple[Run, ...]:
    """Return what ``trial`` recorded, from the job's ``folder``; empty where that is not on this host, or of another
    trial."""
    if trial.kept_in is None:
        return ()
    try:
        kept = load_measurement(folder / trial.kept_in)
    except UnreadableMeasurement:
        return ()
    # Jobs of several hosts may share a database, and names, but not the folder.
    return kept.runs if replace(kept, runs=()) == trial.measurement else ()


def _predicted_points(trial: Trial, request: JobRequest) -> Iterator[CurvePoint]:
    """Yield what was predicted of ``trial`` at the rate asked; what was measured of it is of the model alone."""
    asked_per_s = rate_of_an_instance(trial, request)
    if trial.at_rate is not None and asked_per_s is not None:
        point = CurvePoint.measured(trial.at_rate, rate_per_s=asked_per_s, verdict=trial.verdict)
        yield replace(point, source="estimated", samples=None)


def measured_points(trial: Trial, runs: Sequence[Run], request: JobRequest) -> Iterator[CurvePoint]:
    """Yield the open loops of ``trial``: of its ``runs``, or, where there are none, of what the trial says of them."""
    asked_per_s = rate_of_an_instance(trial, request)
    if not runs and trial.at_rate is not None and asked_per_s is not None:
        yield CurvePoint.measured(trial.at_rate, rate_per_s=asked_per_s, verdict=trial.verdict)
    by_rate: dict[float, list[Run]] = {}
    for run in runs:
        if isinstance(run.traffic, OpenLoop):
            by_rate.setdefault(run.traffic.rate_per_s, []).append(run)
    for rate_per_s, alike in by_rate.items():
        summary = summarize_runs(alike, configuration=trial.configuration, percentiles=percentiles_of(request))
        verdict = trial.verdict if rate_per_s == asked_per_s else _verdict(trial, alike, summary, request)
        yield CurvePoint.measured(summary, rate_per_s=rate_per_s, verdict=verdict)


def rate_of_an_instance(trial: Trial, request: JobRequest) -> float | None:
    """Return the rate that the verdict of ``trial`` is about; None for a verdict on a closed loop, and for rounds, in
    which nothing is held against the limits."""
    if request.sla.rate_per_s is None or trial.at_rate is None or trial.round is not None:
        return None
    return request.sla.rate_per_s / trial.instance_count if trial.asked_per_s is None else trial.asked_per_s


def _verdict(trial: Trial, runs: Sequence[Run], summary: Summary, request: JobRequest) -> Verdict:
    """Return the verdict of ``trial``, had it been judged by ``runs`` at one rate, of which this is the ``summary``."""
    thresholds, measurement = request.sla.thresholds, trial.measurement
    limit_ms = min((threshold.limit_ms for threshold in thresholds), default=None)
    disturbed = problems(runs[-1], limit_ms=limit_ms, cpus=measurement.cpus, containment=measurement.containment)
    if disturbed and not request.allow_noise:
        return "INVALID"
    evidence = evidence_of_runs(runs, thresholds, workers=trial.configuration.workers)
    asked_per_s = summary.offered_per_s
    return judge(thresholds, capacity=summary, at_rate=summary, evidence=evidence, asked_per_s=asked_per_s).verdict
