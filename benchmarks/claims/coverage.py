"""How often a printed interval of a percentile holds the truth.

    python -m benchmarks.claims.coverage [--trials 300] [--only NAME] [--held-out]

Simulated queues (benchmarks/disturbed_queues.py, seeded), 300 trials each. The rules of intervals were found with
all but those that are ``held_out``. "five runs" is what a job prints of its winner: five runs of so many requests each,
with other arrivals, and an interval over them. "one run" is what ``profile`` and ``load`` print: one run of five times
as many, and an interval between its blocks. Both once more where calls are "seen", as in process, and replayed behind
other arrivals, if these are steady. "printed" is how often there is an interval, and "within" how far its ends are from
its middle, as a factor, at the median. The truth is that of simulations which are much longer. "covered" says whether
the queue's disturbances come at least as often as a run of that length would have shown. The aim is that 93 to 97 of
100 intervals hold the truth, where they are printed and what disturbs is covered.

Runs of real processes differ from each other by more than their arrivals; that is in the first kind alone.

"passes wrongly" is how often a limit that is the truth would be called kept by the interval of p95, as limits are held
against a closed loop: by one measurement, and by any of four, which have to be surer. The aim is 5 in 100 at most.

Prints one JSON object. With ``--held-out --trials 60`` it takes three minutes on two cores, and as given fifteen times
that.
"""

from __future__ import annotations

import argparse
import json
import time
from math import sqrt
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from benchmarks.disturbed_queues import HELD_OUT, QUIET, SLOW, UNEVEN, Queue, true_percentiles_s
from benchmarks.in_parallel import in_parallel
from benchmarks.synthetic import machine
from servefit.profiler.evidence.percentile_intervals import percentile_intervals
from servefit.profiler.evidence.rare_disturbances import disturbance_excluded_in_s
from servefit.profiler.evidence.replayed_percentiles import ReplayedRuns, intervals_of
from servefit.profiler.evidence.several_runs import intervals_over_runs, rather
from servefit.profiler.evidence.summary import percentiles_of
from servefit.profiler.evidence.verdict import widening
from servefit.profiler.machine.host import describe_host
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.record.traffic import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.disturbed_queues import SimulatedRun

RUNS, CHANCES = 5, 4
LENGTHS = (200, 1_000, 4_000)
NAMES = ("p50", "p95", "p99")
RANKS = {"p50": 50.0, "p95": 95.0, "p99": 99.0}
ROUNDING = 1e-9


Intervals: TypeAlias = "dict[str, tuple[float, float]]"
Printed: TypeAlias = "tuple[Mapping[str, float | None], Intervals]"
"""Percentiles, and the intervals of those that have one."""


def over_runs(runs: list[SimulatedRun]) -> Printed:
    times = [run.response_s for run in runs]
    pooled = percentiles_of(np.concatenate(times), NAMES)
    return pooled, intervals_over_runs(pooled, times)


def of_one(run: SimulatedRun) -> Printed:
    return percentiles_of(run.response_s, NAMES), percentile_intervals([run.response_s], RANKS)


def passes(printed: Printed, limit: float, *, chances: int, runs: int) -> bool:
    """Return whether a limit on p95 would be called kept by a measurement that is one of so many ``chances``."""
    values, intervals = printed
    value = values["p95"]
    if value is None or "p95" not in intervals:
        return False
    return bool(value * (intervals["p95"][1] / value) ** widening(chances, runs) <= limit)


def seen(runs: list[SimulatedRun], queue: Queue, printed: Printed) -> Printed:
    """Return what is printed where the calls of ``runs`` were seen, in place of ``printed``."""
    replayed = ReplayedRuns(
        runs=[served(run) for run in runs],
        seconds=[len(run.arrivals_s) / queue.rate_per_s for run in runs],
        rate_per_s=queue.rate_per_s,
        arrivals="poisson",
    )
    intervals_ms = intervals_of(replayed, Discipline(call_overhead_ns=0, request_overhead_ns=0), RANKS)
    values, intervals = printed
    return values, rather(
        {name: (low / 1e3, high / 1e3) for name, (low, high) in intervals_ms.items()}, intervals, values
    )


