"""How well the search for the highest rate under an SLA finds it, in simulated queues whose truth is known.

    python -m benchmarks.claims.rate_search [--requests 24000] [--seeds 20]

Prints one JSON object. Every search has the given number of requests in all: a short closed loop for the capacity, the
approach to the root, and its confirmation. Plain bisection has the same queues, seeds and requests. The SLA is p95 <=
10 mean service times (6 where requests are batched). Errors are relative to the truth, which comes from a dense sweep
of long simulations, with theory beside it where there is one. Two figures of the search are judged: the root, its best
estimate, and the confirmed rate, the claim it makes, which is lower on purpose.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.queues import (
    Floats,
    lognormal_services,
    md1_quantile,
    mmc_quantile,
    poisson_arrivals,
    simulate,
    simulate_batches,
)
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.rate_fit import WARM_UP
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.highest_rate import highest_rate
from servefit.profiler.procedures.tried_rates import HighestRate, OpenRun, Probe, Stop

PERCENTILE = 95.0
SATURATION_REQUESTS = 2000
LOOK_EVERY = 500
FIRST_SEED = 1000  # the settings of the search were chosen on seeds below
SWEEP_RUNS = 4
BISECTION_STEPS = 6
NS_PER_TIME = 1e6  # a mean service time is 1 in the queues, and 1 ms to the search
BATCH_TIMES = tuple(0.6 + 0.4 * size for size in range(1, 9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """``responses`` simulates arrivals, ``services`` draws service times (of whole batches where there are batches).

    ``capacity`` is its load limit, in requests per mean service time, and ``limit`` the SLA in mean service times.
    """

    name: str
    services: Callable[[int, np.random.Generator], Floats]
    responses: Callable[[Floats, Floats], Floats]
    full_batches_at_once: float
    limit: float
    sweep_requests: int
    theory: Callable[[float], float] | None = None

    def run(self, rate: float, requests: int, random: np.random.Generator) -> Floats:
        return self.responses(poisson_arrivals(rate, requests, random), self.services(requests, random))

    def saturation(self, requests: int, random: np.random.Generator) -> float:
        """Return the capacity that a closed loop of ``requests`` would measure with every server busy."""
        batches = max(1, int(requests / max(1.0, self.full_batches_at_once)))
        return self.full_batches_at_once / float(self.services(batches, random).mean())


QUEUES = (
    Queue(
        name="M/M/1",
        services=lambda requests, random: random.exponential(1.0, requests),
        responses=simulate,
        full_batches_at_once=1.0,
        limit=10.0,
        sweep_requests=4_000_000,
        theory=lambda rate: mmc_quantile(PERCENTILE, rate, 1.0),
    ),
    Queue(
        name="M/D/1",
        services=lambda requests, _random: np.ones(requests),
        responses=simulate,
        full_batches_at_once=1.0,
        limit=10.0,
        sweep_requests=4_000_000,
        theory=lambda rate: md1_quantile(PERCENTILE, rate, 1.0),
    ),
    Queue(
        name="2 workers, lognormal, batches of up to 8",
        services=lambda requests, random: lognormal_services(1.0, 0.5, requests, random),
        responses=lambda arrivals, factors: simulate_batches(arrivals, factors, BATCH_TIMES, servers=2),
        full_batches_at_once=2 * len(BATCH_TIMES) / BATCH_TIMES[-1],
        limit=6.0,
        sweep_requests=400_000,
    ),
)


def p95(responses: Floats) -> float:
    return float(np.percentile(responses[int(WARM_UP * len(responses)) :], PERCENTILE))


def bisection(passes: Callable[[float], bool], high: float, steps: int) -> float:
    """Return where ``passes`` changes from true to false between 0 and ``high``: the middle of the last interval."""
    low = 0.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return (low + high) / 2


def truth(queue: Queue) -> float:
    """Return the rate at which p95 reaches the limit: the mean of 1 / p95 of long runs at eleven rates,
    interpolated."""
    capacity = queue.full_batches_at_once

    def inverse_p95(rate: float, requests: int, seed: int) -> float:
        return 1 / p95(queue.run(rate, requests, np.random.default_rng(seed)))

    def meets(rate: float) -> bool:
        return inverse_p95(rate, queue.sweep_requests // 10, 0) >= 1 / queue.limit

    near = bisection(meets, 0.999 * capacity, 8)
    rates = np.linspace(0.95 * near, min(1.05 * near, 0.99 * capacity), 11)
    runs = [[inverse_p95(rate, queue.sweep_requests, seed) for seed in range(1, SWEEP_RUNS + 1)] for rate in rates]
    inverse = np.mean(runs, axis=1)
    return float(np.interp(-1 / queue.limit, -inverse, rates))


def theoretical(queue: Queue) -> float | None:
    theory = queue.theory
    if theory is None:
        return None
    return bisection(lambda rate: theory(rate) <= queue.limit, 0.999, 40)


def simulated_probe(queue: Queue, random: np.random.Generator) -> Probe:
    """Return a probe that makes its runs in ``queue``. One mean service time counts as a millisecond."""

    def probe(rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        response_ns = queue.run(rate_per_s / 1000, requests, random) * NS_PER_TIME
        seen = requests
        for count in range(LOOK_EVERY, requests, LOOK_EVERY):
            if stop(response_ns[:count]):
                seen = count
                break
        return OpenRun(response_ns=response_ns[:seen], elapsed_s=seen / rate_per_s)

    return probe


def search(queue: Queue, requests: int, seed: int) -> HighestRate:
    random = np.random.default_rng(seed)
    return highest_rate(
        simulated_probe(queue, random),
        saturation_per_s=1000 * queue.saturation(SATURATION_REQUESTS, random),
        thresholds=[LatencyThreshold(percentile=f"p{PERCENTILE:g}", limit_ms=queue.limit)],
        budget_requests=requests - SATURATION_REQUESTS,
        seed=seed,
    )


def bisect(queue: Queue, requests: int, seed: int) -> float:
    random = np.random.default_rng(seed)
    saturation = queue.saturation(SATURATION_REQUESTS, random)
    each = (requests - SATURATION_REQUESTS) // BISECTION_STEPS
    return bisection(lambda rate: p95(queue.run(rate, each, random)) <= queue.limit, saturation, BISECTION_STEPS)


def judge(queue: Queue, requests: int, seeds: int) -> dict[str, Any]:
    right, theory = truth(queue), theoretical(queue)
    chosen = range(FIRST_SEED, FIRST_SEED + seeds)
    found = [search(queue, requests, seed) for seed in chosen]
    roots = [result.root_per_s / 1000 / right - 1 for result in found if result.root_per_s is not None]
    intervals = [result.interval_per_s for result in found if result.interval_per_s is not None]
    claims = [result.rate_per_s / 1000 / right - 1 for result in found if result.rate_per_s is not None]
    bisected = [bisect(queue, requests, seed) / right - 1 for seed in chosen]
    return {
        "limit_in_service_times": queue.limit,
        "true_rate_per_service_time": round(right, 4),
        "by_theory": None if theory is None else round(theory, 4),
        "searches": seeds,
        "requests_used": round(float(np.mean([result.requests for result in found])) + SATURATION_REQUESTS),
        "root": errors(roots),
        "interval_covers_truth": round(float(np.mean([low <= 1000 * right <= high for low, high in intervals])), 3),
        "interval_lower_end": errors([low / 1000 / right - 1 for low, _ in intervals]),
        "confirmed": errors(claims),
        "bisection": errors(bisected),
    }


def errors(relative: list[float]) -> dict[str, Any]:
    """Return the RMS and the mean of relative errors in per cent; ``above`` counts the rates that are above the true
    one."""
    percent = 100 * np.array(relative)
    return {
        "found": len(relative),
        "rms_percent": round(math.sqrt(float((percent**2).mean())), 2) if relative else None,
        "bias_percent": round(float(percent.mean()), 2) if relative else None,
        "above": int((percent > 0).sum()),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--requests", type=int, default=24_000, help="budget of one search")
    asked.add_argument("--seeds", type=int, default=20, help="searches in every queue")
    options = asked.parse_args()
    host = describe_host()
    machine = {"cpu": host.cpu_model, "logical_cpus": host.logical_cpus, "kernel": host.kernel, "python": host.python}
    figures = {queue.name: judge(queue, options.requests, options.seeds) for queue in QUEUES}
    print(json.dumps({"machine": machine, "requests": options.requests, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
