"""How long jobs say that they will still take, held against how long they do; or how well they keep to their budget on
a busy machine.

    python -m benchmarks.claims.progress [--repeats 3]
    python -m benchmarks.claims.progress --busy [--repeats 3]

Every kind of job runs as one does from Python, with a listener that writes down whatever it is told: how much time has
passed, and how much is left. A promise is that sum. Its error is how far it is from the time that the job took in the
end, as a share of that. ``first`` is the promise made when all calls are timed and the tests begin, ``middle`` the
first one after half of the time, and ``largest_after_first`` the largest error of all others.

Compiled models are kept from job to job, as on any machine after the first day. Whatever was measured is forgotten, but
for the job that is to begin with what an earlier one knew. Prints one JSON object. It takes about six minutes a repeat.

With ``--busy``, two processes for every CPU want all of it, and whole commands are timed from their start to their
exit: with each budget a cold one, which has neither compiled nor measured anything yet, and a warm one after it. The
aim is that none takes more than 1.1 times its budget. What a job left out is among its warnings. It takes about three
minutes a repeat.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
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
    from collections.abc import Iterator, Sequence

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
COMPILED = ("artifacts", "references")

BUDGETS_S = (20, 42)
LOOPS_A_CPU = 2
MAX_OVER = 1.1
"""A command may take so many times its budget."""

LEFT_OUT = ("not confirmed", "cut short", "was measured in", "not tried", "not compared", "was not compiled", "ran out")
"""Words of the warnings that say what there was no time for."""


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


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Have so many processes compute for as long as the block lasts."""
    with ExitStack() as stack:
        for _ in range(loops):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        yield


def keep_to_budget(budget_s: int, loops: int, seed: int) -> dict[str, Any]:
    """Run the command on a busy machine, and return how long it took and what it said."""
    asked = ["--payload", str(fraud_payload()), "--sla", "p95=100ms", "--rate", "500/s", "--budget", f"{budget_s}s"]
    command = [sys.executable, "-m", "servefit", "recommend", str(fraud_model()), *asked]
    with busy(loops):
        began = time.monotonic()
        ended = subprocess.run(
            [*command, "--seed", str(seed), "--format", "json", "--quiet"], capture_output=True, text=True, check=False
        )
        took_s = time.monotonic() - began
    document = json.loads(ended.stdout) if ended.stdout.strip() else {}
    best: dict[str, Any] = next(iter(document.get("recommendations", ())), {})
    return {
        "took_s": round(took_s, 2),
        "of_budget": round(took_s / budget_s, 3),
        "kept": took_s <= MAX_OVER * budget_s,
        "status": ended.returncode,
        "job_s": document.get("elapsed_s"),
        "tests": document.get("tests"),
        "verdict": best.get("verdict"),
        "confirmed": best.get("confirmed"),
        "left_out": [line for line in document.get("warnings", ()) if any(words in line for words in LEFT_OUT)],
    }


def commands(folder: Path, repeats: int, budgets_s: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """Return what cold and warm commands of each budget took."""
    loops = LOOPS_A_CPU * len(os.sched_getaffinity(0))
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(repeats):
        for budget_s in budgets_s:
            forget(folder, MEASURED + COMPILED)
            for state in ("cold", "warm"):
                found.setdefault(f"{budget_s} s, {state}", []).append(keep_to_budget(budget_s, loops, seed))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", action="store_true", help="time whole commands beside others that use all CPUs")
    parser.add_argument("--budget", action="append", type=int, help="with --busy: only these, in seconds")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these")
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kind or KINDS}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SERVEFIT_HOME"] = folder
        if options.busy:
            timed = commands(Path(folder), options.repeats, options.budget or BUDGETS_S)
            figures = {"machine": machine(describe_host()), "budgets": timed}
            json.dump(figures, sys.stdout, indent=2)
            sys.stdout.write("\n")
            return
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


def forget(state: Path, patterns: Sequence[str] = MEASURED) -> None:
    """Delete all measurements in ``state``, or what matches ``patterns``."""
    for pattern in patterns:
        for path in state.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
