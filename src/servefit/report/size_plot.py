"""The plot of latency by the sizes of requests, for models whose requests have sizes of their own: of the open loops of
the recommendation, whose request after request takes the payload's row after row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.evidence.summary import NS_PER_MS, samples_needed
from servefit.profiler.record.traffic import FAILED_NS, ClosedLoop
from servefit.quantities import number_text
from servefit.report.plot import Axis, Plot, Series
from servefit.report.table import Table
from servefit.search.capacity.latency_curve import kept_runs
from servefit.search.jobs.beginning import payload_rows
from servefit.search.storage.job_folder import PAYLOAD_FILE, job_folder

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run
    from servefit.search.jobs.job import RecommendationJob

MAX_CLASSES = 12
"""Classes of sizes, of about as many requests each. Chosen: so many points show a line, and each has a percentile."""

_SAMPLES = samples_needed(95)
"""Requests of a class at least, on the mean: as many as a p95 takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeClass:
    """Requests of ``least`` to ``most`` values, with the mean of these, and the percentiles of their response times."""

    least: int
    most: int
    mean: float
    requests: int
    p50_ms: float
    p95_ms: float | None


def size_plot(job: RecommendationJob) -> Plot | None:
    """Return the plot of the first recommendation; None where requests have no sizes of their own, or several rows, or
    nothing of the recommendation was recorded on this host."""
    best, signature = job.best, job.model.signature
    if best is None or not signature.sizes or job.request.rows_per_request > 1:
        return None
    folder = job_folder(job.name)
    try:
        rows = payload_rows(folder / PAYLOAD_FILE, job.payload.digest)
    except SpecError:
        return None
    runs = [run for run in kept_runs(best.trial, folder) if not isinstance(run.traffic, ClosedLoop)]
    values = signature.packing.widths(rows) - len(signature.sizes)
    measured = [response for run in runs for response in responses_by_size(run, values, _period(run, job, rows))]
    classes = list(classes_of(measured))
    return _plot(classes) if len(classes) > 1 else None


def _period(run: Run, job: RecommendationJob, rows: np.ndarray) -> int:
    """Return after how many requests the first comes again: over HTTP not all of a large payload is sent."""
    if run.driver == "inprocess":
        return len(rows)
    from servefit.profiler.drivers.http.bodies import bodies, tensors_of, usual_form

    packing = job.model.signature.packing
    form = usual_form(job.model.signature, rows, rows_per_request=1)
    return sum(1 for _ in bodies(form, rows, rows_per_request=1, tensors=tensors_of(packing), packing=packing))


def responses_by_size(run: Run, values: np.ndarray, period: int) -> Iterator[tuple[int, float]]:
    """Yield the number of values and the response time, in ms, of each request that was answered."""
    response_ns = run.samples.response_ns()
    sent = values[np.arange(len(response_ns)) % period]
    for size, taken_ns in zip(sent.tolist(), response_ns.tolist(), strict=True):
        if 0 < taken_ns < FAILED_NS:
            yield size, taken_ns / NS_PER_MS


def classes_of(measured: Sequence[tuple[int, float]]) -> Iterator[SizeClass]:
    """Yield classes of neighbouring sizes. Requests of one size are of one class."""
    if not measured:
        return
    sizes, response_ms = (np.array(column) for column in zip(*measured, strict=True))
    count = max(1, min(MAX_CLASSES, len(sizes) // _SAMPLES))
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, count + 1)[1:], method="inverted_cdf"))
    which = np.searchsorted(edges, sizes)
    for nth in range(len(edges)):
        own, times_ms = sizes[which == nth], response_ms[which == nth]
        yield SizeClass(
            least=int(own.min()),
            most=int(own.max()),
            mean=float(own.mean()),
            requests=len(own),
            p50_ms=float(np.percentile(times_ms, 50, method="inverted_cdf")),
            p95_ms=float(np.percentile(times_ms, 95, method="inverted_cdf")) if len(own) >= _SAMPLES else None,
        )


def line_of(classes: Sequence[SizeClass]) -> tuple[float, float]:
    """Return the time of no values and that of each, in ms: the line of least squares through the medians, each of
    which counts as often as there are requests."""
    slope, start = np.polyfit(
        [size_class.mean for size_class in classes],
        [size_class.p50_ms for size_class in classes],
        1,
        w=np.sqrt([size_class.requests for size_class in classes]),
    )
    return float(start), float(slope)


def _plot(classes: Sequence[SizeClass]) -> Plot:
    start_ms, slope_ms = line_of(classes)
    ends = classes[0].mean, classes[-1].mean
    line = Series(
        name="line through the medians",
        x=ends,
        y=[start_ms + slope_ms * end for end in ends],
        drawn_as="line",
        colour="quiet",
    )
    points = [
        Series(
            name=name,
            x=[size_class.mean for size_class in classes],
            y=[size_class.p50_ms if name == "p50" else size_class.p95_ms for size_class in classes],
            labels=[f"{_range(size_class)} values, {size_class.requests:,} requests" for size_class in classes],
            symbol="filled" if name == "p50" else "hollow",
            colour="main",
        )
        for name in ("p50", "p95")
    ]
    return Plot(
        name="latency-size",
        title="Response time by the size of a request",
        caption=(
            f"Each point is of requests of neighbouring sizes, at the rates that were tested. By the line through the "
            f"medians, a thousand values more take {number_text(1000 * slope_ms)} ms more."
        ),
        x=Axis(title="values of a request"),
        y=Axis(title="response time ms"),
        series=(line, *points),
        table=Table(
            title="Response time by size",
            columns=("values", "requests", "p50 ms", "p95 ms"),
            rows=[
                (_range(size_class), size_class.requests, size_class.p50_ms, size_class.p95_ms)
                for size_class in classes
            ],
        ),
    )


def _range(sizes: SizeClass) -> str:
    return f"{sizes.least:,}" if sizes.least == sizes.most else f"{sizes.least:,} to {sizes.most:,}"
