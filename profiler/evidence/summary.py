"""Figures from a run: a pure function of what was recorded.

Response time is from the moment a request was due to the moment its prediction was there, so it holds the queueing;
service time is what the predictor alone took. A percentile is only given where there are enough samples for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.profiler.evidence.backlog import are_saturated
from servefit.profiler.evidence.percentile_intervals import percentile_intervals
from servefit.profiler.evidence.power import gpu_power_w, package_power_w
from servefit.profiler.evidence.undisturbed import counted, left_out_s
from servefit.profiler.record.traffic import NS_PER_S, OpenLoop
from servefit.profiler.record.types import Run
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.record.types import TelemetryPoint

NS_PER_MS = 1_000_000
CONFIDENCE = 0.99
"""That a percentile is not above the highest of its samples [MLPerf LoadGen]; see ``samples_needed``."""

_PERCENTILE = re.compile(r"p(?P<whole>0|[1-9][0-9]?)(?:\.(?P<decimals>[0-9]+))?", re.IGNORECASE)

PERCENTILES = ("p50", "p90", "p95", "p99")
"""Those that are always given."""


def percentile_name(text: str, *, field: str = "percentile") -> str:
    """Return the name of a percentile, whoever spelt it: "p99.9" for "P99.90". Raises SpecError for ``field``."""
    match = _PERCENTILE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        decimals = (match["decimals"] or "").rstrip("0")
        name = f"p{match['whole']}.{decimals}" if decimals else f"p{match['whole']}"
        if 0 < rank_of(name) / 100 < 1:
            return name
    raise SpecError(field, text, "is no percentile between 0 and 100", remedy="write it like p95 or p99.9")


def rank_of(percentile: str) -> float:
    """Return the percentile of that name as a number: 95.0 for "p95"."""
    return float(percentile[1:])


def samples_needed(percentile: float) -> int:
    """Return how many samples a percentile takes: so many that the highest of them lies above the true percentile with
    99 % confidence, 1 - p**n >= 0.99 [MLPerf LoadGen, early stopping without violations].

    44 for p90, 90 for p95, 459 for p99, and by the same rule 7 for the median.
    """
    return ceil(log(1 - CONFIDENCE) / log(percentile / 100))


@shown("loop", "throughput_per_s", "samples", "latency_ms", "failed")
class Summary(Stored, frozen=True, kw_only=True):
    """The figures of a run, on its plateau.

    ``throughput_per_s`` counts answers, ``offered_per_s`` arrivals (None in a closed loop, where the answers make the
    arrivals). ``samples`` is how many requests the percentiles are of. ``latency_ms`` holds the percentiles of the
    response time by name, in ascending order ("p50" to "p99", and those asked for), None where there are too few
    samples; ``latency_ms_ci95`` the 95 % confidence intervals of the same where they could be had; ``service_ms`` the
    percentiles of the service time ("p50" to "p99"), and ``lag_ms`` of how late idle workers began what they had been
    waiting for.
    ``saturated`` means that an open loop asked for more than was served. ``cpu_percent`` is summed over cores, without
    the time spent waiting for arrivals. ``memory_percent`` is the peak of all workers against the memory of the
    instance. GPU figures are means over the run, and None without a GPU or where it does not report them. Of a server
    that cannot be seen from here CPU and memory are None. ``package_power_w`` is the mean power of the machine's
    processor packages on the plateau, ``gpu_power_w`` that of the GPU there: of whole devices, idle power included.

    Over HTTP, where the server says how long requests were inside: ``model_latency_ms`` holds the percentiles of the
    time that they waited for the predictor and were predicted, ``overhead_ms`` those of the rest of their response
    time, and ``service_ms`` those of the call alone (None for each percentile where it does not say). ``failed`` is how
    many requests of the plateau got no answer; ``errors`` counts those of the whole run, by kind.
    ``client_cpu_percent`` is how busy the busiest load client was. ``largest_call`` is the most requests that a call
    joined, at any time of the run, None where that is not known. ``left_out_s`` is how many seconds of the plateau the
    machine got in the way of, which no figure is of.

    Example:
        ::

            summary = sf.profile("model.ubj", users=1, duration_s=1).summary
            print(summary.samples, summary.latency_ms["p50"], summary.latency_ms_ci95.get("p50"))
    """

    loop: Literal["open", "closed"]
    throughput_per_s: float
    offered_per_s: float | None
    samples: int
    latency_ms: Mapping[str, float | None]
    latency_ms_ci95: Mapping[str, tuple[float, float]]
    service_ms: Mapping[str, float | None]
    lag_ms: Mapping[str, float | None]
    saturated: bool
    backlog: int
    cpu_percent: float | None
    peak_memory_bytes: int | None
    memory_percent: float | None
    steal_percent: float | None
    gpu_percent: float | None
    gpu_memory_bytes: int | None
    gpu_power_w: float | None
    model_latency_ms: Mapping[str, float | None] | None = None
    overhead_ms: Mapping[str, float | None] | None = None
    failed: int = 0
    errors: Mapping[str, int] = msgspec.field(default_factory=dict)
    client_cpu_percent: float | None = None
    package_power_w: float | None = None
    largest_call: int | None = None
    left_out_s: float = 0.0


def summarize(run: Run, *, memory_bytes: int | None = None, percentiles: Sequence[str] = PERCENTILES) -> Summary:
    """Compute the figures of a run: a pure function of what was recorded.

    Throughput counts the answers within the plateau, percentiles are of the requests that were due within it. One that
    got no answer counts as slower than all others. An open loop is saturated if more than 5 % of what was due was
    still waiting at the end, more than one request a worker, and more than chance brings together (the root of what was
    due), and if that backlog has grown all the time; where the rate of arrivals varies, if it could not drain (see
    ``backlog``). Where the rate varies there are no intervals either: they rest on blocks of time that are like each
    other.

    Args:
        run: What a run recorded.
        memory_bytes: The memory of the instance.
        percentiles: Percentiles of the response time ("p99.9") that are given beside the usual ones.

    Returns:
        Throughput, percentiles with their intervals, and what the machine was busy with.

    Raises:
        SpecError: A percentile is none, or ``run`` is no run, such as a whole measurement.

    Example:
        ::

            measured = sf.profile("model.ubj", users=1, duration_s=1)
            print(sf.summarize(measured.run, percentiles=["p99.9"]).latency_ms["p99.9"])
    """
    check_type("run", run, Run)
    left_out = left_out_s(run)
    run = counted(run)
    begin, end = run.plateau_ns
    seconds = (end - begin) / NS_PER_S
    scheduled, started, ended = run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns()
    answered = int(np.count_nonzero((ended >= begin) & (ended < end)))
    due = (scheduled >= begin) & (scheduled < end)
    response_ms = response_times_ms(run)
    served = due & (ended > 0)
    inside = _inside(run, served)
    service_ms = (ended[served] - started[served]) / NS_PER_MS if run.client is None else inside.predicted_ms
    open_loop = isinstance(run.traffic, OpenLoop)
    names = with_usual(percentiles)
    alike = not isinstance(run.traffic, OpenLoop) or run.traffic.is_steady
    latency_ms = percentiles_of(response_ms, names)
    ranks = {name: rank_of(name) for name, value in latency_ms.items() if value is not None}
    gpu_memory = _mean(run.telemetry, lambda point: point.gpu_memory_bytes)
    return Summary(
        loop="open" if open_loop else "closed",
        throughput_per_s=answered / seconds,
        offered_per_s=run.offered / seconds if open_loop else None,
        samples=len(response_ms),
        latency_ms=latency_ms,
        latency_ms_ci95=percentile_intervals([response_ms], ranks) if alike else {},
        service_ms=percentiles_of(service_ms),
        lag_ms=percentiles_of(run.lags_ns() / NS_PER_MS),
        saturated=are_saturated([run]),
        backlog=run.backlog,
        cpu_percent=None if run.busy_cpu_ns is None else 100 * run.busy_cpu_ns / (end - begin),
        peak_memory_bytes=run.peak_memory_bytes,
        memory_percent=_share(run.peak_memory_bytes, memory_bytes),
        steal_percent=_mean(run.telemetry, lambda point: point.steal_percent),
        gpu_percent=_mean(run.telemetry, lambda point: point.gpu_percent),
        gpu_memory_bytes=None if gpu_memory is None else round(gpu_memory),
        gpu_power_w=gpu_power_w(run),
        model_latency_ms=percentiles_of(inside.model_ms) if len(inside.model_ms) else None,
        overhead_ms=percentiles_of(inside.overhead_ms) if len(inside.model_ms) else None,
        failed=int(np.count_nonzero(due & (ended < 0))),
        errors={} if run.client is None else dict(run.client.errors),
        client_cpu_percent=None if run.client is None else run.client.cpu_percent,
        package_power_w=package_power_w(run),
        largest_call=_largest_call(run),
        left_out_s=left_out,
    )


def response_times_ms(run: Run) -> np.ndarray:
    """Return the response times of the requests that were due on the plateau, infinite for those without an answer,
    float64 (n,)."""
    run = counted(run)
    begin, end = run.plateau_ns
    scheduled, ended = run.samples.scheduled_ns(), run.samples.ended_ns()
    due = (scheduled >= begin) & (scheduled < end)
    response_ms: np.ndarray = np.where(ended[due] > 0, (ended[due] - scheduled[due]) / NS_PER_MS, np.inf)
    return response_ms


def _largest_call(run: Run) -> int | None:
    """Return the most requests that a call joined: those of a call begin and end at the same times."""
    if run.client is not None:
        return run.largest_call
    started, ended = run.samples.started_ns(), run.samples.ended_ns()
    served = ended > 0
    if not served.any():
        return None
    order = np.lexsort((ended[served], started[served]))
    changes = np.flatnonzero(np.diff(started[served][order]) | np.diff(ended[served][order]))
    return int(np.diff(np.concatenate([[-1], changes, [len(order) - 1]])).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inside:
    """Times of requests inside a server, and outside of it, in ms; empty where it does not say."""

    predicted_ms: np.ndarray
    model_ms: np.ndarray
    overhead_ms: np.ndarray


def _inside(run: Run, served: np.ndarray) -> _Inside:
    """Return the server's own times of the requests ``served``, for those with such times."""
    queued, predicted = run.samples.queued_ns(), run.samples.predicted_ns()
    if queued is None or predicted is None:
        nothing = np.array([], dtype=np.float64)
        return _Inside(predicted_ms=nothing, model_ms=nothing, overhead_ms=nothing)
    reported = served & (predicted >= 0)
    model_ns = queued[reported] + predicted[reported]
    response_ns = run.samples.response_ns()[reported]
    return _Inside(
        predicted_ms=predicted[reported] / NS_PER_MS,
        model_ms=model_ns / NS_PER_MS,
        overhead_ms=(response_ns - model_ns) / NS_PER_MS,
    )


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or whole is None else 100 * part / whole


def with_usual(percentiles: Sequence[str]) -> tuple[str, ...]:
    """Return the usual percentiles and ``percentiles``, each once and in ascending order. Raises SpecError."""
    return tuple(sorted({*PERCENTILES, *map(percentile_name, percentiles)}, key=rank_of))


def percentiles_of(values_ms: np.ndarray, names: Sequence[str] = PERCENTILES) -> dict[str, float | None]:
    """Return percentiles of ``values_ms`` by name; None if there are too few values.

    Each is a value that occurred: the smallest that at least so many per cent do not exceed. It is None if it lies
    among requests without an answer.
    """
    enough = [name for name in names if len(values_ms) >= samples_needed(rank_of(name))]
    percentiles: dict[str, float | None] = dict.fromkeys(names)
    if enough:
        values = np.percentile(values_ms, [rank_of(name) for name in enough], method="inverted_cdf")
        percentiles.update(
            (name, float(value)) for name, value in zip(enough, values, strict=True) if np.isfinite(value)
        )
    return percentiles


def _mean(points: tuple[TelemetryPoint, ...], figure: Callable[[TelemetryPoint], float | None]) -> float | None:
    seen = [value for point in points if (value := figure(point)) is not None]
    return sum(seen) / len(seen) if seen else None
