"""Response and service times of a run for HdrHistogram's own tools: interval log (.hlog) and percentiles (.hgrm).

Response times are of the requests that were due within the plateau, as in ``summary``. One that nobody served is
counted with the time that it had waited at the end of the plateau, the least its response could have taken; leaving it
out would hide the longest waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from servefit.errors import SpecError
from servefit.profiler.evidence.summary import NS_PER_MS
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.record.storage.histogram import SUB_BUCKETS, Histogram
from servefit.profiler.record.traffic import NS_PER_S
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

NS_PER_US = 1_000

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


def save_histogram(run: Run, path: Path) -> None:
    """Write what the name of ``path`` ends in: a log for ``.hlog``, the percentiles of the response time for ``.hgrm``.

    Raises SpecError for another ending, and StateError.
    """
    check_histogram_name(path)
    if path.suffix == ".hlog":
        save_histogram_log(run, path)
    else:
        save_percentile_distribution(run, path)


def check_histogram_name(path: Path) -> None:
    """Raise SpecError for a name that does not say which kind of histogram it is."""
    if path.suffix not in (".hlog", ".hgrm"):
        raise SpecError("histogram", str(path), "is neither a .hlog nor a .hgrm", remedy="name it so: times.hlog")


def save_histogram_log(run: Run, path: Path) -> None:
    """Write histograms of nanoseconds, one for each second of the plateau, in HdrHistogram's log format 1.3.

    Response times have no tag, so that every tool shows them unasked; service times have the tag ``service``. A request
    belongs to the second in which it was due. Timestamps are seconds from the beginning of the plateau. Raises
    StateError.
    """
    run = counted(run)
    due_ns, response_ns, unserved = _response_times(run)
    served_ns, service_ns = _service_times(run)
    lines = [
        f"#[Logged with servefit {version('servefit')}]",
        "#[Values in nanoseconds, Interval_Max in milliseconds, timestamps in seconds from the plateau's beginning]",
        "#[Response times without a tag, service times with the tag service, by when their requests were due]",
        *([f"#[{unserved} requests were not served: counted with the time they had waited]"] if unserved else []),
        "#[Histogram log format version 1.3]",
        _LEGEND,
    ]
    begin, end = run.plateau_ns
    responses, services = _by_second(due_ns, response_ns, run), _by_second(served_ns, service_ns, run)
    for second, (response, service) in enumerate(zip(responses, services, strict=True)):
        length_s = min(1.0, (end - begin) / NS_PER_S - second)
        for tag, histogram in (("", response), ("Tag=service,", service)):
            maximum_ms = histogram.maximum / NS_PER_MS
            lines.append(f"{tag}{second:.3f},{length_s:.3f},{maximum_ms:.3f},{histogram.encoded()}")
    write_atomically(path, "\n".join([*lines, ""]).encode(), variable=None)


def save_percentile_distribution(run: Run, path: Path, *, times: Literal["response", "service"] = "response") -> None:
    """Write the percentiles of the whole plateau, in microseconds, as HdrHistogram prints and plots them.

    Raises StateError.
    """
    run = counted(run)
    values_ns = _response_times(run)[1] if times == "response" else _service_times(run)[1]
    histogram = Histogram.of(values_ns)
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for share, value, count in histogram.percentiles():
        line = f"{value / NS_PER_US:12.3f} {share:2.12f} {count:10d}"
        lines.append(line if share == 1 else f"{line} {1 / (1 - share):14.2f}")
    mean, deviation = (figure / NS_PER_US for figure in histogram.mean_and_deviation())
    lines += [
        f"#[Mean    = {mean:12.3f}, StdDeviation   = {deviation:12.3f}]",
        f"#[Max     = {histogram.maximum / NS_PER_US:12.3f}, Total count    = {histogram.total:12d}]",
        f"#[Buckets = {histogram.buckets:12d}, SubBuckets     = {SUB_BUCKETS:12d}]",
        f"#[Values are {times} times in microseconds]",
        "",
    ]
    write_atomically(path, "\n".join(lines).encode(), variable=None)


def _response_times(run: Run) -> tuple[np.ndarray, np.ndarray, int]:
    """Return when requests of the plateau were due, their response times, and how many of them nobody served."""
    begin, end = run.plateau_ns
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    due = (scheduled >= begin) & (scheduled < end)
    until = np.where(ended > 0, ended, end)
    return scheduled[due], (until - scheduled)[due], int(np.count_nonzero(due & (ended == 0)))


def _service_times(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return when those requests of the plateau were due that were served, and their service times."""
    begin, end = run.plateau_ns
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    served = (scheduled >= begin) & (scheduled < end) & (ended > 0)
    return scheduled[served], (ended - started)[served]


def _by_second(due_ns: np.ndarray, values_ns: np.ndarray, run: Run) -> Iterator[Histogram]:
    """Make one histogram for each second of the plateau that has begun."""
    begin, end = run.plateau_ns
    order = np.argsort(due_ns, kind="stable")
    borders = np.searchsorted(due_ns[order], np.arange(begin + NS_PER_S, end, NS_PER_S))
    return map(Histogram.of, np.split(values_ns[order], borders))
