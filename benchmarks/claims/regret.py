"""How much worse than the best is what a search chooses: servefit's own, and others, played back on the stored grid.

    python -m benchmarks.claims.regret [--seeds 50] [--share 0.1]

Every search has a tenth of the seconds that measuring every configuration once took, whatever it spends them on:
``replay`` charges servefit's microbenchmarks, rounds and confirmations as they took or would have taken. Of what may be
the best twelve repeats are played back: of two the mean would be found, luck and all, by whoever measures more. What is
best is said by other measurements than those that are played back: by ten repeats of all that may be, made by other
processes with other arrivals, in which configurations that joined no requests at the rate are one (see ``truth``).
Regret is by which part the choice is worse than the best, in the demo's own order: the verdict, the cost per hour, the
latency at the rate; for the goals latency and throughput the p95 and the capacity. ``sure`` is the part of it that is
more than chance, with 95 % confidence over the repeats of the two. ``perfect`` is what measuring everything once and
choosing the best would come to: less is luck.

Prints one JSON object. Regrets are in per cent; ``right`` is the share of seeds that chose what is not surely
worse than the best.
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

from benchmarks.data.grid import NEAR_REPLAYED, REPEATED, STORED, Grid, row_of
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.baselines import SEARCHERS
from benchmarks.optimizers.replay import Noise, Table, best_choice
from benchmarks.optimizers.truth import GOALS, Truth

if TYPE_CHECKING:
    from benchmarks.optimizers.replay import Choice
    from servefit.search.request.job_request import Goal


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search came to: its regret, what of it is more than chance, its tests and seconds on the bench, and the
    seconds that it took to think."""

    regret: float
    sure_regret: float
    tests: int
    seconds: float
    thought_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The files of what is played back, with more repeats of what is ``near`` the best, and of what is true."""

    grid: Path
    repeated: Path
    near: Path | None = None


@cache
def world(paths: Paths) -> tuple[Grid, Noise, Grid]:
    grid, repeated = Grid.read(paths.grid), Grid.read(paths.repeated)
    if paths.near is not None:
        grid = grid.with_tests_of(Grid.read(paths.near))
    return grid.with_calls_of(repeated), Noise.of(grid), repeated


@cache
def truth(paths: Paths, goal: Goal) -> Truth:
    grid, _, repeated = world(paths)
    return Truth(grid, demo_request(goal), repeated)


def play(paths: Paths, goal: Goal, name: str, seed: int, share: float) -> Outcome:
    """Play back one search, or the perfect one."""
    grid, noise, _ = world(paths)
    table = Table(grid, noise, demo_request(goal, seed=seed), seed=seed, budget_s=share * grid.seconds)
    began = time.process_time()
    choice = everything(table) if name == "perfect" else SEARCHERS[name](table)
    if choice is None:
        raise RuntimeError(f"{name} measured nothing in {table.clock.limit_s:.0f} s")
    return Outcome(
        regret=truth(paths, goal).regret(choice),
        sure_regret=truth(paths, goal).sure_regret(choice),
        tests=table.clock.tests,
        seconds=table.now_s,
        thought_s=time.process_time() - began,
    )


def everything(table: Table) -> Choice:
    """Measure every configuration once, and return the best."""
    trials = [trial for configuration in table.space.grid if (trial := table.measure(configuration)) is not None]
    return min((best_choice(table.space, trial, table.request) for trial in trials), key=lambda ranked: ranked[0])[1]


def described(known: Truth) -> dict[str, Any]:
    """Return the best choice, and how many others are not surely worse."""
    profile, configuration = known.best
    return {
        "profile": profile.name,
        "configuration": str(row_of(configuration)),
        "not surely worse": sum(known.sure_regret(choice) == 0 for choice in known.choices) - 1,
    }


def summed_up(outcomes: list[Outcome]) -> dict[str, Any]:
    percent = 100 * np.array([outcome.regret for outcome in outcomes])
    sure = 100 * np.array([outcome.sure_regret for outcome in outcomes])
    return {
        "regret_median": round(float(np.median(percent)), 2),
        "regret_p95": round(float(np.percentile(percent, 95)), 2),
        "regret_mean": round(float(percent.mean()), 2),
        "sure_regret_median": round(float(np.median(sure)), 2),
        "sure_regret_p95": round(float(np.percentile(sure, 95)), 2),
        "right": round(float((sure == 0).mean()), 2),
        "tests_median": float(np.median([outcome.tests for outcome in outcomes])),
        "seconds_median": round(float(np.median([outcome.seconds for outcome in outcomes])), 1),
        "thought_s_median": round(float(np.median([outcome.thought_s for outcome in outcomes])), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--share", type=float, default=0.1, help="part of the grid's time that a search may take")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    paths = Paths(grid=STORED, repeated=REPEATED, near=NEAR_REPLAYED)
    grid, noise, _ = world(paths)
    names = (*SEARCHERS, "perfect")
    plan = [(goal, name, seed) for goal in GOALS for name in names for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(play_planned, [(paths, *planned, options.share) for planned in plan], chunksize=5))
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    for (goal, name, _), outcome in zip(plan, found, strict=True):
        outcomes.setdefault((goal, name), []).append(outcome)
    figures = {
        "machine": dict(grid.machine),
        "configurations": len(grid.tests),
        "grid_s": round(grid.seconds, 1),
        "budget_s": round(options.share * grid.seconds, 1),
        "seeds": options.seeds,
        "best": {goal: described(truth(paths, goal)) for goal in GOALS},
        "noise_percent": {
            "capacity": round(100 * noise.capacity, 2),
            "p95": round(100 * noise.latency, 2),
            "service_time": round(100 * noise.timing, 2),
        },
        "goals": {goal: {name: summed_up(outcomes[goal, name]) for name in names} for goal in GOALS},
    }
    print(json.dumps(figures, indent=2))


def play_planned(plan: tuple[Paths, Goal, str, int, float]) -> Outcome:
    return play(*plan)


if __name__ == "__main__":
    main()
