"""The service time of a configuration: fresh processes time their calls, one after the other, and agree more or less.

Processes differ from each other in ways that time within one process never shows (where memory lies, how code is
aligned), so intervals are over processes [Kalibera and Jones 2013].
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from statistics import geometric_mean
from typing import TYPE_CHECKING

import numpy as np

from servefit.checks import check_whole
from servefit.profiler.drivers.inprocess.steady_state import why_unsteady
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.evidence.intervals import MIN_VALUES, geometric_mean_interval
from servefit.profiler.evidence.summary import PERCENTILES, percentiles_of
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.profiler.procedures.comparing.comparison import ComparedFigure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.inprocess.timing import CallTimes
    from servefit.profiler.machine.host import Host
    from servefit.profiler.record.types import Configuration

MIN_PROCESSES = MIN_VALUES
"""As many as an interval takes."""

PUBLISHED_PROCESSES = 5
"""For figures that are published: the interval of five is half as wide as that of three. Chosen."""

_MILD, _SEVERE = 1.5, 3.0
"""Interquartile ranges from the quartiles [Tukey 1977]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTime:
    """The figures of one process, in nanoseconds a call. ``p50_ns`` is of single calls, else of the means of blocks.

    ``mild_outliers`` and ``severe_outliers`` count the times beyond 1.5 and 3 interquartile ranges from the quartiles
    [Tukey 1977]; they are in all figures. ``unsteady`` says why there is no steady state, None if there is one.
    """

    mean_ns: float
    p50_ns: float
    percentiles_ns: Mapping[str, float | None]
    calls: int
    mild_outliers: int
    severe_outliers: int
    unsteady: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTime:
    """The time that a call takes, in nanoseconds: means over ``processes`` (geometric ones) of what each came to.
    Workers that time their calls at the same time share the state of the machine, and are one process of the intervals.

    ``p50_ns`` is the median of single calls where those were timed (``single_calls``), and else the median of the means
    of blocks. ``percentiles_ns`` has "p50" to "p99" of single calls, None where calls were timed in blocks or are too
    few. ``ci95_ns`` holds 95 % intervals over processes by "mean" and "p50". ``clock_ns`` is what reading the clock
    once costs, which is part of every time. ``reason`` says why it is not ``steady``.
    """

    configuration: Configuration
    host_fingerprint: str
    rows_per_call: int
    single_calls: bool
    mean_ns: float
    p50_ns: float
    percentiles_ns: Mapping[str, float | None]
    ci95_ns: Mapping[str, tuple[float, float]]
    processes: tuple[ProcessTime, ...]
    calls: int
    mild_outliers: int
    severe_outliers: int
    steady: bool
    reason: str | None
    clock_ns: float


def measure_service_time(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    *,
    host: Host,
    processes: int = MIN_PROCESSES,
    memory_bytes: int | None = None,
    rows_per_request: int = 1,
    duration_s: float = 1.0,
    warm_up_s: float = 1.0,
) -> ServiceTime:
    """Time calls of ``configuration.max_batch`` requests in ``processes`` fresh processes, one after the other.

    Each takes ``duration_s`` after at most ``warm_up_s`` of warming up. A configuration of several workers has them all
    time their calls at once. ``rows`` is the payload (n, features).

    Raises SpecError for fewer than three processes, and as ``start_workers`` does.
    """
    check_whole("processes", processes, least=MIN_PROCESSES)
    order = WorkerTimeCalls(requests_per_call=configuration.max_batch, duration_s=duration_s, warm_up_s=warm_up_s)
    recorded: list[Sequence[CallTimes]] = []
    with measuring_slot(f"service time of {configuration.backend}"):
        for _ in range(processes):
            with workers_for(
                configuration, artifact, rows, host=host, memory_bytes=memory_bytes, rows_per_request=rows_per_request
            ) as workers:
                recorded.append(workers.time_calls(order))
    return service_time(recorded, configuration=configuration, host_fingerprint=host.fingerprint)


