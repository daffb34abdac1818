"""Whether the queueing simulation foretells what is measured: capacity, and p95 at 0.7 of it, from calls timed alone.

    python -m benchmarks.claims.simulation [--configurations 30] [--seed 0]

Configurations of the demo are drawn at random, but for those that serve less than a tenth of what the best backend
serves with the same batch size. For each, in processes of its own: calls are timed alone, and by both workers at once
where there are two, as a search's survey does it; then its capacity is measured in a closed loop of a second, and p95
in an open loop at 0.7 of that. What the machine got in the way of is done again, twice at most, and then left out.

Three predictions of p95 are held against the measured one. ``p95_own``: at 0.7 of the capacity that was predicted, as a
search would plan with. ``p95_same_rate``: at the rate that was measured. Both draw the gaps between arrivals from the
seed of the measured run, scaled by the rate, so that both queues see the same crowds and only service times are drawn
anew. ``p95_search``: at the measured rate, as a search predicts it, with 4000 arrivals of its own. Beside them stands
``p95_known_calls``, as ``p95_same_rate`` but with the times that calls took in the measured run itself: what it is off
by is the queue's fault, and the rest is how much calls differ between sets of processes.

Prints one JSON object; ratios are predicted over measured. It takes about four minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.fraud import BACKENDS, Fraud
from servefit.errors import MeasurementError
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.service_time_survey import Survey, time_service, timed_as
from servefit.search.queueing.prediction import predict
from servefit.search.queueing.simulation import simulate
from servefit.search.request.space import BATCH_SIZES

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run
    from servefit.search.queueing.prediction import Prediction

UTILISATION = 0.7
CAPACITY_S = 1.0
REQUESTS = 30_000
"""So many make p95 of a queue at 0.7 of its capacity certain to 2 to 4 % (benchmarks/claims/queueing.py)."""

SHORTEST_S, LONGEST_S = 1.0, 6.0
HOPELESS = 0.1
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One configuration: what was predicted of it and what was measured. Rates are per second, times in ms."""

    configuration: Configuration
    capacity: float
    predicted_capacity: float
    rate: float
    requests: int
    p95_ms: float
    own_p95_ms: float
    same_rate_p95_ms: float
    known_calls_p95_ms: float
    search_p95_ms: float | None

    @property
    def ratios(self) -> dict[str, float | None]:
        return {
            "capacity": self.predicted_capacity / self.capacity,
            "p95_own": self.own_p95_ms / self.p95_ms,
            "p95_same_rate": self.same_rate_p95_ms / self.p95_ms,
            "p95_known_calls": self.known_calls_p95_ms / self.p95_ms,
            "p95_search": None if self.search_p95_ms is None else self.search_p95_ms / self.p95_ms,
        }


def drawn(fraud: Fraud, count: int, seed: int) -> list[Configuration]:
    """Draw configurations of the grid, without those that are far slower than the best."""
    alone = {name: timed(fraud, Configuration(vcpus=1, backend=name), BATCH_SIZES) for name in BACKENDS}
    best_ns = {size: min(times.mean_ns(size) for times in alone.values()) for size in BATCH_SIZES}
    worthwhile = [
        configuration
        for configuration in fraud.space().grid
        if best_ns[configuration.max_batch] >= HOPELESS * alone[configuration.backend].mean_ns(configuration.max_batch)
    ]
    return Random(seed).sample(worthwhile, min(count, len(worthwhile)))


def timed(fraud: Fraud, subject: Configuration, sizes: Sequence[int]) -> ServiceTimes:
    with fraud.workers(replace(subject, max_batch=sizes[-1])) as workers:
        return time_service(workers, sizes)


def service_times(fraud: Fraud, configuration: Configuration) -> ServiceTimes:
    """Return the service times of ``configuration`` that a survey would know if it timed nothing else."""
    sizes = tuple(size for size in BATCH_SIZES if size <= configuration.max_batch)
    survey = Survey(sizes=sizes)
    for workers in sorted({1, configuration.workers}):
        subject = timed_as(configuration, workers)
        survey.known[subject] = timed(fraud, subject, sizes)
    found = survey.service_times(configuration)
    if found is None:
        raise MeasurementError(f"nothing is known of {configuration}")
    return found[0]


def measured(fraud: Fraud, configuration: Configuration, seed: int) -> tuple[float, Run] | None:
    """Measure the capacity, and a run at 0.7 of it. Return None if the machine disturbed either."""
    users = configuration.workers * configuration.max_batch
    with fraud.workers(configuration) as workers:
        closed, problems = run_valid(workers, ClosedLoop.constant(users=users, duration_s=CAPACITY_S))
        if problems:
            return None
        capacity = summarize(closed).throughput_per_s
        rate = UTILISATION * capacity
        duration_s = min(max(REQUESTS / rate, SHORTEST_S), LONGEST_S)
        run, problems = run_valid(workers, OpenLoop(rate_per_s=rate, duration_s=duration_s, seed=seed))
    return None if problems else (capacity, run)


