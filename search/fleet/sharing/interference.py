"""Interference: how much slower a model is beside another than alone, worked out of runs of both kinds.

Runs of one round follow each other and have the same arrivals, so figures are compared within rounds, and an interval
is over rounds: it has in it what rounds differ by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import TYPE_CHECKING

from servefit.profiler.evidence.intervals import MIN_VALUES, geometric_mean_interval
from servefit.profiler.evidence.run_verdict import evidence_of_runs
from servefit.profiler.evidence.several_runs import summarize_runs
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.evidence.verdict import judge
from servefit.search.fleet.pair_orders import Change, SideLoaded, UnderLoad
from servefit.search.results.measure_trial import percentiles_of

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run
    from servefit.search.request.job_request import JobRequest

USUAL_PERCENTILE = "p95"
"""That whose change is told where the SLA limits none."""

SERVICE_PERCENTILE = "p50"
"""Of the time that the model itself takes: what most calls take more is the interference of memory and caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SideRuns:
    """The runs of one model in the rounds that count: ``alone`` and ``beside`` the other, in the same order."""

    request: JobRequest
    workers: int
    rate_per_s: float
    cpus: tuple[int, ...]
    alone: Sequence[Run]
    beside: Sequence[Run]


def side_loaded(runs: SideRuns, *, problems: Sequence[str]) -> SideLoaded:
    """Return what ``runs``, of one round or more, say of their model. Where they are too few rounds for an interval the
    verdicts are INVALID, for the first of ``problems``."""
    thresholds = runs.request.sla.thresholds
    percentile = thresholds[0].percentile if thresholds else USUAL_PERCENTILE
    names = percentiles_of(runs.request)
    ratios: Mapping[str, list[float | None]] = {"latency": [], "service": []}
    for alone, beside in zip(runs.alone, runs.beside, strict=True):
        one, other = summarize(alone, percentiles=names), summarize(beside, percentiles=names)
        ratios["latency"].append(_ratio(one.latency_ms[percentile], other.latency_ms[percentile]))
        ratios["service"].append(_ratio(one.service_ms[SERVICE_PERCENTILE], other.service_ms[SERVICE_PERCENTILE]))
    return SideLoaded(
        cpus=runs.cpus,
        rate_per_s=runs.rate_per_s,
        alone=_under_load(runs, runs.alone, problems),
        beside=_under_load(runs, runs.beside, problems),
        percentile=percentile,
        latency=change(ratios["latency"]),
        service=change(ratios["service"]),
    )


def change(ratios: Sequence[float | None]) -> Change | None:
    """Return what the ``ratios`` of rounds amount to, beside to alone; None where one is not known, or where they are
    too few for an interval."""
    measured = [ratio for ratio in ratios if ratio is not None]
    if len(measured) < max(MIN_VALUES, len(ratios)):
        return None
    low, high = geometric_mean_interval(measured)
    return Change(part=geometric_mean(measured) - 1, low=low - 1, high=high - 1)


def _ratio(alone_ms: float | None, beside_ms: float | None) -> float | None:
    return beside_ms / alone_ms if alone_ms and beside_ms else None


def _under_load(runs: SideRuns, of: Sequence[Run], problems: Sequence[str]) -> UnderLoad:
    """Hold the runs of one kind, together, against the SLA at the rate of the pair."""
    names = percentiles_of(runs.request)
    summary = summarize_runs(of, percentiles=names)
    if len(of) < MIN_VALUES:
        reason = problems[0] if problems else f"{len(of)} rounds are too few"
        return UnderLoad(summary=summary, verdict="INVALID", reason=reason)
    judgement = judge(
        runs.request.sla.thresholds,
        capacity=summary,
        at_rate=summary,
        evidence=evidence_of_runs(of, runs.request.sla.thresholds, workers=runs.workers),
        asked_per_s=runs.rate_per_s,
        runs=len(of),
    )
    return UnderLoad(summary=summary, verdict=judgement.verdict, reason=judgement.reason)
