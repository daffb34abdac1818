"""Whether a neighbour on the profile's own CPUs is noticed, and what is told beside one that comes and goes.

    python -m benchmarks.claims.neighbour

Prints one JSON object. A predictor that computes for 1 ms serves requests at 40 % of its capacity, first alone and
then, in turns, alone again and beside a process that wants all of the same CPU for 10, 30, 50, 70 and 100 % of every
second. For every such run it is asked what a person would be told: INVALID, a p95 whose interval includes the quiet
one, none where there are too few requests for an interval, or another; and how far capacity and p95 are from the quiet
ones, where they are not INVALID, and how far the answers for a second of CPU time are, in all. The aim is 3 % for
capacity, and no more intervals beside the quiet result than the second run alone has: the interval of one run holds
nothing between runs. For every quiet run it is asked whether it was called INVALID. Before all that, the highest rate
that keeps a limit is searched for in turns, alone and beside a neighbour that has the CPU for 30 % of every second.
"""

from __future__ import annotations

import json
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.neighbours import neighbour
from benchmarks.synthetic import machine, start
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import Summary, summarize
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.decided_runs import find_highest_rate, run_decided, run_valid
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.evidence.problem import Problem

SERVICE_US = 1000
ROUNDS = 8
DUTIES = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
DURATION_S = 2.0
LIMIT = (LatencyThreshold(percentile="p95", limit_ms=10.0),)
SEARCHES, SEARCH_S = 3, 20.0
SEARCH_LIMIT = (LatencyThreshold(percentile="p95", limit_ms=5.0),)


def run_once(workers: Workers, seed: int) -> dict[str, tuple[Summary, Sequence[Problem]]]:
    """Measure an open loop, which is held against an SLA, and a closed loop."""
    traffic = OpenLoop(rate_per_s=0.4 * 1e6 / SERVICE_US, duration_s=DURATION_S, seed=seed)
    decision = run_decided(workers, traffic, LIMIT)
    closed, problems = run_valid(workers, ClosedLoop.constant(users=1, duration_s=DURATION_S))
    return {
        "open loop": (summarize(decision.run), decision.problems),
        "closed loop": (summarize(closed), problems),
    }


def told(disturbed: Summary, problems: Sequence[Problem], quiet_p95_ms: float) -> str:
    if problems:
        return "INVALID"
    if "p95" not in disturbed.latency_ms_ci95:
        return "no interval"
    low, high = disturbed.latency_ms_ci95["p95"]
    return "interval includes the quiet result" if low <= quiet_p95_ms <= high else "interval beside the quiet result"


def per_cpu_second(summary: Summary) -> float:
    return 100 * summary.throughput_per_s / (summary.cpu_percent or float("nan"))


def ratios(pairs: Sequence[tuple[float, float]]) -> dict[str, float] | None:
    """Return how many times the quiet figure the disturbed ones are; None without any."""
    found = sorted(disturbed / quiet for quiet, disturbed in pairs if quiet)
    if not found:
        return None
    return {"median": round(median(found), 3), "from": round(found[0], 3), "to": round(found[-1], 3)}


def highest_rates(workers: Workers, cpu: int) -> list[dict[str, Any]]:
    """Search for the highest rate in turns, alone and beside a neighbour."""
    found = []
    for turn in range(SEARCHES):
        for duty in (0.0, 0.3):
            with neighbour(cpu, duty):
                highest, runs, _ = find_highest_rate(workers, SEARCH_LIMIT, budget_s=SEARCH_S, seed=turn)
            found.append(
                {
                    "duty": duty,
                    "rate_per_s": None if highest.rate_per_s is None else round(highest.rate_per_s, 1),
                    "estimate_per_s": None if highest.root_per_s is None else round(highest.root_per_s, 1),
                    "disturbed": highest.disturbed,
                    "left_out_s": round(sum(high - low for run in runs for low, high in run.left_out_ns) / NS_PER_S, 1),
                }
            )
    return found


def main() -> None:
    host = describe_host()
    (cpu,) = choose_cpus(host.cpus, 1)
    loops = ("open loop", "closed loop")
    quiet_reasons: dict[str, list[str]] = {loop: [] for loop in loops}
    told_of: dict[str, Counter[str]] = {f"{duty:.0%}, {loop}": Counter() for duty in DUTIES for loop in loops}
    capacities: dict[str, list[tuple[float, float]]] = {f"{duty:.0%}": [] for duty in DUTIES}
    per_cpu_s: dict[str, list[tuple[float, float]]] = {f"{duty:.0%}": [] for duty in DUTIES}
    p95_ms: dict[str, list[tuple[float, float]]] = {f"{duty:.0%}, {loop}": [] for duty in DUTIES for loop in loops}
    with start({"act": "deterministic", "us": SERVICE_US}, cpus=(cpu,)) as workers:
        rates = highest_rates(workers, cpu)
        for seed in range(ROUNDS):
            quiet = run_once(workers, seed)
            for loop in loops:
                quiet_reasons[loop] += [alarm.reason for alarm in quiet[loop][1]]
            for duty in DUTIES:
                with neighbour(cpu, duty):
                    disturbed = run_once(workers, seed)
                for loop in loops:
                    (alone, _), (found, problems) = quiet[loop], disturbed[loop]
                    if loop == "closed loop":
                        per_cpu_s[f"{duty:.0%}"].append((per_cpu_second(alone), per_cpu_second(found)))
                    told_of[f"{duty:.0%}, {loop}"][told(found, problems, alone.latency_ms["p95"] or 0.0)] += 1
                    if problems:
                        continue
                    both_ms = alone.latency_ms["p95"] or 0.0, found.latency_ms["p95"] or 0.0
                    p95_ms[f"{duty:.0%}, {loop}"].append(both_ms)
                    if loop == "closed loop":
                        capacities[f"{duty:.0%}"].append((alone.throughput_per_s, found.throughput_per_s))
    result: dict[str, Any] = {
        "machine": machine(host),
        "rounds": ROUNDS,
        "told beside a neighbour, by its duty cycle": told_of,
        "capacity, disturbed over quiet": {duty: ratios(pairs) for duty, pairs in capacities.items()},
        "answers a CPU-second, disturbed over quiet, INVALID or not": {
            duty: ratios(pairs) for duty, pairs in per_cpu_s.items()
        },
        "p95, disturbed over quiet": {duty: ratios(pairs) for duty, pairs in p95_ms.items()},
        "quiet runs called INVALID": quiet_reasons,
        "highest rate under a limit, in turns": rates,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
