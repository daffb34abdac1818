"""A load test over time: load, answers, percentiles, CPU and memory.

The figures are of short intervals of a test's raw samples, as in the monitoring of an endpoint.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.summary import NS_PER_MS, percentiles_of, samples_needed
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop
from servefit.quantities import number_text
from servefit.report.sentences import shape_in_envelope
from servefit.report.table import Table
from servefit.search.capacity.latency_curve import kept_runs
from servefit.search.results.recommendation import Trial

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run
    from servefit.search.jobs.job import RecommendationJob

COLUMNS = (
    "run", "at s", "users", "offered per s", "answered per s", "p50 ms", "p95 ms", "p99 ms", "overhead p50 ms",
    "CPU %", "memory MiB", "GPU %",
)  # fmt: skip

MAX_INTERVALS = 60
"""Most points of a test. Chosen, not measured: one a second for a minute, and a plot can show them apart."""

MIN_INTERVALS = 12
"""Fewest points of a test, even if each has few requests. Chosen, not measured: fewer do not show a change over
time."""

_MAX_ROWS = 1800
"""Rows of all tests together, 30 tests of MAX_INTERVALS: chosen to keep the page of 60 tests below 1.5 MB."""

_SAMPLES = samples_needed(95)
"""Requests of an interval on average, unless there would be fewer than MIN_INTERVALS: as many as a p95 needs."""

_BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOfTest:
    """A run that begins at ``at_s``: a closed loop with its users, or an open loop with its rate."""

    at_s: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The test with step number ``step``. A closed loop has ``users``, an open loop an offered rate. Percentiles are of
    the requests that were due in the interval, and missing if these are too few. The overhead is the time that HTTP
    adds, if the server reports its own time."""

    step: int
    title: str
    runs: tuple[RunOfTest, ...]
    table: Table


