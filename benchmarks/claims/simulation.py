"""Whether the queueing simulation foretells what is measured of a model alone: its capacity, and p95 at four loads.

    python -m benchmarks.claims.simulation [--configurations 10] [--models fraud,...] [--seed 0]

Configurations of three models on up to two CPUs are drawn at random, of any backend, batch and delay, but for backends
that serve less than a tenth of what the best one serves with the same batch size. For each, in processes of its own,
calls are timed as a search's survey times them, by one worker, one after the other and in traffic at half of what it
can serve, and by both at once where there are two. From these alone it is predicted. Then it is measured: its capacity
in a closed loop of a second, and p95 in open loops at 0.3, 0.5, 0.7 and 0.8 of that. When all configurations of a
model have had their turn, each is measured again at the same rates, by other processes, with other arrivals, some
minutes later: that is the truth.

Errors are over this second measurement: ``predicted``, as a search predicts, with arrivals of its own; ``shuffled``,
the same with calls in any order, and ``calls alone``, also without what calls were seen to take longer in traffic;
``again``, the first measurement, since no prediction can be expected to be nearer than that; ``known calls``, the
simulation with the times that calls took in the second measurement itself, shuffled, which is off by the queue's fault
alone; and ``known, in order``, with these calls as they came. The aim is a median of what ``again`` has and 5 %. What
the machine got in the way of is done again once, and then left out.

Prints one JSON object. It takes about twelve minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models.compiled import CompiledModel
from benchmarks.models.forest_models import benchmark_model
from benchmarks.prediction_errors import spread
from benchmarks.synthetic import machine
from servefit.errors import MeasurementError
from servefit.profiler.evidence.summary import NS_PER_MS, summarize
from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.open_loop import serve_arrivals
from servefit.profiler.queueing.recorded_calls import CallsInOrder, served_requests
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.service_time_survey import Survey, timed_as
from servefit.search.request.space import BATCH_DELAYS_US, BATCH_SIZES
from servefit.search.simulation.prediction import predict

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

MODELS = ("xgb-100x4", "fraud", "lgb-1000x31")
LOADS = (0.3, 0.5, 0.7, 0.8)
"""Parts of the capacity."""

CAPACITY_S = 1.0
REQUESTS = 10_000
MIN_DURATION_S, MAX_DURATION_S = 1.0, 3.0
HOPELESS = 0.1
STREAMS = 10
"""Of fresh arrivals, behind which the calls of a measurement are put in order."""
MAX_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Requests a second, and of every load p95 in ms, and the run itself."""

    capacity_per_s: float
    p95_ms: Mapping[float, float]
    runs: Mapping[float, Run]


class Subject(CompiledModel):
    """A model whose configurations are predicted and measured."""

    def configurations(self) -> list[Configuration]:
        """Return everything that may be drawn, without the backends that are far slower than the best."""
        alone = {
            backend: self.timed(Configuration(vcpus=1, backend=backend), BATCH_SIZES) for backend in self.artifacts
        }
        return [
            Configuration(vcpus=count, backend=backend, workers=count, max_batch=size, batch_delay_us=delay_us)
            for count in range(1, 1 + min(2, len(self.host.cpus)))
            for backend, times in alone.items()
            for size in BATCH_SIZES
            for delay_us in (BATCH_DELAYS_US if size > 1 else (0,))
            if HOPELESS * times.mean_ns(size) <= min(other.mean_ns(size) for other in alone.values())
        ]

    def service_times(self, configuration: Configuration, *, seed: int) -> ServiceTimes:
        """Return the service times of ``configuration`` that a survey would know if it timed nothing else."""
        sizes = tuple(size for size in BATCH_SIZES if size <= configuration.max_batch)
        survey = Survey(sizes=sizes)
        for workers in sorted({1, configuration.workers}):
            subject = timed_as(configuration, workers)
            survey.known[subject] = self.timed(subject, sizes, rate_per_s=inf, seed=seed)
        found = survey.service_times(configuration)
        if found is None:
            raise MeasurementError(f"nothing is known of {configuration}")
        return found[0]

    def measured(
        self, configuration: Configuration, *, seed: int, capacity_per_s: float | None = None
    ) -> Measured | None:
        """Measure ``configuration``, p95 at loads of ``capacity_per_s``, else of what is measured. None where the
        machine got in the way, once and once more."""
        for attempt in range(MAX_ATTEMPTS):
            found = self._measured_once(configuration, seed + attempt * 100_000, capacity_per_s)
            if found is not None:
                return found
        return None

    def _measured_once(self, configuration: Configuration, seed: int, capacity_per_s: float | None) -> Measured | None:
        users = configuration.workers * configuration.max_batch
        p95_ms, runs = {}, {}
        with self.workers(configuration) as workers:
            closed, problems = run_valid(workers, ClosedLoop.constant(users=users, duration_s=CAPACITY_S))
            if problems:
                return None
            own_per_s = summarize(closed).throughput_per_s
            for load in LOADS:
                rate = load * (own_per_s if capacity_per_s is None else capacity_per_s)
                duration_s = min(max(REQUESTS / rate, MIN_DURATION_S), MAX_DURATION_S)
                traffic = OpenLoop(rate_per_s=rate, duration_s=duration_s, seed=seed + round(10 * load))
                run, problems = run_valid(workers, traffic)
                summary = summarize(run)
                p95 = summary.latency_ms["p95"]
                if problems or p95 is None or summary.saturated:
                    return None
                p95_ms[load], runs[load] = p95, run
        return Measured(capacity_per_s=own_per_s, p95_ms=p95_ms, runs=runs)


