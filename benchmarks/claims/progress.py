"""How long jobs say that they will still take, held against how long they do.

    python -m benchmarks.claims.progress [--repeats 3]

Every kind of job runs as one does from Python, with a listener that writes down whatever it is told: how much time has
passed, and how much is left. A promise is that sum. Its error is how far it is from the time that the job took in the
end, as a share of that. ``first`` is the promise made when all calls are timed and the tests begin, ``middle`` the
first one after half of the time, and ``largest_after_first`` the largest error of all others.

Compiled models are kept from job to job, as on any machine after the first day. Whatever was measured is forgotten, but
for the job that is to begin with what an earlier one knew. Prints one JSON object. It takes about six minutes a repeat.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from math import fabs
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.synthetic import machine
from servefit.demo import fraud_model, fraud_payload
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.jobs.lifecycle import run_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial

SLA = Sla(thresholds=(LatencyThreshold(percentile="p95", limit_ms=100.0),), rate_per_s=500.0)

KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, warm": {},
    "SLA at a rate": {"sla": SLA},
    "SLA at a rate, warm": {"sla": SLA},
    "one CPU, over HTTP": {"sla": SLA, "profiles": ("local-1c",)},
    "least latency": {"goal": "latency"},
    "balanced, at a rate": {"goal": "balanced", "sla": SLA},
    "10 tests": {"max_tests": 10},
    "20 s": {"budget_s": 20.0},
    "3 tests with phases of 10 s": {"max_tests": 3, "phases": ClosedLoop.constant(users=4, duration_s=10.0)},
}
"""What is asked; those that are ``warm`` know what the one before them measured."""

MEASURED = ("jobs", "jobs.db*")


class Listener(SilentProgress):
    """Writes every promise down, and forgets those made before the tests began."""

    def __init__(self) -> None:
        self.promises: list[Moment] = []

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text == "measuring":
            self.promises.clear()
        self._hear(at)

    def testing(self, configuration: Configuration, at: Moment) -> None:  # noqa: ARG002
        self._hear(at)

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:  # noqa: ARG002
        self._hear(at)

    def _hear(self, at: Moment | None) -> None:
        if at is not None and at.left_s is not None:
            self.promises.append(at)


def errors(promises: list[Moment], took_s: float) -> dict[str, float]:
    """Return the errors of the promises of a job that took ``took_s``, in per cent of that; above zero if a promise was
    too long."""
    share: list[float] = [100 * (promise.elapsed_s + (promise.left_s or 0.0) - took_s) / took_s for promise in promises]
    middle = next(error for promise, error in zip(promises, share, strict=True) if promise.elapsed_s >= took_s / 2)
    largest = max(share[1:], key=fabs)
    return {
        "first": round(share[0], 1),
        "middle": round(middle, 1),
        "largest_after_first": round(largest, 1),
    }


def play(kind: str, seed: int) -> dict[str, Any]:
    listener = Listener()
    request = JobRequest(name=f"{seed}-{time.monotonic_ns()}", seed=seed, **KINDS[kind])
    began = time.monotonic()
    job = run_job(fraud_model(), fraud_payload(), request, trust_pickle=False, progress=listener)
    took_s = time.monotonic() - began
    promises = listener.promises
    return {
        "took_s": round(took_s, 1),
        "tests": job.tests,
        "promises": len(promises),
        "first_after_s": round(promises[0].elapsed_s, 1),
        **errors(promises, took_s),
        "all": [(round(promise.elapsed_s, 1), round(promise.left_s or 0.0, 1)) for promise in promises],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kind or KINDS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SERVEFIT_HOME"] = folder
        # Makes and trains the model, and compiles it with whatever there is time for.
        run_job(fraud_model(), fraud_payload(), JobRequest(name="first"), trust_pickle=False, progress=SilentProgress())
        for seed in range(options.repeats):
            for kind, results in found.items():
                if not kind.endswith("warm"):
                    forget(Path(folder))
                results.append(play(kind, seed))
    figures = {
        "machine": machine(describe_host()),
        "kinds": {
            kind: {
                "median_of_errors": {
                    name: median(abs(result[name]) for result in results)
                    for name in ("first", "middle", "largest_after_first")
                },
                "jobs": results,
            }
            for kind, results in found.items()
        },
    }
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


def forget(state: Path) -> None:
    """Delete all measurements in ``state``."""
    for pattern in MEASURED:
        for path in state.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