def measure_p50_once(
    configuration: Configuration,
    artifact: Artifact,
    rows: np.ndarray,
    *,
    host: Host,
    memory_bytes: int | None = None,
    rows_per_request: int = 1,
    duration_s: float = 0.5,
    warm_up_s: float = 0.5,
) -> ComparedFigure:
    """Make one measurement for ``comparing``: the median service time in a fresh process, in nanoseconds a call.

    Arguments and errors are those of :func:`measure_service_time`; it is the mean over several workers.
    """
    order = WorkerTimeCalls(requests_per_call=configuration.max_batch, duration_s=duration_s, warm_up_s=warm_up_s)
    with workers_for(
        configuration, artifact, rows, host=host, memory_bytes=memory_bytes, rows_per_request=rows_per_request
    ) as workers:
        recorded = workers.time_calls(order)
    p50_ns = geometric_mean([_process_time(times).p50_ns for times in recorded])
    return ComparedFigure(value=p50_ns, host_fingerprint=host.fingerprint)


def service_time(
    recorded: Sequence[Sequence[CallTimes]], *, configuration: Configuration, host_fingerprint: str
) -> ServiceTime:
    """Compute the figures of three or more starts of the workers, from the times that each ``recorded``.

    Calls count as timed in blocks unless every process timed them singly.
    """
    starts = [tuple(map(_process_time, of_one)) for of_one in recorded]
    processes = tuple(chain.from_iterable(starts))
    all_times = tuple(chain.from_iterable(recorded))
    means = [process.mean_ns for process in processes]
    medians = [process.p50_ns for process in processes]
    unsteady = [process.unsteady for process in processes if process.unsteady is not None]
    return ServiceTime(
        configuration=configuration,
        host_fingerprint=host_fingerprint,
        rows_per_call=all_times[0].rows_per_call,
        single_calls=all(times.calls_per_duration == 1 for times in all_times),
        mean_ns=geometric_mean(means),
        p50_ns=geometric_mean(medians),
        percentiles_ns={name: _over([process.percentiles_ns[name] for process in processes]) for name in PERCENTILES},
        ci95_ns={
            "mean": geometric_mean_interval(
                [geometric_mean([process.mean_ns for process in of_one]) for of_one in starts]
            ),
            "p50": geometric_mean_interval(
                [geometric_mean([process.p50_ns for process in of_one]) for of_one in starts]
            ),
        },
        processes=processes,
        calls=sum(process.calls for process in processes),
        mild_outliers=sum(process.mild_outliers for process in processes),
        severe_outliers=sum(process.severe_outliers for process in processes),
        steady=not unsteady,
        reason=f"no steady state in {len(unsteady)} of {len(processes)} processes: {unsteady[0]}" if unsteady else None,
        clock_ns=min(times.clock_ns for times in all_times),
    )


def _process_time(times: CallTimes) -> ProcessTime:
    per_call = times.durations_ns() / times.calls_per_duration
    single = times.calls_per_duration == 1
    percentiles = percentiles_of(per_call) if single else dict.fromkeys(PERCENTILES)
    low, high = np.percentile(per_call, (25, 75))
    beyond = np.maximum(low - per_call, per_call - high)
    severe = int(np.count_nonzero(beyond > _SEVERE * (high - low)))
    return ProcessTime(
        mean_ns=float(per_call.mean()),
        p50_ns=float(np.percentile(per_call, 50, method="inverted_cdf")),
        percentiles_ns=percentiles,
        calls=times.calls,
        mild_outliers=int(np.count_nonzero(beyond > _MILD * (high - low))) - severe,
        severe_outliers=severe,
        unsteady=why_unsteady(per_call),
    )


def _over(values: Sequence[float | None]) -> float | None:
    """Return the geometric mean; None unless every process has a value."""
    measured = [value for value in values if value is not None]
    return geometric_mean(measured) if len(measured) == len(values) else None
