"""Compares two deployments by measuring them in turns: another backend, other threads, or another model altogether."""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from servefit.errors import MeasurementError, SpecError
from servefit.profiler.comparing.comparison import Comparison, Figure, compare
from servefit.profiler.microbenchmark.service_time import measure_p50_once
from servefit.profiler.preparing import Deployment, Prepared, prepare
from servefit.profiler.summary import summarize
from servefit.profiler.traffic import ClosedLoop, OpenLoop, Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping

Metric: TypeAlias = Literal["service time p50", "response time p95", "time per request"]
"""What is compared, less being better: the median time of one call, the p95 at a rate, or, of users who take turns, the
time that passes for every request answered."""

BUDGET_S = 60.0
_RUN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two deployments, ``one`` and ``other``, and what came out: ``comparison.ratio`` is other / one of ``metric``."""

    one: Prepared
    other: Prepared
    metric: Metric
    comparison: Comparison
    elapsed_s: float


def compare_deployments(
    model: Any,
    deployment: Deployment,
    against: Mapping[str, Any],
    *,
    payload: Any = None,
    rate: float | None = None,
    users: int | None = None,
    budget_s: float = BUDGET_S,
    rows_per_request: int = 1,
    seed: int = 0,
    trust_pickle: bool = False,
) -> Compared:
    """Compare ``deployment`` of ``model`` with one that differs in what ``against`` names: fields of Deployment, and
    "model" for another model.

    Without traffic the median time of a call is compared, with ``rate`` (requests a second) the p95 of the response
    time, with ``users`` the throughput. Every measurement is made by fresh processes; they take turns in ABBA blocks
    for about ``budget_s``, after the first has been compared with itself. Raises SpecError, ModelError, BackendError
    and MeasurementError.
    """
    if rate is not None and users is not None:
        raise SpecError("users", users, "cannot be combined with a rate", remedy="give one of them")
    if not budget_s > 0:
        raise SpecError("budget", budget_s, "is not above zero")
    traffic: Traffic | None = None
    if rate is not None:
        traffic = OpenLoop(rate_per_s=rate, duration_s=max(_RUN_S, 200 / rate), seed=seed)
    elif users is not None:
        traffic = ClosedLoop.constant(users=users, duration_s=_RUN_S)
    began = time.monotonic()
    differing = replace(deployment, **_fields(against))
    one = prepare(
        model, deployment, payload=payload, rows_per_request=rows_per_request, seed=seed, trust_pickle=trust_pickle
    )
    # Both are to answer the same requests: rows that were drawn from the first model serve the second too.
    other = prepare(
        against.get("model", model),
        differing,
        payload=one.payload.rows,
        rows_per_request=rows_per_request,
        seed=seed,
        trust_pickle=trust_pickle,
    )
    comparison = compare(lambda: _measure(one, traffic), lambda: _measure(other, traffic), budget_s=budget_s, seed=seed)
    metric: Metric = "service time p50"
    if traffic is not None:
        metric = "response time p95" if isinstance(traffic, OpenLoop) else "time per request"
    return Compared(one=one, other=other, metric=metric, comparison=comparison, elapsed_s=time.monotonic() - began)


def _fields(against: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``against`` describes the deployment. Raises SpecError for a name that is none of its fields."""
    known = [field.name for field in fields(Deployment)]
    for name in against:
        if name not in (*known, "model"):
            raise SpecError.unknown("against", name, ["model", *known])
    if not against:
        raise SpecError("against", dict(against), "names no difference")
    return {name: value for name, value in against.items() if name != "model"}


def _measure(prepared: Prepared, traffic: Traffic | None) -> Figure:
    """One measurement by fresh processes. Raises MeasurementError where there are too few samples for a figure."""
    if traffic is None:
        return measure_p50_once(
            prepared.configuration,
            prepared.compilation.artifact,
            prepared.payload.rows,
            host=prepared.host,
            rows_per_request=prepared.rows_per_request,
        )
    with prepared.workers() as workers:
        summary = summarize(workers.run(traffic))
    value = summary.latency_ms["p95"] if summary.loop == "open" else None
    if summary.loop == "closed" and summary.throughput_per_s:
        value = 1 / summary.throughput_per_s
    if value is None or summary.saturated:
        backend = prepared.configuration.backend
        raise MeasurementError(
            f"{backend} cannot be compared: {'it is saturated' if summary.saturated else 'too few requests answered'}",
            remedy="ask for a lower rate" if summary.saturated else "ask for a higher rate",
        )
    return Figure(value=value, host_fingerprint=prepared.host.fingerprint)
