"""How often a verdict on a limit is wrong where it is hardest, and how often there is none where the answer is clear.

    python -m benchmarks.claims.verdicts [--runs 200] [--only NAME]

Prints one JSON object; about 10 minutes on two cores. All runs are simulated queues (benchmarks/disturbed_queues.py,
seeded), looked at as the driver looks at a live run.

"at the limit": the limit is the true 95th percentile of the response time, so that PASS and FAIL are both wrong.
"twice": 10 % of the requests take longer, where 5 % may: PASS is wrong. "clear": 1 % do: FAIL is wrong. Beside each
share stands its upper 95 % bound [Clopper and Pearson 1934]. "covered" says whether the queue's disturbances come at
least as often as a PASS after such a run claims to see; what is not covered is shown and does not count. "far": the
limit is five times the 95th percentile.

The aims: of what is covered, a false PASS in 5 % of runs at most at the limit, in 1 % with twice the violations, and a
false FAIL in 5 % at most.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from benchmarks.disturbed_queues import QUIET, UNEVEN, Queue, SimulatedRun, true_percentiles_s
from benchmarks.in_parallel import in_parallel
from benchmarks.synthetic import machine
from servefit.profiler.drivers.driving.ending import GROWN
from servefit.profiler.evidence.rare_disturbances import disturbance_excluded_in_s
from servefit.profiler.evidence.sequential_test import Evidence, SequentialTest, p_of_so_few
from servefit.profiler.evidence.time_to_spare import is_unhurried
from servefit.profiler.machine.host import describe_host

LENGTHS = (1_000, 5_000, 20_000)
CASES = {"at the limit": (95.0, 1.0), "twice": (90.0, 1.0), "clear": (99.0, 1.0), "far": (95.0, 5.0)}
"""The percentile that the limit is, and times that."""
NS_PER_S = 1e9
AIMS = {
    "at the limit": {"PASS": 0.05, "FAIL": 0.05},
    "twice": {"PASS": 0.01},
    "clear": {"FAIL": 0.05},
    "far": {"FAIL": 0.01},
}
FIRST_LOOK = 100


def decide(run: SimulatedRun, limit_s: float) -> Evidence:
    """Decide as on a live run, which ends as soon as it surely fails."""
    response_ns = run.response_s * NS_PER_S
    test = SequentialTest(percentile=95, limit_ns=limit_s * NS_PER_S)
    seen = FIRST_LOOK
    while seen < len(response_ns) and not test.surely_fails(response_ns[:seen]):
        seen = int(seen * GROWN) + 1
    return test.conclude(response_ns, unhurried=is_unhurried(len(response_ns), run.busy()))


def verdicts_on(queue: Queue, requests: int, runs: int) -> list[dict[str, Any]]:
    """Return what comes out of ``runs`` runs of ``queue`` with about as many ``requests``, in every case."""
    simulated = [queue.run(requests, seed) for seed in range(runs)]
    covered = disturbance_excluded_in_s(requests / queue.rate_per_s) >= queue.comes_every_s
    found = []
    for case, (percentile, times) in CASES.items():
        limit_s = times * true_percentiles_s(queue)[percentile]
        verdicts = [decide(run, limit_s).verdict for run in simulated]
        found.append(
            {
                "queue": queue.name,
                "requests": requests,
                "case": case,
                "covered": covered,
                **{verdict: share(verdicts.count(verdict), runs) for verdict in ("PASS", "FAIL", "UNDECIDED")},
            }
        )
    return found


def share(count: int, runs: int) -> dict[str, float]:
    """Return ``count`` as a share of ``runs``, and the upper end of its one-sided 95 % interval."""
    low, high = count / runs, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if p_of_so_few(runs, count, middle) > 0.05 else (low, middle)
    return {"share": count / runs, "upper95": round(high, 4)}


def worst(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the largest share of each wrong verdict over all queues that are covered, beside its aim."""
    rows = []
    for case, aims in AIMS.items():
        for verdict, aim in aims.items():
            for requests in LENGTHS:
                same = [each for each in found if (each["case"], each["requests"]) == (case, requests)]
                counted = [each for each in same if each["covered"]]
                if counted:
                    largest = max(counted, key=lambda each: each[verdict]["share"])
                    rows.append(
                        {
                            "case": case,
                            "wrong": verdict,
                            "requests": requests,
                            "aim": aim,
                            "largest": largest[verdict]["share"],
                            "queue": largest["queue"],
                            "mean": round(float(np.mean([each[verdict]["share"] for each in counted])), 4),
                            "queues": len(counted),
                        }
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="", help="queues whose names have this in them")
    given = parser.parse_args()
    began = time.monotonic()
    queues = [queue for queue in (*QUIET, *UNEVEN) if given.only in queue.name]
    plans = [(queue, requests, given.runs) for queue in queues for requests in LENGTHS]
    found = [case for cases in in_parallel(verdicts_on, plans) for case in cases]
    figures = {"machine": machine(describe_host()), "elapsed_s": round(time.monotonic() - began)}
    print(json.dumps({**figures, "worst": worst(found), "all": found}, indent=2))


if __name__ == "__main__":
    main()
