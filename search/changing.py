"""What would have to change where nothing meets the SLA: the limit, the rate, or the number of instances.

Computed by the queueing simulation on service times that were measured, corrected to the measured capacity, and said to
be an estimate.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from servefit.search.queueing.prediction import highest_rate_per_s, predict

if TYPE_CHECKING:
    from servefit.search.queueing.service import ServiceTimes
    from servefit.search.recommendation import Recommendation
    from servefit.search.request import JobRequest

_REQUESTS = 8000


def changes(best: Recommendation, service: ServiceTimes | None, request: JobRequest) -> tuple[str, ...]:
    """What would make ``best``, which does not meet the SLA, meet it; ``service`` are its service times if known."""
    trial, sla = best.trial, request.sla
    found = []
    for threshold in sla.thresholds:
        value_ms = trial.judged.latency_ms.get(threshold.percentile)
        if value_ms is not None and value_ms > threshold.limit_ms:
            found.append(
                f"a limit of {_rounded_up(value_ms)} ms on {threshold.percentile} instead of "
                f"{threshold.limit_ms:g} ms: that is what was measured"
            )
    if service is None or sla.asks_nothing or not trial.capacity.throughput_per_s:
        return tuple(found)
    configuration = trial.configuration
    service = _corrected(service, best)
    shape = {
        "workers": configuration.workers,
        "max_batch": configuration.max_batch,
        "batch_delay_us": configuration.batch_delay_us,
    }
    limits = [(threshold.rank, threshold.limit_ms) for threshold in sla.thresholds]
    rate_per_s = highest_rate_per_s(service, limits=limits, requests=_REQUESTS, seed=request.seed, **shape)
    if not rate_per_s:
        found.append("a faster model: one request takes longer than the limit even when nothing else is served")
    elif sla.rate_per_s is None:
        found.append(f"fewer users: the limits hold up to about {rate_per_s:.3g} requests/s on an instance (estimated)")
    elif rate_per_s < sla.rate_per_s / trial.instance_count:
        instances = ceil(sla.rate_per_s / rate_per_s)
        found.append(
            f"at most {rate_per_s:.3g} requests/s on each instance, which is {instances} instances for "
            f"{sla.rate_per_s:g} requests/s (estimated)"
        )
    return tuple(found)


def _corrected(service: ServiceTimes, best: Recommendation) -> ServiceTimes:
    """``service`` stretched so that it has the capacity that was measured."""
    configuration = best.trial.configuration
    predicted = predict(
        service,
        workers=configuration.workers,
        max_batch=configuration.max_batch,
        batch_delay_us=configuration.batch_delay_us,
        rate_per_s=None,
        percentiles=(50.0,),
    )
    slower = predicted.capacity_per_s / best.trial.capacity.throughput_per_s
    return replace(
        service,
        batches=tuple(
            replace(one, strata_ns=tuple(slower * value for value in one.strata_ns)) for one in service.batches
        ),
    )


def _rounded_up(value_ms: float) -> str:
    """To two digits, upwards: a limit that was kept."""
    step = 10.0 ** (floor(log10(value_ms)) - 1)
    # 1.1 / 0.1 is a little more than 11.
    return f"{ceil(value_ms / step - 1e-9) * step:g}"
