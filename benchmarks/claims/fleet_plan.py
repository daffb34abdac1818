"""Whether the plan of a fleet is the cheapest, how long it takes, and whether a balancer keeps to its weights.

    python -m benchmarks.claims.fleet_plan [--only brute-force,large,many-models,shares] [--seeds 3]

Fleets are synthetic: speeds are lognormal, and what a host costs grows with its speed to the power of 0.6.

"brute-force": 200 random fleets of up to four classes and N+0 to N+2, the plan beside the cheapest of all fleets. The
aim is the same cost, but for a part of 1e-5, in all of them.

"large": fifty classes of two hundred hosts, N+2, half of which are needed. The aim is 5 s for a whole plan that is
proven to be the cheapest.

"many-models": ten models of heavy-tailed rates on twenty classes of two hundred hosts, N+0 and N+1. The aim is 10 s,
and a gap below 2 % without spare hosts; with them the gap is told, and has no aim.

"shares": three real HTTP endpoints behind a real nginx with the weights of a plan; the share of each of 6,000 requests.
The aim is 2 % of the weight's share, with all of them and after one was killed.

Prints one JSON object, which has "met" for each aim, and ends with status 1 where one is missed. About five minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.servers.balanced_endpoints import shares_behind_nginx
from benchmarks.synthetic import machine
from servefit.profiler.machine.host import describe_host
from servefit.search.fleet.plan.fleet_plan import MIN_GAP, FleetPlan
from servefit.search.fleet.plan.losses import carries, kept_per_s, total_per_s
from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelDemand, plan_models
from servefit.search.fleet.plan.mix import plan_fleet
from servefit.search.fleet.plan.offer import HostOffer

if TYPE_CHECKING:
    from numpy.random import Generator

SAME = 1e-5
"""Whole-number weights of nginx make rates differ from their proportion by less."""

LARGE_S = 5.0
MANY_S, MANY_GAP = 10.0, 0.02
SHARE = 0.02


def fleet(rng: Generator, classes: int, hosts: int) -> list[HostOffer]:
    """Return a fleet of so many classes and hosts."""
    counts = rng.multinomial(hosts - classes, rng.dirichlet(np.ones(classes))) + 1
    speeds = rng.lognormal(0, 0.5, classes)
    costs = 100 * speeds**0.6 * rng.lognormal(0, 0.2, classes)
    return [
        HostOffer(
            host_class=f"class-{index}",
            hosts=int(counts[index]),
            rate_per_s=float(400 * speeds[index] * rng.lognormal(0, 0.15)),
            cost_idle=float(costs[index]),
            configuration="synthetic",
        )
        for index in range(classes)
    ]


def cost_of(offers: Sequence[HostOffer], hosts: Sequence[int]) -> float:
    """Return what hosts cost together."""
    return sum(count * offer.cost_idle for offer, count in zip(offers, hosts, strict=True))


def brute_force() -> dict[str, Any]:
    """Plan small fleets, and try every fleet of them."""
    worst, fleets, began = 0.0, 200, time.monotonic()
    different = []
    for seed in range(fleets):
        rng, spare = np.random.default_rng(seed), seed % 3
        classes = int(rng.integers(1, 5))
        offers = fleet(rng, classes, classes + 3 + int(rng.integers(0, 4 * classes)))
        rates, available = [offer.rate_per_s for offer in offers], [offer.hosts for offer in offers]
        rate_per_s = float(rng.uniform(0.05, 1)) * kept_per_s(rates, available, spare)
        least = min(
            cost_of(offers, hosts)
            for hosts in product(*(range(count + 1) for count in available))
            if sum(hosts) > spare and carries(rates, hosts, rate_per_s, spare)
        )
        found = plan_fleet(offers, rate_per_s=rate_per_s, spare=spare)
        assert isinstance(found, FleetPlan)
        used = {row.offer.host_class: row.hosts for row in found.fleet.rows}
        hosts = [used.get(offer.host_class, 0) for offer in offers]
        dearer = cost_of(offers, hosts) / least - 1
        worst = max(worst, dearer)
        if dearer > SAME or not carries(rates, hosts, rate_per_s, spare):
            different.append(seed)
    return {
        "fleets": fleets,
        "different": different,
        "dearer_at_most": worst,
        "elapsed_s": round(time.monotonic() - began, 1),
        "met": not different,
    }


def large(seeds: int) -> dict[str, Any]:
    """Plan for as many classes and hosts as owners have at most."""
    runs = []
    for seed in range(seeds):
        offers = fleet(np.random.default_rng(seed), 50, 200)
        rate_per_s = 0.5 * total_per_s([offer.rate_per_s for offer in offers], [offer.hosts for offer in offers])
        began = time.monotonic()
        found = plan_fleet(offers, rate_per_s=rate_per_s, spare=2)
        took_s = time.monotonic() - began
        assert isinstance(found, FleetPlan)
        runs.append(
            {
                "took_s": round(took_s, 2),
                "gap": found.gap,
                "cost": found.fleet.cost,
                "hosts": found.fleet.hosts,
            }
        )
    return {"runs": runs, "met": all(run["took_s"] <= LARGE_S and run["gap"] < MIN_GAP for run in runs)}


def many_models(seeds: int) -> dict[str, Any]:
    """Plan for ten models, whose rates take seven tenths of the fleet at the median speed."""
    runs = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        offers, models = fleet(rng, 20, 200), 10
        parts = rng.pareto(1.2, models) + 0.05
        parts *= 0.7 * 200 / parts.sum()
        demands = []
        for model in range(models):
            speeds = rng.lognormal(0, 1) * rng.lognormal(0, 0.15, len(offers))
            of_model = tuple(
                HostOffer(
                    host_class=offer.host_class,
                    hosts=offer.hosts,
                    rate_per_s=float(offer.rate_per_s * speed),
                    cost_idle=offer.cost_idle,
                    configuration="synthetic",
                )
                for offer, speed in zip(offers, speeds, strict=True)
            )
            rate_per_s = float(parts[model] * np.median([offer.rate_per_s for offer in of_model]))
            demands.append(ModelDemand(model=f"model-{model}", rate_per_s=rate_per_s, offers=of_model))
        for spare in (0, 1):
            began = time.monotonic()
            found = plan_models(demands, spare=spare)
            took_s = time.monotonic() - began
            assert isinstance(found, ManyModelsPlan)
            runs.append({"spare": spare, "took_s": round(took_s, 2), "cost": found.cost, "gap": found.gap})
    met = all(run["took_s"] <= MANY_S and (run["spare"] or run["gap"] <= MANY_GAP) for run in runs)
    return {"runs": runs, "met": met}


def shares() -> dict[str, Any]:
    """Have nginx hand requests to three endpoints, and to the two that are left."""
    rates = (1291.0, 437.0, 2210.0)
    offers = [
        HostOffer(host_class=f"class-{index}", hosts=1, rate_per_s=rate, cost_idle=1, configuration="synthetic")
        for index, rate in enumerate(rates)
    ]
    found = plan_fleet(offers, rate_per_s=1700, spare=1, most_hosts=3)
    assert isinstance(found, FleetPlan)
    weights = [row.weight for row in found.all_hosts.rows]
    rows, met = [], True
    for lost in (None, 1):
        seen = shares_behind_nginx(weights, requests=6000, lost=lost)
        total = sum(weight for index, weight in enumerate(weights) if index != lost)
        for index, weight in enumerate(weights):
            wanted = 0.0 if index == lost else weight / total
            met = met and abs(seen[index] - wanted) <= SHARE * wanted
            rows.append({"lost": lost, "endpoint": index, "weight": weight, "wanted": wanted, "seen": seen[index]})
    return {"rows": rows, "met": met}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="brute-force,large,many-models,shares")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    parts = {
        "brute-force": brute_force,
        "large": lambda: large(given.seeds),
        "many-models": lambda: many_models(given.seeds),
        "shares": shares,
    }
    figures: dict[str, Any] = {name: parts[name]() for name in given.only.split(",")}
    print(json.dumps({"machine": machine(describe_host()), **figures}, indent=2))
    sys.exit(not all(part["met"] for part in figures.values()))


if __name__ == "__main__":
    main()
