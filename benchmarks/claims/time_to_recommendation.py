"""How long the demo takes, with nothing there and with all that can be kept from earlier, and what it answers.

    python -m benchmarks.claims.time_to_recommendation [--jobs 3]

Each job is a process of its own, as a person would start it. The ``first`` has an empty state folder, so it also makes
the data, trains the model and compiles it; after it whatever it had no time to compile is compiled too. Those with a
``cold_store`` find the model and all that is compiled, but nothing that was measured. Those with a ``warm_store`` have
one folder, and begin with what the ones before them measured.

Prints one JSON object. It takes about six minutes.
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
from pathlib import Path
from statistics import median
from typing import Any

from servefit.profiler.machine.host import describe_host

MEASURED = ("jobs", "jobs.db*")
"""What jobs leave in the state folder; all else there can be made again without measuring."""


def demo(state: Path, seed: int) -> dict[str, Any]:
    """Run ``servefit demo`` and give what it recommends, with the wall time of the whole command."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "servefit", "demo", "--quiet", "--format", "json", "--seed", str(seed)],
        env={**os.environ, "SERVEFIT_HOME": str(state)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - began
    document = json.loads(ended.stdout)
    best = document["recommendations"][0]
    return {
        "exit_status": ended.returncode,
        "command_s": round(seconds, 1),
        "job_s": round(document["elapsed_s"], 1),
        "tests": document["tests"],
        "instance_profile": best["instance_profile"],
        "backend": best["backend"],
        "environment": best["environment"],
        "settings": best["settings"],
        "max_invocations": best["max_invocations"],
        "p95_ms": best["model_latency_ms"]["p95"],
        "verdict": best["verdict"],
    }


def with_cold_store(kept: Path, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        shutil.copytree(kept, state, ignore=shutil.ignore_patterns(*MEASURED))
        return demo(state, seed)


def compile_everything(state: Path) -> None:
    """Compile the demo's model with every backend, in the state folder."""
    environment = {**os.environ, "SERVEFIT_HOME": str(state)}
    subprocess.run([sys.executable, "-m", "benchmarks.models.fraud"], env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3, help="how many with a cold and with a warm store each")
    options = parser.parse_args()
    host = describe_host()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        first = demo(state, seed=0)
        compile_everything(state)
        cold = [with_cold_store(state, seed) for seed in range(1, options.jobs + 1)]
        warm = [demo(state, seed) for seed in range(1, options.jobs + 1)]
    figures = {
        "machine": f"{host.cpu_model}, {host.logical_cpus} CPUs, {host.virtualisation}, kernel {host.kernel}",
        "load_average_before": host.load_average[0],
        "first": first,
        "cold_store": cold,
        "warm_store": warm,
        "command_s_median": {
            "cold_store": median(session["command_s"] for session in cold),
            "warm_store": median(session["command_s"] for session in warm),
        },
    }
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
