"""How many more requests the recommended configuration serves than one that needs no thought, under a latency limit.

    python -m benchmarks.claims.against_default [--limit-ms 5] [--blocks 4] [--budget-s 15]

``servefit recommend`` is asked about the demo's model with p95 <= 5 ms, once with one request a call (``--batch 1``)
and once without restrictions. What it recommends is held against the model's own library with a thread a vCPU, one
worker and one request a call, in an envelope of the same size. What counts is the highest rate of Poisson arrivals at
which p95 keeps the limit. Both are measured in turns in fresh processes, A B B A or B A A B by the toss of a coin.

Prints one JSON object. ``root`` compares the best estimates of that rate, ``confirmed`` the rates that passed the
sequential test, which are lower on purpose, and by more where requests are fewer. Ratios are geometric means over
blocks, with 95 % intervals. It takes about eleven minutes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from benchmarks.data.grid import row_of
from benchmarks.models.fraud import Fraud
from servefit.demo import fraud_model, fraud_payload
from servefit.profiler.evidence.intervals import mean_interval
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.procedures.decided_runs import find_highest_rate
from servefit.search.jobs.job import default_name
from servefit.search.jobs.lifecycle import run_job
from servefit.search.optimizer.importance import naive_default
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.storage.job_folder import job_folder

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.jobs.job import RecommendationJob

MAX_ATTEMPTS = 3
MIN_BLOCKS = 3
"""An interval takes so many."""

Side: TypeAlias = Literal["recommended", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The best estimate of the highest rate, and the one that was confirmed, in requests a second; None where the limit
    holds at no rate, or none was confirmed in time."""

    root: float | None
    confirmed: float | None


def recommended(batch_sizes: tuple[int, ...], limit: LatencyThreshold) -> RecommendationJob:
    """Run a job that knows of no earlier ones, and return it. What it stored is deleted."""
    name = default_name("against-default")
    request = JobRequest(name=name, sla=Sla(thresholds=(limit,)), batch_sizes=batch_sizes)
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run_job(
                fraud_model(),
                fraud_payload(),
                request,
                trust_pickle=False,
                progress=SilentProgress(),
                storage=f"sqlite:///{folder}/jobs.db",
            )
        finally:
            shutil.rmtree(job_folder(name), ignore_errors=True)


def highest_rate(
    fraud: Fraud, configuration: Configuration, limit: LatencyThreshold, *, budget_s: float, seed: int
) -> Rates:
    """Measure the highest rate in fresh processes, again if the machine disturbed the measurement."""
    for attempt in range(MAX_ATTEMPTS):
        with fraud.workers(configuration) as workers:
            found, _, problems = find_highest_rate(
                workers, [limit], budget_s=budget_s, seed=seed, allow_noise=attempt + 1 == MAX_ATTEMPTS
            )
        if not problems:
            break
    return Rates(root=found.root_per_s, confirmed=found.rate_per_s)


def in_turns(
    fraud: Fraud, sides: Mapping[Side, Configuration], limit: LatencyThreshold, *, blocks: int, budget_s: float
) -> list[list[tuple[Side, Rates]]]:
    """Measure both sides twice in every block, and return the four measurements of each block in their order."""
    coin = Random(0)
    order: list[list[tuple[Side, Rates]]] = []
    for block in range(blocks):
        outer, inner = coin.sample(sorted(sides), 2)
        turns = (outer, inner, inner, outer)
        order.append([])
        for nth, side in enumerate(turns):
            seed = 4 * block + nth
            rates = highest_rate(fraud, sides[side], limit, budget_s=budget_s, seed=seed)
            order[-1].append((side, rates))
        print(f"block {block + 1} of {blocks}", file=sys.stderr, flush=True)
    return order


def ratio(blocks: Sequence[Sequence[tuple[Side, Rates]]], which: Literal["root", "confirmed"]) -> dict[str, Any]:
    """Return the ratio of recommended to default with its interval, None if too many blocks lack a rate."""
    logs = []
    for block in blocks:
        rates = [(side, getattr(found, which)) for side, found in block]
        if all(rate for _, rate in rates):
            logs.append(sum((1 if side == "recommended" else -1) * log(rate) for side, rate in rates) / 2)
    if len(logs) < MIN_BLOCKS:
        return {"blocks": len(logs), "ratio": None, "ci95": None}
    low, high = mean_interval(logs)
    return {"blocks": len(logs), "ratio": round(exp(fmean(logs)), 3), "ci95": [round(exp(low), 3), round(exp(high), 3)]}


def compared(
    fraud: Fraud, job: RecommendationJob, limit: LatencyThreshold, *, blocks: int, budget_s: float
) -> dict[str, Any]:
    best = job.best
    if best is None:
        return {"recommended": None}
    configuration = best.trial.configuration
    naive = naive_default(fraud.space().grid, configuration.vcpus, fraud.model.reference)
    if naive is None:
        raise RuntimeError("the grid has no default configuration")
    sides: dict[Side, Configuration] = {"recommended": configuration, "default": naive}
    found = in_turns(fraud, sides, limit, blocks=blocks, budget_s=budget_s)
    return {
        "instance_profile": best.profile.name,
        "verdict": best.trial.verdict,
        "job_s": round(job.elapsed_s, 1),
        "configurations": {side: row_of(configuration) for side, configuration in sides.items()},
        "root": ratio(found, "root"),
        "confirmed": ratio(found, "confirmed"),
        "rates_per_s": {
            side: [
                {"root": rounded(rates.root), "confirmed": rounded(rates.confirmed)}
                for block in found
                for whose, rates in block
                if whose == side
            ]
            for side in sides
        },
    }


def rounded(rate: float | None) -> int | None:
    return None if rate is None else round(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-ms", type=float, default=5.0)
    parser.add_argument("--blocks", type=int, default=4, help="of four measurements, three or more")
    parser.add_argument("--budget-s", type=float, default=15.0, help="seconds of one measurement")
    options = parser.parse_args()
    limit = LatencyThreshold(percentile="p95", limit_ms=options.limit_ms)
    fraud = Fraud.prepare()
    figures: dict[str, Any] = {"machine": fraud.machine(), "limit": str(limit)}
    for name, batch_sizes in (("batch 1", (1,)), ("unrestricted", ())):
        job = recommended(batch_sizes, limit)
        figures[name] = compared(fraud, job, limit, blocks=options.blocks, budget_s=options.budget_s)
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
