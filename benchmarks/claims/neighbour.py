"""Whether a neighbour on the profile's own CPUs is noticed.

    python -m benchmarks.claims.neighbour

Prints one JSON object. A predictor that computes for 1 ms serves requests at 40 % of its capacity, first alone and then
beside a process that wants all of the same CPU, in turns. For every disturbed run it is asked what a person would be
told: INVALID, a p95 whose interval includes the quiet one, or a confident wrong number, of which there must be none.
For every quiet run it is asked whether it was called INVALID.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.synthetic import machine, start
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.summary import Summary, summarize
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.procedures.decided_runs import run_decided, run_valid
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.evidence.validity import Problem

SERVICE_US = 1000
ROUNDS = 10
DURATION_S = 2.0
LIMIT = (LatencyThreshold(percentile="p95", limit_ms=10.0),)


@contextmanager
def hog(cpu: int) -> Iterator[None]:
    """Run a process that uses all of ``cpu`` within the block."""
    program = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


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
    low, high = disturbed.latency_ms_ci95["p95"]
    return "interval includes the quiet result" if low <= quiet_p95_ms <= high else "confident wrong number"


def main() -> None:
    host = describe_host()
    (cpu,) = choose_cpus(host.cpus, 1)
    outcomes: dict[str, dict[str, int]] = {"open loop": {}, "closed loop": {}}
    quiet_reasons: dict[str, list[str]] = {loop: [] for loop in outcomes}
    p95_ms: dict[str, list[tuple[float, float]]] = {loop: [] for loop in outcomes}
    with start({"act": "deterministic", "us": SERVICE_US}, cpus=(cpu,)) as workers:
        for seed in range(ROUNDS):
            quiet = run_once(workers, seed)
            with hog(cpu):
                disturbed = run_once(workers, seed)
            for loop, counted in outcomes.items():
                alone, alarms = quiet[loop]
                quiet_reasons[loop] += ["; ".join(alarm.reason for alarm in alarms)] if alarms else []
                quiet_p95 = alone.latency_ms["p95"] or 0.0
                outcome = told(*disturbed[loop], quiet_p95)
                counted[outcome] = counted.get(outcome, 0) + 1
                p95_ms[loop].append((round(quiet_p95, 3), round(disturbed[loop][0].latency_ms["p95"] or 0.0, 3)))
    result: dict[str, Any] = {
        "machine": machine(host),
        "rounds": ROUNDS,
        "disturbed": outcomes,
        "quiet runs called INVALID": quiet_reasons,
        "p95_ms, quiet and disturbed": p95_ms,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
