"""Whether an endpoint that no client could load is predicted: its capacity, and p95 at half of that.

    python -m benchmarks.claims.endpoint_prediction [--configurations 20] [--models fraud,...] [--seed 0]

Three models of 10, 30 and 500 features, for three widths of payload. Of each, configurations are drawn at random: one
worker on one CPU, of any backend, batch and delay. For every one of them calls of its backend are timed alone, and what
requests cost beside them in endpoints of that backend is measured, as a job does both. From these alone it is
predicted. Then it is loaded over HTTP by a client on another CPU, twice, in fresh processes and with other
arrivals: in a closed loop of a second, and in an open loop at half of what it answered there. All of that follows at
once, as in a job: a shared machine may be half as fast a minute later.

Errors are of the prediction against the first measurement, and of the second against the first (``again``): no
prediction can be nearer than that. ``timed_again`` is of the calls, timed a second time after all that, against the
first: how much the machine changed meanwhile. What it got in the way of is left out and counted. The aim is a median of
5 % and nine in ten within 10 % for the capacity, and a median of 10 % for p95. Prints one JSON object. It takes about
twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.models.compiled import CompiledModel
from benchmarks.models.forest_models import benchmark_model
from benchmarks.prediction_errors import spread
from benchmarks.synthetic import machine
from servefit.profiler.drivers.http.bodies import mean_body_bytes
from servefit.profiler.drivers.start_driver import endpoint_for
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.decided_runs import run_valid
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.endpoint_survey import survey_endpoint
from servefit.search.request.space import BATCH_DELAYS_US, BATCH_SIZES
from servefit.search.simulation.endpoint import EndpointQueue
from servefit.search.simulation.prediction import REQUESTS_TO_SEARCH, predict

if TYPE_CHECKING:
    from benchmarks.models.forest_models import BenchmarkModel
    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.machine.host import Host
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.search.simulation.endpoint import EndpointCosts

MODELS = ("xgb-100x4", "fraud", "lgb-1000x31")
CLOSED_S, OPEN_S = 1.0, 2.0
SHARE = 0.5
MIN_PER_S = 200.0
"""An endpoint that answers fewer requests has too few in an open loop for a p95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Requests a second, and ms."""

    capacity_per_s: float
    p95_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """All that an endpoint is predicted from: the times of its calls, and what requests cost beside them."""

    service: ServiceTimes
    costs: EndpointCosts

    def predicted(self, configuration: Configuration, rate_per_s: float | None = None) -> Figures:
        """Return what is predicted; p95 at ``rate_per_s``, or at half of the capacity that is predicted."""
        queue = EndpointQueue.of(configuration, self.costs)
        capacity_per_s = predict(self.service, queue, rate_per_s=None, percentiles=(95.0,)).capacity_per_s
        rate_per_s = SHARE * capacity_per_s if rate_per_s is None else rate_per_s
        found = predict(self.service, queue, rate_per_s=rate_per_s, percentiles=(95.0,), requests=REQUESTS_TO_SEARCH)
        return Figures(capacity_per_s=capacity_per_s, p95_ms=found.latency_ms["p95"] or float("nan"))


class Subject(CompiledModel):
    """A model whose endpoints are predicted and measured."""

    def __init__(self, model: BenchmarkModel, host: Host) -> None:
        super().__init__(model, host)
        self.request_bytes = mean_body_bytes("open-inference", model.rows, rows_per_request=1)
        service = {backend: self.timed_alone(backend) for backend in self.artifacts}
        quickest = min(service, key=lambda backend: service[backend].mean_ns(1))
        self.costs = self._surveyed(quickest, service[quickest])
        self._first = {backend: Basis(service=times, costs=self.costs) for backend, times in service.items()}

    def timed_alone(self, backend: str) -> ServiceTimes:
        return self.timed(Configuration(vcpus=1, backend=backend), BATCH_SIZES)

    def _surveyed(self, backend: str, service: ServiceTimes) -> EndpointCosts:
        return survey_endpoint(
            self.endpoint,
            Configuration(vcpus=1, backend=backend),
            service,
            rows=1,
            request_bytes=self.request_bytes,
            max_batch=BATCH_SIZES[-1],
        )

    def endpoint(self, configuration: Configuration) -> AbstractContextManager[MeasuredDriver]:
        return endpoint_for(
            configuration,
            self.artifacts[configuration.backend],
            self.model.model.signature,
            self.model.rows,
            host=self.host,
        )

    def basis(self, backend: str) -> Basis:
        """Measure all that endpoints of ``backend`` are predicted from."""
        service = self.timed_alone(backend)
        return Basis(service=service, costs=self._surveyed(backend, service))

    def configurations(self) -> list[Configuration]:
        """Return everything that may be drawn: what answers enough requests, as far as is known beforehand."""
        found = [
            Configuration(vcpus=1, backend=backend, max_batch=size, batch_delay_us=delay_us)
            for backend in self.artifacts
            for size in BATCH_SIZES
            for delay_us in (BATCH_DELAYS_US if size > 1 else (0,))
        ]
        return [each for each in found if self._first[each.backend].predicted(each).capacity_per_s >= MIN_PER_S]

    def measured(self, configuration: Configuration, *, seed: int, rate_per_s: float | None = None) -> Figures | None:
        """Load the endpoint over HTTP; None where the machine got in the way."""
        with self.endpoint(configuration) as driver:
            closed, disturbed = run_valid(driver, ClosedLoop.constant(users=driver.usual_users, duration_s=CLOSED_S))
            capacity_per_s = summarize(closed).throughput_per_s
            rate_per_s = SHARE * capacity_per_s if rate_per_s is None else rate_per_s
            run, late = run_valid(driver, OpenLoop(rate_per_s=rate_per_s, duration_s=OPEN_S, seed=seed))
        p95_ms = summarize(run).latency_ms["p95"]
        if disturbed or late or p95_ms is None:
            return None
        return Figures(capacity_per_s=capacity_per_s, p95_ms=p95_ms)


def compared(subject: Subject, configuration: Configuration, seed: int) -> dict[str, Any] | None:
    """Return the figures of one configuration, None where the machine got in the way of either measurement."""
    basis = subject.basis(configuration.backend)
    foretold = basis.predicted(configuration)
    first = subject.measured(configuration, seed=seed)
    if first is None:
        return None
    rate_per_s = SHARE * first.capacity_per_s
    again = subject.measured(configuration, seed=seed + 1, rate_per_s=rate_per_s)
    if again is None:
        return None
    at_same_rate = basis.predicted(configuration, rate_per_s)
    timed_again = subject.timed_alone(configuration.backend)
    size = configuration.max_batch
    return {
        "model": subject.name,
        "backend": configuration.backend,
        "max_batch": configuration.max_batch,
        "batch_delay_us": configuration.batch_delay_us,
        "capacity_per_s": round(first.capacity_per_s),
        "p95_ms": round(first.p95_ms, 4),
        "errors": {
            "capacity": round(foretold.capacity_per_s / first.capacity_per_s - 1, 4),
            "p95": round(at_same_rate.p95_ms / first.p95_ms - 1, 4),
            "capacity_again": round(again.capacity_per_s / first.capacity_per_s - 1, 4),
            "p95_again": round(again.p95_ms / first.p95_ms - 1, 4),
            "timed_again": round(timed_again.mean_ns(size) / basis.service.mean_ns(size) - 1, 4),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=20)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    host, random = describe_host(), Random(given.seed)
    cases: list[dict[str, Any]] = []
    disturbed, subjects = 0, {}
    for name in given.models.split(","):
        subject = Subject(benchmark_model(name), host)
        subjects[name] = {
            "request_bytes": subject.request_bytes,
            "request_us": round(subject.costs.request_ns / 1000, 2),
            "call_us": round(subject.costs.call_ns / 1000, 2),
            "problems": [problem.reason for problem in subject.costs.problems],
        }
        print(f"{name}: {subjects[name]}", file=sys.stderr, flush=True)
        worthwhile = subject.configurations()
        for configuration in random.sample(worthwhile, min(given.configurations, len(worthwhile))):
            found = compared(subject, configuration, seed=random.randrange(1000))
            disturbed += found is None
            if found is not None:
                cases.append(found)
            print(found or "disturbed", file=sys.stderr, flush=True)
    figures = ("capacity", "p95", "capacity_again", "p95_again", "timed_again")
    result = {
        "machine": machine(host),
        "costs": subjects,
        "measured": len(cases),
        "disturbed": disturbed,
        "errors": {name: spread([case["errors"][name] for case in cases]) for name in figures} if cases else None,
        "cases": cases,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
