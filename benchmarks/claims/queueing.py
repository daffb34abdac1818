"""Whether measured response times are those of queueing theory.

    python -m benchmarks.claims.queueing [--seconds 10] [--service-us 250 4000]

Prints one JSON object. Real workers serve Poisson arrivals with a predictor whose service time is known, and the
measured p95 of the response time is held against M/D/1, M/M/1 and M/M/2. A call's service time is what it really
occupied a worker for: the time in the predictor, and what the driver itself takes between two calls.

Near capacity a queue forgets so slowly that hours of arrivals would be needed to bring the sampling error of p95 below
a few per cent. So the same arrivals and service times, as they were measured, are also put through a simulated queue.
It shares the sample with the measurement, and what makes the two differ is time that was lost outside of the predictor,
by the driver or by a machine that had something else to do (``lag_p99_us`` is what idle workers lost).
``of_simulation`` is measured over simulated p95, ``of_theory`` measured over theoretical p95, and ``sampling_error``
the standard deviation of the latter over simulated runs of the same length.

Last comes a predictor that stalls once, for 200 ms. An open loop has to show that in its p99; what a closed loop of one
user shows is printed beside it.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.queues import md1_quantile, mmc_quantile, poisson_arrivals, simulate
from benchmarks.synthetic import machine, percentiles, start
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import Host, describe_host
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from servefit.profiler.drivers.inprocess.workers import Workers

UTILISATIONS = (0.5, 0.7, 0.9)
QUEUES = {"M/D/1": ("deterministic", 1), "M/M/1": ("exponential", 1), "M/M/2": ("exponential", 2)}
REPLICATES = 60


def hold_to_theory(host: Host, queue: str, service_us: int, seconds: float) -> list[dict[str, Any]]:
    """Compare one queue with theory at every utilisation."""
    act, servers = QUEUES[queue]
    if servers > host.logical_cpus:
        return []
    facts = {"act": act, "us": service_us}
    with start(facts, cpus=choose_cpus(host.cpus, servers), workers=servers) as workers:
        closed = workers.run(ClosedLoop.constant(users=servers, duration_s=max(0.5, 200 * service_us / 1e6)))
        answered = closed.samples.ended_ns()
        capacity_per_s = len(answered) / ((answered[-1] - closed.samples.started_ns()[0]) / NS_PER_S)
        nominal_per_s = servers / (service_us / 1e6)
        # The exponential draws of a short closed loop have a mean of their own.
        capacity_per_s = capacity_per_s if act == "deterministic" else nominal_per_s
        return [_at(workers, queue, utilisation, capacity_per_s, seconds) for utilisation in UTILISATIONS]


def _at(workers: Workers, queue: str, utilisation: float, capacity_per_s: float, seconds: float) -> dict[str, Any]:
    act, servers = QUEUES[queue]
    rate_per_s = utilisation * capacity_per_s
    seed = round(1000 * utilisation)
    run = workers.run(OpenLoop(rate_per_s=rate_per_s, duration_s=seconds, seed=seed, backlog_cap=10**6))
    due, started, ended = (
        column / NS_PER_S for column in (run.samples.scheduled_ns(), run.samples.started_ns(), run.samples.ended_ns())
    )
    services = ended - started + _between_calls(due, started, ended, servers)
    mean, requests = float(services.mean()), len(due)
    measured = _p95(ended - due)
    result: dict[str, Any] = {
        "queue": queue,
        "service_us": round(1e6 * mean, 2),
        "utilisation": round(rate_per_s * mean / servers, 4),
        "requests": requests,
        "p95_ms": round(1000 * measured, 3),
        "lag_p99_us": round(float(np.percentile(run.lags_ns(), 99)) / 1000, 1),
        "of_simulation": round(measured / _p95(simulate(due - due[0], services, servers)), 4),
    }
    if rate_per_s * mean < servers:  # else this host was not left to itself, and no theory says anything
        theory = md1_quantile(95, rate_per_s, mean) if queue == "M/D/1" else mmc_quantile(95, rate_per_s, mean, servers)
        result["of_theory"] = round(measured / theory, 4)
        result["sampling_error"] = round(_sampling_error(rate_per_s, mean, requests, act, servers) / theory, 4)
    return result


def _between_calls(due: np.ndarray, started: np.ndarray, ended: np.ndarray, servers: int) -> float:
    """Return the median time in s from the end of a call to the start of the next one that is already waiting."""
    if servers > 1:
        return 0.0
    gaps = started[1:] - ended[:-1]
    waiting = due[1:] < ended[:-1]
    return float(np.median(gaps[waiting])) if waiting.any() else 0.0


def _sampling_error(rate_per_s: float, mean: float, requests: int, act: str, servers: int) -> float:
    random = np.random.default_rng(1)
    found = []
    for _ in range(REPLICATES if servers == 1 else REPLICATES // 3):
        services = np.full(requests, mean) if act == "deterministic" else random.exponential(mean, requests)
        found.append(_p95(simulate(poisson_arrivals(rate_per_s, requests, random), services, servers)))
    return float(np.std(found))


def _p95(values: np.ndarray) -> float:
    return float(np.percentile(values, 95, method="inverted_cdf"))


def stall(host: Host) -> dict[str, Any]:
    """Measure one call of 200 ms among calls of 50 us."""
    facts = {"act": "stall", "us": 50, "stall_after_s": 2.0, "stall_ms": 200}
    found: dict[str, Any] = {}
    for name, traffic in (
        ("open loop, 1000/s", OpenLoop(rate_per_s=1000, duration_s=4)),
        ("closed loop, one user", ClosedLoop.constant(users=1, duration_s=4)),
    ):
        with start(facts, cpus=choose_cpus(host.cpus, 1)) as workers:
            run = workers.run(traffic)
        response_ms = (run.samples.ended_ns() - run.samples.scheduled_ns()) / 1e6
        found[name] = {"requests": len(response_ms), "response_ms": percentiles(response_ms, (50, 99, 100))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each run")
    parser.add_argument("--service-us", type=int, nargs="+", default=[250, 4000], help="service times")
    arguments = parser.parse_args()
    host = describe_host()
    cells = [
        cell
        for service_us in arguments.service_us
        for queue in QUEUES
        for cell in hold_to_theory(host, queue, service_us, arguments.seconds)
    ]
    print(json.dumps({"machine": machine(host), "queues": cells, "a stall of 200 ms": stall(host)}, indent=2))


if __name__ == "__main__":
    main()