def calls_of(run: Run, workers: int) -> ServiceTimes:
    """Return the times of the calls in ``run`` by the number of requests in them, whatever number of workers was
    busy."""
    samples = counted(run).samples
    started_ns, ended_ns = samples.started_ns(), samples.ended_ns()
    calls, requests = np.unique(np.stack([started_ns, ended_ns])[:, ended_ns > 0], axis=1, return_counts=True)
    times_ns = calls[1] - calls[0]
    batches = (BatchTimes.of(int(size), times_ns[requests == size]) for size in np.unique(requests))
    return ServiceTimes(batches=tuple(batches), workers=workers)


def in_order_ms(run: Run, configuration: Configuration, rate_per_s: float, random: np.random.Generator) -> float:
    """Return p95 at a rate with the calls of ``run`` in the order in which they came, from any of them on."""
    served, discipline = served_requests(counted(run)), Discipline.of(configuration)
    in_order, requests = CallsInOrder.of([served], discipline), len(served.scheduled_ns)
    p95_ns = []
    for _ in range(STREAMS):
        due_ns = np.cumsum(random.exponential(NS_PER_S / rate_per_s, requests)).astype(np.int64)
        calls = len(in_order.relative)
        order = (int(random.integers(calls)) + np.arange(requests)) % calls
        again = serve_arrivals(due_ns, in_order.drawn(order), discipline)
        p95_ns.append(np.percentile((again.ended_ns - again.scheduled_ns)[requests // 10 :], 95.0))
    return float(np.mean(p95_ns)) / NS_PER_MS


def compared(configuration: Configuration, service: ServiceTimes, first: Measured, truth: Measured) -> dict[str, Any]:
    """Return the errors of one configuration over the ``truth``, of p95 by load."""

    def foretold_ms(times: ServiceTimes, load: float) -> float:
        rate_per_s = load * first.capacity_per_s
        found = predict(times, Discipline.of(configuration), rate_per_s=rate_per_s, percentiles=(95.0,))
        return found.latency_ms["p95"] or float("nan")

    capacity_per_s = predict(service, Discipline.of(configuration), rate_per_s=None, percentiles=(95.0,)).capacity_per_s
    alone = replace(service, after_idle=(), changing_sizes=(), serial_order=())
    random = np.random.default_rng(configuration.max_batch)
    own_calls = {load: calls_of(run, configuration.workers) for load, run in truth.runs.items()}
    p95_ms = {
        "predicted": {load: foretold_ms(service, load) for load in LOADS},
        "shuffled": {load: foretold_ms(replace(service, serial_order=()), load) for load in LOADS},
        "calls alone": {load: foretold_ms(alone, load) for load in LOADS},
        "again": first.p95_ms,
        "known calls": {load: foretold_ms(own_calls[load], load) for load in LOADS},
        "known, in order": {
            load: in_order_ms(truth.runs[load], configuration, load * first.capacity_per_s, random) for load in LOADS
        },
    }
    return {
        "backend": configuration.backend,
        "workers": configuration.workers,
        "max_batch": configuration.max_batch,
        "batch_delay_us": configuration.batch_delay_us,
        "capacity_per_s": round(truth.capacity_per_s),
        "p95_ms": {f"{load:g}": round(truth.p95_ms[load], 4) for load in LOADS},
        "capacity": {
            "predicted": round(capacity_per_s / truth.capacity_per_s - 1, 4),
            "again": round(first.capacity_per_s / truth.capacity_per_s - 1, 4),
        },
        "p95": {
            name: {f"{load:g}": round(times_ms[load] / truth.p95_ms[load] - 1, 4) for load in LOADS}
            for name, times_ms in p95_ms.items()
        },
    }


def compare_model(subject: Subject, count: int, random: Random) -> tuple[list[dict[str, Any]], int]:
    """Return the errors of ``count`` configurations, and how many of these the machine got in the way of."""
    worthwhile = subject.configurations()
    drawn = random.sample(worthwhile, min(count, len(worthwhile)))
    firsts: list[tuple[Configuration, ServiceTimes, Measured]] = []
    for configuration in drawn:
        service = subject.service_times(configuration, seed=random.randrange(10_000))
        first = subject.measured(configuration, seed=random.randrange(10_000))
        if first is not None:
            firsts.append((configuration, service, first))
        print(f"{subject.name}: {configuration.backend}, once", file=sys.stderr, flush=True)
    cases = []
    for configuration, service, first in firsts:
        seed = random.randrange(10_000, 20_000)
        truth = subject.measured(configuration, seed=seed, capacity_per_s=first.capacity_per_s)
        if truth is not None:
            cases.append({"model": subject.name} | compared(configuration, service, first, truth))
        print(f"{subject.name}: {configuration.backend}, again", file=sys.stderr, flush=True)
    return cases, len(drawn) - len(cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=10, help="of every model")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of arrivals")
    given = parser.parse_args()
    host, random = describe_host(), Random(given.seed)
    cases: list[dict[str, Any]] = []
    disturbed = 0
    for name in given.models.split(","):
        found, left_out = compare_model(Subject(benchmark_model(name), host), given.configurations, random)
        cases += found
        disturbed += left_out
    if not cases:
        raise SystemExit("the machine got in the way of every measurement")
    loads = [f"{load:g}" for load in LOADS]
    figures = {
        "machine": machine(host),
        "measured": len(cases),
        "disturbed": disturbed,
        "capacity": {name: spread([case["capacity"][name] for case in cases]) for name in ("predicted", "again")},
        "p95, all loads": {
            name: spread([case["p95"][name][load] for case in cases for load in loads]) for name in cases[0]["p95"]
        },
        "p95, by load": {
            load: {name: spread([case["p95"][name][load] for case in cases]) for name in cases[0]["p95"]}
            for load in loads
        },
        "cases": cases,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
