"""How much worse than the best is what a search chooses: servefit's own, and others, played back on the stored grid.

    python -m benchmarks.claims.regret [--grid benchmarks/data/demo_grid.json] [--seeds 50] [--share 0.1]

Every search has a tenth of the seconds that measuring every configuration once took, whatever it spends them on:
``replay`` charges servefit's microbenchmarks, rounds and confirmations as they took or would have taken. Regret is by
which part the choice is worse than the best by the means of all repeats, in the demo's own order: the verdict, the cost
per hour, the cost per inference; for the goals latency and throughput the p95 and the capacity. ``perfect`` is what
measuring everything once and choosing the best would come to: less is luck.

Prints one JSON object. Regrets are in per cent; ``right`` is the share of seeds that chose the best itself.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.data.grid import STORED, Grid
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.baselines import SEARCHERS
from benchmarks.optimizers.replay import Noise, Table, Truth, best_choice

if TYPE_CHECKING:
    from benchmarks.optimizers.replay import Choice
    from servefit.search.request.job_request import Goal

GOALS: tuple[Goal, ...] = ("cost", "latency", "throughput")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search came to: its regret, tests and seconds on the bench, and the seconds that it took to think."""

    regret: float
    tests: int
    seconds: float
    thought_s: float


@cache
def world(path: Path) -> tuple[Grid, Noise]:
    grid = Grid.read(path)
    return grid, Noise.of(grid)


@cache
def truth(path: Path, goal: Goal) -> Truth:
    return Truth(world(path)[0], demo_request(goal))


def play(path: Path, goal: Goal, name: str, seed: int, share: float) -> Outcome:
    """Play back one search, or the perfect one."""
    grid, noise = world(path)
    table = Table(grid, noise, demo_request(goal, seed=seed), seed=seed, budget_s=share * grid.seconds)
    began = time.process_time()
    choice = everything(table) if name == "perfect" else SEARCHERS[name](table)
    if choice is None:
        raise RuntimeError(f"{name} measured nothing in {table.clock.limit_s:.0f} s")
    return Outcome(
        regret=truth(path, goal).regret(choice),
        tests=table.clock.tests,
        seconds=table.now_s,
        thought_s=time.process_time() - began,
    )


def everything(table: Table) -> Choice:
    """Measure every configuration once, and return the best."""
    trials = [trial for configuration in table.space.grid if (trial := table.measure(configuration)) is not None]
    return min((best_choice(table.space, trial, table.request) for trial in trials), key=lambda ranked: ranked[0])[1]


def summed_up(outcomes: list[Outcome]) -> dict[str, Any]:
    percent = 100 * np.array([outcome.regret for outcome in outcomes])
    return {
        "regret_median": round(float(np.median(percent)), 2),
        "regret_p95": round(float(np.percentile(percent, 95)), 2),
        "regret_mean": round(float(percent.mean()), 2),
        "right": round(float((percent == 0).mean()), 2),
        "tests_median": float(np.median([outcome.tests for outcome in outcomes])),
        "seconds_median": round(float(np.median([outcome.seconds for outcome in outcomes])), 1),
        "thought_s_median": round(float(np.median([outcome.thought_s for outcome in outcomes])), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", type=Path, default=STORED)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.1, help="part of the grid's time that a search may take")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    grid, noise = world(options.grid)
    names = (*SEARCHERS, "perfect")
    plan = [(goal, name, seed) for goal in GOALS for name in names for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(play_planned, [(options.grid, *planned, options.share) for planned in plan], chunksize=5))
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for (goal, name, _), outcome in zip(plan, found, strict=True):
        outcomes.setdefault((goal, name), []).append(outcome)
    figures = {
        "machine": dict(grid.machine),
        "configurations": len(grid.tests),
        "grid_s": round(grid.seconds, 1),
        "budget_s": round(options.share * grid.seconds, 1),
        "seeds": options.seeds,
        "noise_percent": {
            "capacity": round(100 * noise.capacity, 2),
            "p95": round(100 * noise.latency, 2),
            "service_time": round(100 * noise.timing, 2),
        },
        "goals": {goal: {name: summed_up(outcomes[goal, name]) for name in names} for goal in GOALS},
    }
    print(json.dumps(figures, indent=2))


def play_planned(plan: tuple[Path, Goal, str, int, float]) -> Outcome:
    return play(*plan)


if __name__ == "__main__":
    main()
