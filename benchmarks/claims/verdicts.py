"""How often the sequential test is wrong where it is hardest, and how soon it is right where the answer is clear.

    python -m benchmarks.claims.verdicts

Prints one JSON object; two to three minutes on one core. All runs are simulated queues (seeded), looked at as a live
run would be, every 100 ms, until there is a verdict or the budget of requests is out.

At the boundary the limit is the true percentile of the response time, from theory, so that PASS and FAIL are both
wrong. Beside each share stands its upper 95 % bound [Clopper and Pearson 1934], and the same test without the
correction for autocorrelation ("raw_binomial"). Away from the boundary the limit is a percentile of the truth above or
below the one tested, and what counts is the number of requests to the verdict; those not decided count as the budget.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.queues import lognormal_services, md1_quantile, mmc_quantile, poisson_arrivals, simulate
from servefit.profiler.evidence.sequential_test import (
    ALPHA,
    Evidence,
    SequentialTest,
    ThresholdVerdict,
    log_e_fail,
    log_e_pass,
)
from servefit.profiler.evidence.summary import samples_needed
from servefit.profiler.machine.host import describe_host

UTILISATIONS = (0.5, 0.7, 0.9)
SERVICE_NS = 1_000_000.0
_LONG = 1_000_000
SETTLE = 3000
"""Requests before a run begins: about nine times what M/M/1 at 90 % load takes to forget that it started empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``runs`` runs of ``budget`` requests at most, looked at after every ``step`` of them."""

    percentile: float
    runs: int
    budget: int
    step: int


BOUNDARY_PLANS = (  # 10 s at 1000/s and at 2000/s
    Plan(percentile=95, runs=400, budget=10_000, step=100),
    Plan(percentile=99, runs=400, budget=20_000, step=200),
)
CLEAR_PLAN = Plan(percentile=95, runs=200, budget=10_000, step=20)  # 50 s at 200/s


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Poisson arrivals at ``servers`` servers; service takes SERVICE_NS, always ("D") or on average: exponential ("M"),
    or lognormal with three times that as its standard deviation ("G")."""

    service: str
    servers: int
    utilisation: float

    @property
    def name(self) -> str:
        return f"M/{self.service}/{self.servers} at {self.utilisation:g}"

    @property
    def rate_per_ns(self) -> float:
        return self.utilisation * self.servers / SERVICE_NS

    def quantile_ns(self, percentile: float) -> float:
        if self.service == "D":
            return md1_quantile(percentile, self.rate_per_ns, SERVICE_NS)
        if self.service == "G":
            return float(np.percentile(self.response_ns(_LONG, seed=10**6), percentile))
        return mmc_quantile(percentile, self.rate_per_ns, SERVICE_NS, self.servers)

    def response_ns(self, requests: int, seed: int) -> np.ndarray:
        """Simulate a settled queue, and return the response times of ``requests`` requests in order of arrival."""
        random = np.random.default_rng(seed)
        arrivals = poisson_arrivals(self.rate_per_ns, SETTLE + requests, random)
        services = np.full(len(arrivals), SERVICE_NS)
        if self.service == "G":
            services = lognormal_services(SERVICE_NS, 3.0, len(arrivals), random)
        if self.service == "M":
            services = random.exponential(SERVICE_NS, len(arrivals))
        return simulate(arrivals, services, self.servers)[SETTLE:]


QUEUES = (
    *(
        Queue(service=service, servers=servers, utilisation=utilisation)
        for service, servers in (("M", 1), ("D", 1), ("M", 2))
        for utilisation in UTILISATIONS
    ),
    Queue(service="G", servers=1, utilisation=0.5),
)
CLEAR_QUEUES = tuple(Queue(service="M", servers=1, utilisation=utilisation) for utilisation in (0.05, 0.5, 0.7))
CLEAR_SHARES = (0.0, 0.01, 0.1)
"""Where none violate, the limit is twenty times the percentile."""


def decide(response_ns: np.ndarray, limit_ns: float, plan: Plan) -> Evidence:
    """Carry out the sequential test in the way of a live run."""
    test = SequentialTest(percentile=plan.percentile, limit_ns=limit_ns)
    for samples in range(plan.step, plan.budget + 1, plan.step):
        if test.update(response_ns[:samples], unhurried=True) != "UNDECIDED":
            break
    return test.evidence


