"""How long the demo takes, with nothing there and with all that can be kept from earlier, and how good its answers are.

    python -m benchmarks.claims.time_to_recommendation [--jobs 3]

Each job is a process of its own, as a person would start it. The ``first`` has an empty state folder, so it also makes
the data, trains the model and compiles it; after it whatever it had no time to compile is compiled too. Those with a
``cold_store`` find the model and all that is compiled, but nothing that was measured. Those with a ``warm_store`` have
one folder, and begin with what the ones before them measured.

Each answer is held against the repeats of the model alone, where these are of this machine and model: by how much the
p95 of what was recommended is above the lowest there, and how much of that is more than chance (see ``regret``). Prints
one JSON object. It takes about six minutes.
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

from benchmarks.data.grid import REPEATED, STORED, Grid
from benchmarks.models.fraud import demo_request
from benchmarks.optimizers.truth import Truth
from servefit.backends.types import Settings
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.types import Configuration

MEASURED = ("jobs", "jobs.db*")
"""What jobs leave in the state folder; all else there can be made again without measuring."""

NOT_OPTIONS = ("max_batch", "batch_delay_us")


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
        "model": document["model"]["digest"],
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


def against(truth: Truth, grid: Grid, answer: dict[str, Any]) -> dict[str, float] | None:
    """Return the regret of ``answer`` in per cent. None if the grid does not have it."""
    settings = answer["settings"]
    options = {name: value for name, value in settings.items() if name not in NOT_OPTIONS}
    profile = next((profile for profile in grid.profiles if profile.name == answer["instance_profile"]), None)
    if profile is None:
        return None
    chosen = Configuration(
        vcpus=profile.vcpus,
        backend=answer["backend"],
        settings=Settings(
            threads=int(answer["environment"]["OMP_NUM_THREADS"]), options=tuple(sorted(options.items()))
        ),
        workers=int(answer["environment"]["MODEL_SERVER_WORKERS"]),
        max_batch=settings["max_batch"],
        batch_delay_us=settings["batch_delay_us"],
    )
    if (profile, chosen) not in truth.choices:
        return None
    return {
        "regret_percent": round(100 * truth.regret((profile, chosen)), 2),
        "sure_regret_percent": round(100 * truth.sure_regret((profile, chosen)), 2),
    }


def stored_grid(model: str) -> Grid | None:
    """Return the stored grid, None if it is of another machine or model."""
    grid = Grid.read(STORED)
    same = grid.machine["fingerprint"] == describe_host().fingerprint and grid.model == model
    return grid if same else None


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
    if (grid := stored_grid(first["model"])) is not None:
        truth = Truth(grid, demo_request("latency"), Grid.read(REPEATED))
        for answer in (first, *cold, *warm):
            answer["against_the_repeats"] = against(truth, grid, answer)
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