def calls_of(run: Run, workers: int) -> ServiceTimes:
    """Return the times of the calls in ``run`` by the number of requests in them, whatever number of workers was
    busy."""
    started_ns, ended_ns = run.samples.started_ns(), run.samples.ended_ns()
    calls, requests = np.unique(np.stack([started_ns, ended_ns])[:, ended_ns > 0], axis=1, return_counts=True)
    times_ns = calls[1] - calls[0]
    batches = (BatchTimes.of(int(size), times_ns[requests == size]) for size in np.unique(requests))
    return ServiceTimes(batches=tuple(batches), workers=workers)


def compared(fraud: Fraud, configuration: Configuration, seed: int) -> Case | None:
    service = service_times(fraud, configuration)
    found = measured(fraud, configuration, seed)
    if found is None:
        return None
    capacity, run = found
    traffic = run.traffic
    if not isinstance(traffic, OpenLoop):
        raise TypeError(f"{traffic} is not what was carried out")
    summary = summarize(run)
    p95_ms = summary.latency_ms["p95"]
    if p95_ms is None or summary.saturated:
        return None
    workers, max_batch, delay_us = configuration.workers, configuration.max_batch, configuration.batch_delay_us

    def foretold(rate_per_s: float | None) -> Prediction:
        return predict(
            service,
            Discipline.of(configuration),
            rate_per_s=rate_per_s,
            percentiles=(95.0,),
            seed=seed,
        )

    def simulated_p95_ms(service: ServiceTimes, traffic: OpenLoop) -> float:
        simulated = simulate(service, traffic, workers=workers, max_batch=max_batch, batch_delay_us=delay_us, seed=seed)
        return simulated.percentile_ms(95)

    predicted = foretold(None).capacity_per_s
    stretched = predicted / capacity
    own = replace(traffic, rate_per_s=traffic.rate_per_s * stretched, duration_s=traffic.duration_s / stretched)
    return Case(
        configuration=configuration,
        capacity=capacity,
        predicted_capacity=predicted,
        rate=traffic.rate_per_s,
        requests=summary.samples,
        p95_ms=p95_ms,
        own_p95_ms=simulated_p95_ms(service, own),
        same_rate_p95_ms=simulated_p95_ms(service, traffic),
        known_calls_p95_ms=simulated_p95_ms(calls_of(run, workers), traffic),
        search_p95_ms=foretold(traffic.rate_per_s).latency_ms["p95"],
    )


def described(case: Case) -> dict[str, Any]:
    configuration = case.configuration
    return {
        "backend": configuration.backend,
        "vcpus": configuration.vcpus,
        "threads": configuration.settings.threads,
        "options": dict(configuration.settings.options),
        "workers": configuration.workers,
        "max_batch": configuration.max_batch,
        "batch_delay_us": configuration.batch_delay_us,
        "capacity_per_s": round(case.capacity),
        "p95_ms": round(case.p95_ms, 3),
        "requests": case.requests,
        "ratios": {name: None if ratio is None else round(ratio, 3) for name, ratio in case.ratios.items()},
    }


def errors(cases: Sequence[Case], name: str) -> dict[str, float]:
    """Return the errors of the simulation in per cent; ``bias`` is the median of the signed errors."""
    percent = np.array([100 * (ratio - 1) for case in cases if (ratio := case.ratios[name]) is not None])
    return {
        "median": round(float(np.median(np.abs(percent))), 1),
        "p90": round(float(np.percentile(np.abs(percent), 90)), 1),
        "bias": round(float(np.median(percent)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0, help="of the draw, of arrivals and of simulations")
    options = parser.parse_args()
    fraud = Fraud.prepare()
    cases: list[Case] = []
    left_out: list[Configuration] = []
    for nth, configuration in enumerate(drawn(fraud, options.configurations, options.seed)):
        attempts = (compared(fraud, configuration, options.seed + nth) for _ in range(MAX_ATTEMPTS))
        case = next((attempt for attempt in attempts if attempt is not None), None)
        if case is None:
            left_out.append(configuration)
        else:
            cases.append(case)
        print(f"{nth + 1} of {options.configurations}", file=sys.stderr, flush=True)
    if not cases:
        raise SystemExit("the machine got in the way of every measurement")
    figures = {
        "machine": fraud.machine(),
        "configurations": [described(case) for case in cases],
        "disturbed": len(left_out),
        "error_percent": {name: errors(cases, name) for name in cases[0].ratios},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
