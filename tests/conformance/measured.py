"""What figures are read from: tests and recommendations of every kind, some with all that can be known, some with as
little as there ever is. The workers behind them are simulated, so nothing is measured."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import pytest
from tests.report.jobs import KINDS

from servefit.backends.quality.findings import Deviation, Quality
from servefit.search.jobs.lifecycle import load_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.evidence.summary import Summary
    from servefit.search.figures.contract import Subject
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation, Trial

JOBS = ("over-http", "endpoint", "predicted", "unmet", "without-prices", "in-phases", "on-a-gpu")
"""Of libraries and of endpoints, at a rate and in closed loops, with and without prices, GPU and a verdict that is
kept."""

LESS_EXACT = Quality(
    precision="bf16",
    rows=64,
    rows_alone=16,
    batch_dependent=False,
    largest_deviation=0.004,
    largest_error=0.02,
    deviations=(
        Deviation(measure="share", limit=0.01, verdict="PASS", found=0.004, bound=0.05, rows=64, way="together"),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """``jobs`` as they are kept; ``subjects`` are theirs, and the same with everything and with nothing known."""

    jobs: tuple[RecommendationJob, ...]
    subjects: tuple[Subject, ...]


@cache
def measured() -> Measured:
    """Return the same for all tests: nothing of it can be changed."""
    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", home)
        for kind in JOBS:
            KINDS[kind](kind)
        jobs = tuple(map(load_job, JOBS))
    recommendations = [recommendation for job in jobs for recommendation in job.recommendations]
    trials = [trial for job in jobs for trial in job.trials]
    beside = [recommendation.beside for recommendation in recommendations if recommendation.beside is not None]
    tests = (*trials, *beside)
    first = recommendations[0]
    return Measured(
        jobs=jobs,
        subjects=(
            *recommendations,
            *tests,
            *(trial.judged for trial in tests),
            *(_with_every_figure(recommendation) for recommendation in recommendations),
            with_nothing_known(first),
            with_nothing_known(first).trial,
            with_nothing_known(first).trial.judged,
        ),
    )


def _with_every_figure(recommendation: Recommendation) -> Recommendation:
    """The same of an artifact of less precision, measured on a machine that has all counters, for so long that every
    percentile is known."""

    def known(summary: Summary) -> Summary:
        latency_ms = {name: 1.0 if value is None else value for name, value in summary.latency_ms.items()}
        return replace(summary, latency_ms=latency_ms, package_power_w=42.5, gpu_power_w=63.25, gpu_percent=12.5)

    return replace(_with_summaries(recommendation, known), quality=LESS_EXACT)


def with_nothing_known(recommendation: Recommendation) -> Recommendation:
    """Return the same of a machine that tells nothing, where not one request was answered, at no price."""

    def unknown(summary: Summary) -> Summary:
        return replace(
            summary,
            throughput_per_s=0.0,
            offered_per_s=None,
            samples=0,
            latency_ms=dict.fromkeys(summary.latency_ms),
            latency_ms_ci95={},
            service_ms=dict.fromkeys(summary.service_ms),
            lag_ms=dict.fromkeys(summary.lag_ms),
            cpu_percent=None,
            peak_memory_bytes=None,
            memory_percent=None,
            gpu_percent=None,
            gpu_memory_bytes=None,
            gpu_power_w=None,
            package_power_w=None,
            model_latency_ms=None,
            overhead_ms=None,
        )

    bare = replace(recommendation, cost_per_hour=None, cost_per_inference=None, max_invocations=0.0, step=None)
    return _with_summaries(replace(bare, beside=None, beside_step=None), unknown)


def _with_summaries(recommendation: Recommendation, change: Callable[[Summary], Summary]) -> Recommendation:
    trial = recommendation.trial
    changed: Trial = replace(
        trial,
        capacity=change(trial.capacity),
        at_rate=None if trial.at_rate is None else change(trial.at_rate),
    )
    return replace(recommendation, trial=changed)
