"""How much worse than the best is what a search chooses where its predictions are off: ten made-up surfaces.

    python -m benchmarks.claims.surfaces [--seeds 6] [--share 0.1] [--only NAME]

The surfaces are in benchmarks/optimizers/surfaces.py. Every search has a tenth of the seconds that measuring every
configuration once takes, and is held against the truth that the surface was made from. The goals are throughput and,
where twins have the same truth, latency. The aim is a regret of 5 % at most in 19 of 20 searches.

Prints one JSON object; regrets are in per cent.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.grid import Grid
from benchmarks.in_parallel import in_parallel
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.baselines import SEARCHERS
from benchmarks.optimizers.replay import Table
from benchmarks.optimizers.surfaces import SURFACES, redrawn
from benchmarks.optimizers.truth import Truth
from benchmarks.synthetic import machine
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from servefit.search.request.job_request import Goal

GOALS: tuple[Goal, ...] = ("throughput", "latency")


def play(number: int, seed: int, share: float) -> list[dict[str, Any]]:
    """Play every search once on a surface."""
    surface = SURFACES[number]
    grid = redrawn(Grid.read(), surface, seed)
    found = []
    for goal in GOALS:
        truth = Truth(grid, demo_request(goal))
        for name, search in SEARCHERS.items():
            table = Table(grid, surface.noise, demo_request(goal, seed=seed), seed=seed, budget_s=share * grid.seconds)
            choice = search(table)
            regret = 1.0 if choice is None else truth.regret(choice)
            found.append(
                {"surface": surface.name, "goal": goal, "search": name, "seed": seed, "regret": regret}
                | {"tests": table.clock.tests, "seconds": round(table.now_s, 1)}
            )
    return found


def summed_up(found: list[dict[str, Any]]) -> dict[str, Any]:
    percent = 100 * np.array([each["regret"] for each in found])
    return {
        "median": round(float(np.median(percent)), 2),
        "largest": round(float(percent.max()), 2),
        "mean": round(float(percent.mean()), 2),
        "seconds": round(float(np.median([each["seconds"] for each in found])), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--share", type=float, default=0.1, help="part of the grid's time that a search may take")
    parser.add_argument("--only", default="", help="surfaces whose names have this in them")
    given = parser.parse_args()
    began = time.monotonic()
    chosen = [(number, each) for number, each in enumerate(SURFACES) if given.only in each.name]
    plans = [(number, seed, given.share) for number, _ in chosen for seed in range(given.seeds)]
    found = [search for searches in in_parallel(play, plans) for search in searches]
    figures: dict[str, Any] = {}
    for goal in GOALS:
        for name in SEARCHERS:
            mine = [each for each in found if (each["goal"], each["search"]) == (goal, name)]
            p95 = 100 * float(np.percentile([each["regret"] for each in mine], 95))
            figures.setdefault(goal, {})[name] = {
                "regret_p95": round(p95, 2),
                **{surface.name: summed_up([e for e in mine if e["surface"] == surface.name]) for _, surface in chosen},
            }
    head = {"machine": machine(describe_host()), "elapsed_s": round(time.monotonic() - began)}
    print(json.dumps({**head, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