def served(run: SimulatedRun) -> ServedRequests:
    ends_ns = (run.arrivals_s + run.response_s) * NS_PER_S
    return ServedRequests(
        scheduled_ns=run.arrivals_s * NS_PER_S,
        started_ns=ends_ns - run.service_s * NS_PER_S,
        ended_ns=ends_ns,
        batches=np.ones(len(ends_ns), dtype=np.int64),
    )


def holds(interval: tuple[float, float], truth: float) -> bool:
    """Return whether an interval holds the truth, but for rounding: where most services are equal, so are both ends."""
    low, high = interval
    return low * (1 - ROUNDING) <= truth <= high * (1 + ROUNDING)


def covered(queue: Queue, requests: int, trials: int) -> list[dict[str, Any]]:
    """Return the shares of intervals that hold the truth, and of wrong verdicts by them, for both kinds."""
    truth = true_percentiles_s(queue)
    would_show = disturbance_excluded_in_s(RUNS * requests / queue.rate_per_s) >= queue.comes_every_s
    are_seen = queue.bursts is None and queue.servers == 1
    found: dict[str, list[Printed]] = {"five runs": [], "one run": []}
    if are_seen:
        found |= {"five runs, seen": [], "one run, seen": []}
    for trial in range(trials):
        runs = [queue.run(requests, RUNS * trial + nth) for nth in range(RUNS)]
        one = queue.run(RUNS * requests, 10**7 + trial)
        found["five runs"].append(over_runs(runs))
        found["one run"].append(of_one(one))
        if are_seen:
            found["five runs, seen"].append(seen(runs, queue, found["five runs"][-1]))
            found["one run, seen"].append(seen([one], queue, found["one run"][-1]))
    rows = []
    for kind, measured in found.items():
        row: dict[str, Any] = {
            "queue": queue.name,
            "held_out": queue in HELD_OUT,
            "kind": kind,
            "requests": RUNS * requests,
        }
        row["covered"] = would_show
        for name in NAMES:
            printed = [intervals[name] for _, intervals in measured if name in intervals]
            held = sum(holds(interval, truth[RANKS[name]]) for interval in printed)
            row[name] = {
                "printed": round(len(printed) / trials, 3),
                "holds": round(held / len(printed), 3) if printed else None,
                "within": round(float(np.median([sqrt(high / low) for low, high in printed])), 3) if printed else None,
            }
        rows.append(row)
        if "seen" in kind:
            continue
        runs_each, limit = RUNS if kind == "five runs" else 1, truth[RANKS["p95"]] * (1 - ROUNDING)
        single = [passes(each, limit, chances=1, runs=runs_each) for each in measured]
        surer = [passes(each, limit, chances=CHANCES, runs=runs_each) for each in measured]
        of_several = [any(surer[nth : nth + CHANCES]) for nth in range(0, trials - CHANCES + 1, CHANCES)]
        row["passes wrongly"] = {
            "one": round(float(np.mean(single)), 4),
            "any of 4": round(float(np.mean(of_several)), 4),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--only", default="", help="queues whose names have this in them")
    parser.add_argument("--held-out", action="store_true", help="only the queues that no rule was found with")
    given = parser.parse_args()
    began = time.monotonic()
    queues = [
        queue
        for queue in (HELD_OUT if given.held_out else (*QUIET, *UNEVEN, *SLOW, *HELD_OUT))
        if given.only in queue.name
    ]
    plans = [(queue, requests, given.trials) for queue in queues for requests in LENGTHS]
    rows = [row for rows in in_parallel(covered, plans) for row in rows]
    figures = {"machine": machine(describe_host()), "elapsed_s": round(time.monotonic() - began), "intervals": rows}
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
