"""Whether a job beside a neighbour that has its CPU for 30 % of every second ends with the answer of a quiet one.

    python -m benchmarks.claims.jobs_beside_neighbour [--budget 40s] [--rounds 5]

Prints one JSON object. Asked is what serves ``fraud`` on one CPU at 500 requests a second with a p95 of 20 ms, in
turns alone and beside the neighbour, each time with nothing known before and another seed. Compared are what is
recommended, the verdict (INVALID is none), whether it was confirmed, whether the p95 printed beside the neighbour has a
95 % interval that holds the p95 of the quiet job of the same turn, and how far the capacity is from that one's. As
every p95 has an error of its own, the intervals of the quiet jobs are held against each other too: no more of them can
be asked to hold. It takes about seven minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import permutations
from pathlib import Path
from typing import Any

from benchmarks.jobs import LIMIT, VCPUS, recommended
from benchmarks.neighbours import neighbour
from benchmarks.synthetic import machine
from servefit.profiler.machine.cpus import choose_cpus
from servefit.profiler.machine.host import describe_host

MODEL, RATE_PER_S = "fraud", 500
DUTY = 0.3


def answer_of(document: dict[str, Any]) -> dict[str, Any]:
    """Return what a person would be told."""
    answer: dict[str, Any] = {"exit_status": document["exit_status"]}
    if not document.get("recommendations"):
        return answer
    best = document["recommendations"][0]
    return {
        **answer,
        "verdict": best["verdict"],
        "reason": best["reason"],
        "confirmed": best["confirmed"],
        "recommended": f"{best['backend']}, {best['environment']}, batch {best['settings']['max_batch']}",
        "p95_ms": best["model_latency_ms"]["p95"],
        "p95_ms_ci95": best["model_latency_ms_ci95"].get("p95"),
        "capacity_per_s": round(best["capacity"]["rate_per_s"]),
        "left_out_s": best["left_out_s"],
    }


def holds(mine: dict[str, Any], other: dict[str, Any]) -> bool | None:
    """Return whether the one's interval of p95 holds the other's p95; None without an interval."""
    if mine.get("p95_ms_ci95") is None or other.get("p95_ms") is None:
        return None
    low, high = mine["p95_ms_ci95"]
    return bool(low <= other["p95_ms"] <= high)


def count(found: list[bool | None]) -> dict[str, int]:
    """Return how many there are, and how many hold."""
    known = [each for each in found if each is not None]
    return {"intervals": len(known), "hold": sum(known)}


def _confirmed(answers: list[dict[str, Any]]) -> int:
    return sum(bool(answer.get("confirmed")) for answer in answers)


def compared(turns: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Hold the jobs beside the neighbour against the quiet ones."""
    quiet = [alone for alone, _ in turns]
    ratios = [
        round(beside["capacity_per_s"] / alone["capacity_per_s"], 3)
        for alone, beside in turns
        if "capacity_per_s" in alone and "capacity_per_s" in beside
    ]
    return {
        "jobs beside the neighbour": len(turns),
        "with a verdict": sum(beside.get("verdict", "INVALID") != "INVALID" for _, beside in turns),
        "with the verdict of the quiet one": sum(
            alone.get("verdict") == beside.get("verdict") for alone, beside in turns
        ),
        "that recommend the same": sum(
            alone.get("recommended") == beside.get("recommended") for alone, beside in turns
        ),
        "quiet p95 in the interval": count([holds(beside, alone) for alone, beside in turns]),
        "quiet p95 in the interval of another quiet job": count([holds(*pair) for pair in permutations(quiet, 2)]),
        "capacity over the quiet one": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    host = describe_host()
    (cpu,) = choose_cpus(host.cpus, VCPUS)
    turns: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for seed in range(given.rounds):
        answers = []
        for duty in (0.0, DUTY):
            with tempfile.TemporaryDirectory() as folder, neighbour(cpu, duty):
                document = recommended(
                    MODEL, RATE_PER_S, Path(folder), job=f"{MODEL}-{seed}", budget=given.budget, seed=seed
                )
            answers.append(answer_of(document))
            print(duty, answers[-1], file=sys.stderr, flush=True)
        turns.append((answers[0], answers[1]))
    result = {"machine": machine(host), "limit": LIMIT, **compared(turns), "answers": turns}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