def timelines(job: RecommendationJob, folder: Path) -> tuple[Timeline, ...]:
    """Return the timelines of all tests whose raw samples are in the job's ``folder``."""
    tests = [(step, step.result) for step in job.steps if isinstance(step.result, Trial)]
    intervals = min(MAX_INTERVALS, max(MIN_INTERVALS, _MAX_ROWS // max(1, len(tests))))
    drawn = []
    for step, trial in tests:
        runs = kept_runs(trial, folder)
        if runs:
            kind = step.kind.replace("_", " ")
            where = shape_in_envelope(trial.configuration)
            table = Table(columns=COLUMNS, rows=_rows(runs, intervals), title=f"Step {step.number} over time")
            title = f"step {step.number}: {kind}, {where}"
            drawn.append(Timeline(step=step.number, title=title, runs=_runs_of_test(runs), table=table))
    return tuple(drawn)


def _runs_of_test(runs: Sequence[Run]) -> tuple[RunOfTest, ...]:
    origin_ns = min(map(_begin_ns, runs))
    return tuple(
        RunOfTest(at_s=(_begin_ns(run) - origin_ns) / NS_PER_S, label=f"{nth}: {_traffic(run)}")
        for nth, run in enumerate(runs, start=1)
    )


def _traffic(run: Run) -> str:
    if isinstance(run.traffic, ClosedLoop):
        return f"closed loop, {run.traffic.users} user{'' if run.traffic.users == 1 else 's'}"
    return f"open loop, {number_text(run.traffic.rate_per_s)} per s"


def _rows(runs: Sequence[Run], intervals: int) -> list[tuple[object, ...]]:
    """Return the rows of all runs. The number of intervals of a run is proportional to its length."""
    lengths = [max(1, _end_ns(run) - _begin_ns(run)) for run in runs]
    origin_ns = min(map(_begin_ns, runs))
    rows: list[tuple[object, ...]] = []
    for nth, (run, length_ns) in enumerate(zip(runs, lengths, strict=True), start=1):
        share = max(2, round(intervals * length_ns / sum(lengths)))
        enough = max(MIN_INTERVALS // len(runs), len(run.samples.ended_ns()) // _SAMPLES)
        rows.extend((nth, *row) for row in _intervals(run, min(share, enough), origin_ns))
    return rows


def _intervals(run: Run, count: int, origin_ns: int) -> Iterator[tuple[object, ...]]:
    begin_ns, end_ns = _begin_ns(run), _end_ns(run)
    edges = np.linspace(begin_ns, end_ns, count + 1)
    seconds = (end_ns - begin_ns) / count / NS_PER_S
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    response_ms = np.where(ended > 0, (ended - scheduled) / NS_PER_MS, np.inf)
    overhead_ms = _overhead_ms(run, response_ms)
    due = _grouped(scheduled, edges)
    answered = np.histogram(ended[ended > 0], bins=edges)[0]
    joins_s = run.traffic.joins_s() if isinstance(run.traffic, ClosedLoop) else None
    for nth in range(count):
        mine = due[nth]
        latency = percentiles_of(response_ms[mine])
        yield (
            round((edges[nth] - origin_ns) / NS_PER_S, 4),
            None if joins_s is None else bisect_right(joins_s, (edges[nth + 1] - begin_ns) / NS_PER_S),
            None if joins_s is not None else _rounded(len(mine) / seconds),
            _rounded(float(answered[nth]) / seconds),
            *(_rounded(latency[name]) for name in ("p50", "p95", "p99")),
            None if overhead_ms is None else _rounded(_median(overhead_ms[mine])),
            *_telemetry(run, edges[nth], edges[nth + 1]),
        )


def _grouped(scheduled_ns: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """Return for each interval the positions of the requests that were due in it."""
    interval = np.clip(np.searchsorted(edges, scheduled_ns, side="right") - 1, 0, len(edges) - 2)
    order = np.argsort(interval, kind="stable")
    return np.split(order, np.searchsorted(interval[order], np.arange(1, len(edges) - 1)))


def _overhead_ms(run: Run, response_ms: np.ndarray) -> np.ndarray | None:
    """Return the response times minus the server's own time, in ms; NaN where the server did not report its time, None
    if it never did."""
    queued, predicted = run.samples.queued_ns(), run.samples.predicted_ns()
    if queued is None or predicted is None:
        return None
    overhead_ms: np.ndarray = np.where(predicted >= 0, response_ms - (queued + predicted) / NS_PER_MS, np.nan)
    return np.where(np.isfinite(overhead_ms), overhead_ms, np.nan)


def _median(values: np.ndarray) -> float | None:
    usable = values[~np.isnan(values)]
    return percentiles_of(usable, ("p50",))["p50"]


def _telemetry(run: Run, begin_ns: float, end_ns: float) -> tuple[float | None, ...]:
    """Return the mean CPU in %, the largest memory in MiB and the mean GPU in %, of the points of telemetry that
    overlap the interval."""
    points = [point for point in run.telemetry if point.at_ns > begin_ns and point.at_ns - point.over_ns < end_ns]
    if not points:
        return None, None, None
    gpu = [point.gpu_percent for point in points if point.gpu_percent is not None]
    return (
        _rounded(sum(point.cpu_percent for point in points) / len(points)),
        _rounded(max(point.memory_bytes for point in points) / _BYTES_PER_MIB),
        _rounded(sum(gpu) / len(gpu)) if gpu else None,
    )


def _begin_ns(run: Run) -> int:
    scheduled = run.samples.scheduled_ns()
    return min(run.plateau_ns[0], int(scheduled.min())) if len(scheduled) else run.plateau_ns[0]


def _end_ns(run: Run) -> int:
    ended = run.samples.ended_ns()
    return max(run.plateau_ns[1], int(ended.max())) if len(ended) else run.plateau_ns[1]


def _rounded(value: float | None) -> float | None:
    """Return ``value`` in four digits, since a page has thousands of them."""
    return None if value is None else float(f"{value:.4g}")
