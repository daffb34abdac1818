"""How often a verdict on a limit is right, wrong or missing, by how far the limit is kept or broken.

    python -m benchmarks.claims.verdicts [--runs 100] [--only NAME]

Prints one JSON object; about 15 minutes on two cores. All runs are simulated queues (benchmarks/disturbed_queues.py,
seeded) of 5, 20 and 60 s, looked at as the driver looks at a live run. The limit on p95 is a percentile of the response
time that longer simulations, with other seeds, say: so a known share of the requests takes longer, where 5 % may.

Beside servefit's verdict stand two rules on the same runs: "plain", the measured p95 against the limit, and "blocks",
Student's bounds over the shares of blocks of 2.5 s. "covered" says whether what disturbs the queue comes at least as
often as a PASS after such a run claims to see; what is not covered is in "all", and no figure of "summary" that says
"least" or "most" is of it. "held out" is the same summary without the queues that were among those which servefit's
rule was found with; all runs here have other seeds than it was found with.
"""

from __future__ import annotations

import argparse
import json
import time
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.disturbed_queues import QUIET, SLOW, UNEVEN, Queue, SimulatedRun, true_percentiles_s
from benchmarks.in_parallel import in_parallel
from benchmarks.synthetic import machine
from servefit.profiler.drivers.driving.ending import GROWN
from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.rare_disturbances import disturbance_excluded_in_s
from servefit.profiler.evidence.sequential_test import GROWTH_SEEN, SequentialTest
from servefit.profiler.evidence.time_to_spare import is_unhurried
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from benchmarks.queues import Floats

SECONDS = (5.0, 20.0, 60.0)
SHARES = {0.1: 99.9, 1.0: 99.0, 2.5: 97.5, 4.0: 96.0, 5.0: 95.0, 7.5: 92.5, 10.0: 90.0}
"""The per cent of requests that take longer than the limit, and the percentile that the limit is."""
AT_THE_LIMIT = 5.0
FOUND_WITH = ("M/M/1 at 0.5", "M/M/1 at 0.8", "M/M/1 at 0.95", "M/D/1 at 0.8", "M/M/1 at 0.5 beside a neighbour")
"""Queues that servefit's rule was found with, by the beginning of their names."""
NS_PER_S = 1e9
FIRST_LOOK = 100
BLOCK_S = 2.5


def decide(run: SimulatedRun, limit_s: float, seconds: float) -> str:
    """Decide as on a live run, which ends as soon as it surely fails."""
    response_ns = run.response_s * NS_PER_S
    test = SequentialTest(percentile=95, limit_ns=limit_s * NS_PER_S)
    seen = FIRST_LOOK
    while seen < len(response_ns) and not test.surely_fails(response_ns[:seen]):
        seen = int(seen * GROWN) + 1
    verdict = test.conclude(response_ns).verdict
    grown = is_unhurried(len(response_ns), run.busy()) or seconds >= GROWTH_SEEN * limit_s
    return "UNDECIDED" if verdict == "PASS" and not grown else verdict


def plain(run: SimulatedRun, limit_s: float, seconds: float) -> str:  # noqa: ARG001 - as the others
    return "PASS" if float(np.percentile(run.response_s, 95, method="inverted_cdf")) <= limit_s else "FAIL"


def of_blocks(run: SimulatedRun, limit_s: float, seconds: float) -> str:
    """The rule of ten lines: one-sided 95 % bounds of Student over the shares of blocks."""
    number = round(seconds / BLOCK_S)
    if number < 3:
        return "UNDECIDED"
    block = np.minimum((run.arrivals_s / BLOCK_S).astype(int), number - 1)
    violated = (run.response_s > limit_s).astype(float)
    shares: Floats = np.bincount(block, violated, number) / np.maximum(np.bincount(block, minlength=number), 1)
    half = t_quantile(0.95, number - 1) * float(shares.std(ddof=1)) / sqrt(number)
    mean, allowed = float(shares.mean()), AT_THE_LIMIT / 100
    return "PASS" if mean + half < allowed else "FAIL" if mean - half > allowed else "UNDECIDED"


RULES = {"servefit": decide, "plain": plain, "blocks": of_blocks}


def verdicts_on(queue: Queue, seconds: float, runs: int) -> list[dict[str, Any]]:
    """Return how often each rule says what on ``runs`` runs of ``queue``, by the share of requests that are slow."""
    simulated = [queue.run(round(seconds * queue.rate_per_s), seed) for seed in range(runs)]
    covered = disturbance_excluded_in_s(seconds) >= queue.comes_every_s
    found = []
    for share, percentile in SHARES.items():
        limit_s = true_percentiles_s(queue)[percentile]
        for rule, says in RULES.items():
            verdicts = [says(run, limit_s, seconds) for run in simulated]
            parts = {verdict: verdicts.count(verdict) / runs for verdict in ("PASS", "FAIL")}
            found.append(
                {"queue": queue.name, "seconds": seconds, "share": share, "rule": rule, "covered": covered, **parts}
            )
    return found


def summed_up(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return means over all queues, and the worst of those that are covered, for each rule, length and share: the
    least PASS where the limit is kept, the most PASS where it is broken, and the most FAIL where it is kept."""
    rows = []
    for rule in RULES:
        for seconds in SECONDS:
            for share in SHARES:
                same = [one for one in found if (one["rule"], one["seconds"], one["share"]) == (rule, seconds, share)]
                if not same:
                    continue
                counted = [one for one in same if one["covered"]]
                kept = share < AT_THE_LIMIT
                passes = (min if kept else max)(counted, key=lambda one: one["PASS"])
                fails = max(counted, key=lambda one: one["FAIL"]) if share <= AT_THE_LIMIT else None
                rows.append(
                    {
                        "rule": rule,
                        "seconds": seconds,
                        "share": share,
                        "PASS": mean_of(same, "PASS"),
                        "PASS, covered": mean_of(counted, "PASS"),
                        "FAIL": mean_of(same, "FAIL"),
                        "FAIL, covered": mean_of(counted, "FAIL"),
                        "least PASS" if kept else "most PASS": [passes["PASS"], passes["queue"]],
                        **({} if fails is None else {"most FAIL": [fails["FAIL"], fails["queue"]]}),
                        "queues": len(same),
                        "of them covered": len(counted),
                    }
                )
    return rows


def is_held_out(queue: str) -> bool:
    return not any(queue == name or queue.startswith(f"{name} that works") for name in FOUND_WITH)


def mean_of(found: list[dict[str, Any]], verdict: str) -> float:
    return round(float(np.mean([one[verdict] for one in found])), 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--only", default="", help="queues whose names have this in them")
    given = parser.parse_args()
    began = time.monotonic()
    queues = [queue for queue in (*QUIET, *UNEVEN, *SLOW) if given.only in queue.name]
    plans = [(queue, seconds, given.runs) for queue in queues for seconds in SECONDS]
    found = [case for cases in in_parallel(verdicts_on, plans) for case in cases]
    figures = {"machine": machine(describe_host()), "elapsed_s": round(time.monotonic() - began)}
    held_out = [case for case in found if is_held_out(case["queue"])]
    summaries = {"summary": summed_up(found), "held out": summed_up(held_out)}
    print(json.dumps({**figures, **summaries, "all": found}, indent=2))


if __name__ == "__main__":
    main()
