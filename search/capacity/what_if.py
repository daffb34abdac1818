"""Changes by which the SLA would be met, where nothing meets it: of the limits, the rate, or the number of instances.

They are computed by the simulation of ``instance_rate`` on service times that were measured, and said to be an
estimate.
"""

from __future__ import annotations

from math import ceil, floor, log10
from typing import TYPE_CHECKING

from servefit.quantities import given_text, ms_text, number_text
from servefit.search.capacity.instance_rate import Simulation

if TYPE_CHECKING:
    from servefit.profiler.evidence.limits import LatencyThreshold
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Recommendation, Trial
    from servefit.search.simulation.endpoint import EndpointCosts


def changes(
    best: Recommendation, service: ServiceTimes | None, request: JobRequest, costs: EndpointCosts | None = None
) -> tuple[str, ...]:
    """Return sentences that each say what would make ``best``, which does not meet the SLA, meet it; ``service`` are
    its service times if known, and ``costs`` those of an endpoint where that is deployed."""
    trial, sla = best.trial, request.sla
    sentences = _other_limits(trial, sla.thresholds)
    capacity_per_s = trial.capacity.throughput_per_s
    if service is None or sla.asks_nothing or not capacity_per_s:
        return sentences
    simulation = Simulation(
        configuration=trial.configuration,
        service=service,
        origin="microbenchmark",
        seed=request.seed,
        arrivals=request.arrivals,
        costs=costs,
    ).with_capacity(capacity_per_s)
    rate_per_s = min(capacity_per_s, simulation.highest_rate_per_s(sla.thresholds))
    if not rate_per_s:
        return (*sentences, _other_model(simulation.service, sla.thresholds))
    if sla.rate_per_s is None:
        users = (
            f"fewer users: the limits hold up to about {number_text(rate_per_s)} requests/s on an instance (estimated)"
        )
        return (*sentences, users)
    if rate_per_s < sla.rate_per_s / trial.instance_count:
        shared = (
            f"at most {number_text(rate_per_s)} requests/s on each instance, which is "
            f"{ceil(sla.rate_per_s / rate_per_s):,} instances for {given_text(sla.rate_per_s)} requests/s (estimated)"
        )
        return (*sentences, shared)
    return sentences


def _other_limits(trial: Trial, thresholds: tuple[LatencyThreshold, ...]) -> tuple[str, ...]:
    """Return one sentence, since all limits that were broken have to change. Nothing where the queue only grew: how
    long requests waited then depends on how long was measured."""
    if trial.judged.saturated:
        return ()
    broken = [
        f"{ms_text(_rounded_up(value_ms))} on {threshold.percentile} instead of {threshold.limit_text}"
        for threshold in thresholds
        if (value_ms := trial.judged.latency_ms.get(threshold.percentile)) is not None and value_ms > threshold.limit_ms
    ]
    if not broken:
        return ()
    limits = "a limit of" if len(broken) == 1 else "limits of"
    return (f"{limits} {' and '.join(broken)}: that is what was measured",)


def _other_model(service: ServiceTimes, thresholds: tuple[LatencyThreshold, ...]) -> str:
    """Return a sentence for a configuration that keeps the limits at no rate."""
    if service.mean_ns(1) / 1e6 > min(threshold.limit_ms for threshold in thresholds):
        return "a faster model: one request takes longer than the limit even when nothing else is served"
    return "a faster model or another batching: with this batching no rate keeps the limits (estimated)"


def _rounded_up(value_ms: float) -> float:
    """Return the value rounded up to two digits: a limit that was kept."""
    step = 10.0 ** (floor(log10(value_ms)) - 1)
    # 1.1 / 0.1 is a little more than 11.
    return ceil(value_ms / step - 1e-9) * step