def decide_raw(response_ns: np.ndarray, limit_ns: float, plan: Plan) -> ThresholdVerdict:
    """Return the verdict of the same e-values at the same looks if every request counts as independent."""
    samples = np.arange(plan.step, plan.budget + 1, plan.step)
    samples = samples[samples >= samples_needed(plan.percentile)]
    violations = np.cumsum(response_ns > limit_ns)[samples - 1]
    boundary = 1 - plan.percentile / 100
    passes = log_e_pass(samples, violations, boundary) >= math.log(1 / ALPHA)
    fails = log_e_fail(samples, violations, boundary) >= math.log(1 / ALPHA)
    decided = passes | fails
    return "UNDECIDED" if not decided.any() else "PASS" if passes[np.argmax(decided)] else "FAIL"


def at_the_boundary(queue: Queue, plan: Plan) -> dict[str, Any]:
    limit_ns = queue.quantile_ns(plan.percentile)
    verdicts: list[ThresholdVerdict] = []
    raw: list[ThresholdVerdict] = []
    violated: list[float] = []
    for seed in range(plan.runs):
        response_ns = queue.response_ns(plan.budget, seed)
        verdicts.append(decide(response_ns, limit_ns, plan).verdict)
        raw.append(decide_raw(response_ns, limit_ns, plan))
        violated.append(float(np.mean(response_ns > limit_ns)))
    return {
        "queue": queue.name,
        "violations_simulated": round(float(np.mean(violated)), 4),
        "false_pass": share(verdicts.count("PASS"), plan.runs),
        "false_fail": share(verdicts.count("FAIL"), plan.runs),
        "undecided": verdicts.count("UNDECIDED") / plan.runs,
        "raw_binomial": {"false_pass": raw.count("PASS") / plan.runs, "false_fail": raw.count("FAIL") / plan.runs},
    }


def where_it_is_clear(queue: Queue, plan: Plan, violation_share: float) -> dict[str, Any]:
    limit_ns = queue.quantile_ns(100 * (1 - violation_share)) if violation_share else 20 * queue.quantile_ns(95)
    found = [decide(queue.response_ns(plan.budget, seed), limit_ns, plan) for seed in range(plan.runs)]
    samples = [evidence.samples for evidence in found]
    verdicts = [evidence.verdict for evidence in found]
    right: ThresholdVerdict = "PASS" if violation_share < 1 - plan.percentile / 100 else "FAIL"
    wrong: ThresholdVerdict = "FAIL" if right == "PASS" else "PASS"
    return {
        "queue": queue.name,
        "violations": violation_share,
        "verdict": right,
        "samples_median": int(np.median(samples)),
        "samples_p90": int(np.quantile(samples, 0.9)),
        "undecided": verdicts.count("UNDECIDED") / plan.runs,
        "wrong": verdicts.count(wrong) / plan.runs,
    }


def share(count: int, runs: int) -> dict[str, float]:
    """Return ``count`` as a share of ``runs``, and the upper end of its one-sided 95 % interval by Clopper and
    Pearson."""

    def so_few(probability: float) -> float:
        return sum(
            math.comb(runs, wrong) * probability**wrong * (1 - probability) ** (runs - wrong)
            for wrong in range(count + 1)
        )

    low, high = count / runs, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if so_few(middle) > 0.05 else (low, middle)
    return {"share": count / runs, "upper95": round(high, 4)}


def update_ms(samples: int) -> float:
    """Return the time of one look at ``samples`` requests, the median of 20."""
    response_ns = np.random.default_rng(0).exponential(SERVICE_NS, samples).astype(np.int64)
    took = []
    for _ in range(20):
        test = SequentialTest(percentile=95, limit_ns=3 * SERVICE_NS)
        began = time.perf_counter()
        test.update(response_ns)
        took.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(took)), 3)


def main() -> None:
    began = time.monotonic()
    host = describe_host()
    figures = {
        "update_ms_at_100k_samples": update_ms(100_000),
        "boundary": {
            f"p{plan.percentile:g}, {plan.runs} runs of {plan.budget} requests": [
                at_the_boundary(queue, plan) for queue in QUEUES
            ]
            for plan in BOUNDARY_PLANS
        },
        "clear_p95": [where_it_is_clear(queue, CLEAR_PLAN, part) for part in CLEAR_SHARES for queue in CLEAR_QUEUES],
    }
    machine = {"cpu": host.cpu_model, "logical_cpus": host.logical_cpus, "python": host.python, "numpy": np.__version__}
    print(json.dumps({"machine": machine, "elapsed_s": round(time.monotonic() - began), "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
