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

from servefit.profiler.evidence.intervals import MIN_VALUES, sectioned_interval
from servefit.profiler.evidence.percentile_intervals import independent_values, is_known, order_statistics_interval
from servefit.profiler.evidence.replayed_percentiles import replayed_intervals
from servefit.profiler.evidence.summary import percentiles_of, rank_of, response_times_ms, summarize, with_usual

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from servefit.profiler.evidence.summary import Summary
    from servefit.profiler.record.types import Configuration, Run

_SUMS = ("samples", "failed", "left_out_s")
_MEANS = (
    *("throughput_per_s", "offered_per_s", "cpu_percent", "memory_percent", "steal_percent", "gpu_percent"),
    *("gpu_power_w", "package_power_w"),
)
_MAXIMA = ("backlog", "peak_memory_bytes", "gpu_memory_bytes", "client_cpu_percent", "largest_call")
_TIMES = ("service_ms", "lag_ms", "model_latency_ms", "overhead_ms")


def summarize_runs(
    runs: Sequence[Run],
    *,
    configuration: Configuration | None = None,
    memory_bytes: int | None = None,
    percentiles: Sequence[str] = (),
) -> Summary:
    """Compute the figures of ``runs`` of the same traffic, one or more.

    Percentiles of the response time are of all their requests. Their 95 % intervals are over runs, as far as each of
    three or more runs has enough requests for the percentile, and all of them as many as it takes for an interval; of
    one run they are those of ``summarize``, and of two there are none. Where the ``configuration`` that was measured is
    given, and its calls can be replayed (see ``replayed_percentiles``), the intervals are those of the replay, and hold
    what was measured. Other times are geometric means of those of the
    runs, rates and shares their means.

    Raises SpecError for a percentile that is none.
    """
    each = [summarize(run, memory_bytes=memory_bytes, percentiles=percentiles) for run in runs]
    names = with_usual(percentiles)
    ranks = {name: rank_of(name) for name in names}
    replayed = {} if configuration is None else replayed_intervals(runs, configuration, ranks)
    if len(each) == 1:
        return replace(each[0], latency_ms_ci95=rather(replayed, each[0].latency_ms_ci95, each[0].latency_ms))
    times_ms = [response_times_ms(run) for run in runs]
    pooled = percentiles_of(np.concatenate(times_ms), names)
    changed: dict[str, Any] = {name: sum(getattr(one, name) for one in each) for name in _SUMS}
    changed |= {name: _over(each, name, lambda values: sum(values) / len(values)) for name in _MEANS}
    changed |= {name: _over(each, name, max) for name in _MAXIMA}
    changed |= {name: _mean_times([getattr(one, name) for one in each]) for name in _TIMES}
    return replace(
        each[0],
        latency_ms=pooled,
        latency_ms_ci95=rather(replayed, intervals_over_runs(pooled, times_ms), pooled),
        saturated=any(one.saturated for one in each),
        errors={kind: sum(one.errors.get(kind, 0) for one in each) for one in each for kind in one.errors},
        **changed,
    )


def rather(
    replayed: Mapping[str, tuple[float, float]],
    measured: Mapping[str, tuple[float, float]],
    values: Mapping[str, float | None],
) -> dict[str, tuple[float, float]]:
    """Return the intervals of the percentiles whose ``values`` are known: those ``replayed``, wide enough to hold the
    value, and where there are none those ``measured``.

    Example:
        >>> rather({"p95": (2.1, 2.5), "p99": (3.0, 4.0)}, {"p50": (0.9, 1.2)}, {"p50": 1.0, "p95": 2.0, "p99": None})
        {'p50': (0.9, 1.2), 'p95': (2.0, 2.5)}
    """
    found = {}
    for name, value in values.items():
        if value is not None and name in replayed:
            low, high = replayed[name]
            found[name] = (min(low, value), max(high, value))
        elif name in measured:
            found[name] = measured[name]
    return found


def intervals_over_runs(
    pooled: Mapping[str, float | None], runs: Sequence[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """Return the 95 % intervals of those percentiles that are known of the values of all ``runs``, ``pooled``, and of
    every run, of which it takes three.

    All of them together have to be worth as many independent values as the interval of one run takes: percentiles of
    short runs of a queue are too low, every one of them. And as what few runs had none of lies above what they had, no
    upper end is below that of the order statistics of all values.
    """
    ranks = {name: rank_of(name) for name in pooled}
    worth = [independent_values(run, ranks) for run in runs]
    of_runs = [percentiles_of(run, list(pooled)) for run in runs]
    together = np.concatenate(runs)
    found = {}
    for name, value in pooled.items():
        known = [time for one in of_runs if (time := one[name]) is not None and time > 0]
        enough = is_known(sum(each[name] for each in worth), ranks[name])
        if value and enough and len(known) == len(of_runs) >= MIN_VALUES:
            low, high = sectioned_interval(log(value), [log(time) for time in known])
            of_values = order_statistics_interval(together, ranks[name], sum(each[name] for each in worth))
            if isfinite(exp(high)) and of_values is not None:
                found[name] = (exp(low), max(exp(high), of_values[1]))
    return found


def _over(each: Sequence[Summary], name: str, summed_up: Callable[[list[float]], float]) -> float | None:
    """Return one figure of all, None where it is not known of any."""
    known = [value for one in each if (value := getattr(one, name)) is not None]
    return summed_up(known) if known else None


def _mean_times(each: Sequence[Mapping[str, float | None] | None]) -> dict[str, float | None] | None:
    """Return the geometric mean of each percentile, None for one that not all know."""
    known = [times for times in each if times is not None]
    if len(known) < len(each):
        return None
    found: dict[str, float | None] = {}
    for name in known[0]:
        values = [value for times in known if (value := times[name]) is not None and value > 0]
        found[name] = geometric_mean(values) if len(values) == len(known) else None
    return found
