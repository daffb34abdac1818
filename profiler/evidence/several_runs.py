"""The figures of several runs of one thing, each by processes of its own: how much such runs differ is in their
intervals.

Runs differ from each other in ways that no single one shows: where memory lies, what the machine does in that minute,
which requests come together [Kalibera and Jones 2013; Zhang et al. 2016, Treadmill]. So an interval is over runs.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, isfinite, log
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.profiler.evidence.backlog import are_saturated
from servefit.profiler.evidence.intervals import MIN_VALUES, sectioned_interval
from servefit.profiler.evidence.percentile_intervals import percentile_intervals
from servefit.profiler.evidence.replayed_percentiles import replayed_intervals
from servefit.profiler.evidence.summary import percentiles_of, rank_of, response_times_ms, summarize, with_usual
from servefit.profiler.evidence.undisturbed import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.record.types import Configuration, Run

_SUMS = ("samples", "failed", "left_out_s", "backlog")
_MEANS = (
    *("throughput_per_s", "offered_per_s", "cpu_percent", "memory_percent", "steal_percent", "gpu_percent"),
    *("gpu_power_w", "package_power_w"),
)
_MAXIMA = ("peak_memory_bytes", "gpu_memory_bytes", "client_cpu_percent", "largest_call")
_TIMES = ("service_ms", "lag_ms", "model_latency_ms", "overhead_ms")


def summarize_runs(
    runs: Sequence[Run],
    *,
    configuration: Configuration | None = None,
    memory_bytes: int | None = None,
    percentiles: Sequence[str] = (),
) -> Summary:
    """Compute the figures of ``runs`` of the same traffic, one or more.

    Percentiles of the response time are of all requests. Their 95 % intervals are over three or more runs, if each run
    has enough requests for the percentile, and all together enough for an interval (see ``percentile_intervals``), or
    each by itself. One run has the intervals of ``summarize``, two runs have none. If the ``configuration`` is given
    and its calls can be replayed (see ``replayed_percentiles``), the intervals are those of the replay, widened to
    contain the measured value. Other times are geometric means over runs; rates and shares are means.

    Raises SpecError for an invalid percentile.
    """
    summaries = [summarize(run, memory_bytes=memory_bytes, percentiles=percentiles) for run in runs]
    names = with_usual(percentiles)
    ranks = {name: rank_of(name) for name in names}
    replayed = {} if configuration is None else replayed_intervals(runs, configuration, ranks)
    if len(summaries) == 1:
        return replace(
            summaries[0], latency_ms_ci95=rather(replayed, summaries[0].latency_ms_ci95, summaries[0].latency_ms)
        )
    times_ms = [response_times_ms(run) for run in runs]
    pooled = percentiles_of(np.concatenate(times_ms), names)
    changed: dict[str, Any] = {name: sum(getattr(one, name) for one in summaries) for name in _SUMS}
    changed |= {name: _over(summaries, name, lambda values: sum(values) / len(values)) for name in _MEANS}
    changed |= {name: _over(summaries, name, max) for name in _MAXIMA}
    changed |= {name: _mean_times([getattr(one, name) for one in summaries]) for name in _TIMES}
    return replace(
        summaries[0],
        latency_ms=pooled,
        latency_ms_ci95=rather(replayed, intervals_over_runs(pooled, times_ms), pooled),
        saturated=are_saturated([counted(run) for run in runs]),
        errors={kind: sum(one.errors.get(kind, 0) for one in summaries) for one in summaries for kind in one.errors},
        **changed,
    )


def rather(
    replayed: Mapping[str, tuple[float, float]],
    measured: Mapping[str, tuple[float, float]],
    values: Mapping[str, float | None],
) -> dict[str, tuple[float, float]]:
    """Return the intervals of the percentiles with a value: those ``replayed``, widened to contain the value, else
    those ``measured``.

    Example:
        >>> rather({"p95": (2.1, 2.5), "p99": (3.0, 4.0)}, {"p50": (0.9, 1.2)}, {"p50": 1.0, "p95": 2.0, "p99": None})
        {'p50': (0.9, 1.2), 'p95': (2.0, 2.5)}
    """
    intervals = {}
    for name, value in values.items():
        if value is not None and name in replayed:
            low, high = replayed[name]
            intervals[name] = (min(low, value), max(high, value))
        elif value is not None and name in measured:
            intervals[name] = measured[name]
    return intervals


def intervals_over_runs(
    pooled: Mapping[str, float | None], runs: Sequence[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of percentiles over three or more ``runs``, for those known of every run and of all
    values together, ``pooled``.

    They hold how much the runs differ. Either all requests together tell how certain a percentile is, by blocks of all
    runs, or each run by itself does, and the runs differ by more than that. In the first case no upper end is below
    that of the blocks, since a few runs may lack rare long times, and none is above what was seen.
    """
    ranks = {name: rank_of(name) for name in pooled}
    between_blocks = percentile_intervals(runs, ranks)
    of_each = [percentile_intervals([run], ranks) for run in runs] if len(between_blocks) < len(ranks) else []
    longest = max(float(run.max()) for run in runs)
    of_runs = [percentiles_of(run, list(pooled)) for run in runs]
    intervals = {}
    for name, value in pooled.items():
        times = [time for one in of_runs if (time := one[name]) is not None and time > 0]
        if not value or not len(times) == len(of_runs) >= MIN_VALUES:
            continue
        low, high = map(exp, sectioned_interval(log(value), [log(time) for time in times]))
        if name in between_blocks:
            intervals[name] = (low, max(min(high, longest), between_blocks[name][1]))
        elif all(name in of_one for of_one in of_each):
            intervals[name] = (low, high)
    return {name: interval for name, interval in intervals.items() if isfinite(interval[1])}


def _over(summaries: Sequence[Summary], name: str, summed_up: Callable[[list[float]], float]) -> float | None:
    """Return one figure over all summaries; None if no summary has it."""
    values = [value for one in summaries if (value := getattr(one, name)) is not None]
    return summed_up(values) if values else None


def _mean_times(percentiles: Sequence[Mapping[str, float | None] | None]) -> dict[str, float | None] | None:
    """Return the geometric mean of each percentile; None for one that a run lacks."""
    of_runs = [times for times in percentiles if times is not None]
    if len(of_runs) < len(percentiles):
        return None
    means: dict[str, float | None] = {}
    for name in of_runs[0]:
        values = [value for times in of_runs if (value := times[name]) is not None and value > 0]
        means[name] = geometric_mean(values) if len(values) == len(of_runs) else None
    return means
