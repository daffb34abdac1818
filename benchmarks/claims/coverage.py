"""How often a printed interval of a percentile holds the truth.

    python -m benchmarks.claims.coverage [--trials 300] [--only NAME]

Simulated queues (benchmarks/disturbed_queues.py, seeded), 300 trials each. "five runs" is what a job prints of its
winner: five runs of so many requests each, with other arrivals, and an interval over them. "one run" is what
``profile`` and ``load`` print: one run of five times as many, and an interval of its order statistics. "printed" is
how often there is an interval. The truth is that of simulations which are much longer. "covered" says whether the
queue's disturbances come at least as often as a run of that length would have shown. The aim is that 93 to 97 of 100
intervals hold the truth, where they are printed and what disturbs is covered.

Runs of real processes differ from each other by more than their arrivals; that is in the first kind alone.

Prints one JSON object; about 2 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.disturbed_queues import QUIET, UNEVEN, Queue, true_percentiles_s
from benchmarks.in_parallel import in_parallel
from benchmarks.synthetic import machine
from servefit.profiler.evidence.percentile_intervals import percentile_intervals
from servefit.profiler.evidence.rare_disturbances import disturbance_excluded_in_s
from servefit.profiler.evidence.several_runs import intervals_over_runs
from servefit.profiler.evidence.summary import percentiles_of
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from benchmarks.disturbed_queues import SimulatedRun

RUNS = 5
LENGTHS = (200, 1_000, 4_000)
NAMES = ("p50", "p95", "p99")
RANKS = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
ROUNDING = 1e-9


def over_runs(runs: list[SimulatedRun]) -> dict[str, tuple[float, float]]:
    times = [run.response_s for run in runs]
    return intervals_over_runs(percentiles_of(np.concatenate(times), NAMES), times)


def of_one(run: SimulatedRun) -> dict[str, tuple[float, float]]:
    return percentile_intervals(run.response_s, RANKS)


def holds(interval: tuple[float, float], truth: float) -> bool:
    """Return whether an interval holds the truth, but for rounding: where most services are equal, so are both ends."""
    low, high = interval
    return low * (1 - ROUNDING) <= truth <= high * (1 + ROUNDING)


def covered(queue: Queue, requests: int, trials: int) -> list[dict[str, Any]]:
    """Return the shares of intervals that hold the truth, for both kinds."""
    truth = true_percentiles_s(queue)
    seen = disturbance_excluded_in_s(RUNS * requests / queue.rate_per_s) >= queue.comes_every_s
    found: dict[str, list[dict[str, tuple[float, float]]]] = {"five runs": [], "one run": []}
    for trial in range(trials):
        runs = [queue.run(requests, RUNS * trial + nth) for nth in range(RUNS)]
        found["five runs"].append(over_runs(runs))
        found["one run"].append(of_one(queue.run(RUNS * requests, 10**7 + trial)))
    rows = []
    for kind, intervals in found.items():
        row: dict[str, Any] = {"queue": queue.name, "kind": kind, "requests": RUNS * requests, "covered": seen}
        for name in NAMES:
            printed = [each[name] for each in intervals if name in each]
            held = sum(holds(interval, truth[RANKS[name]]) for interval in printed)
            row[name] = {
                "printed": round(len(printed) / trials, 3),
                "holds": round(held / len(printed), 3) if printed else None,
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--only", default="", help="queues whose names have this in them")
    given = parser.parse_args()
    began = time.monotonic()
    queues = [queue for queue in (*QUIET, *UNEVEN) if given.only in queue.name]
    plans = [(queue, requests, given.trials) for queue in queues for requests in LENGTHS]
    rows = [row for rows in in_parallel(covered, plans) for row in rows]
    figures = {"machine": machine(describe_host()), "elapsed_s": round(time.monotonic() - began), "intervals": rows}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
