"""How long the demo takes from nothing, and with the model made and compiled, and how much its answers agree.

    python -m benchmarks.time_to_recommendation

Prints one JSON object. Each job is a process of its own, as a person would start it; the first has an empty state
folder, so it also makes the data, trains the model and compiles it. The others start with what the first one left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from servefit.profiler.host import describe_host

WARM_JOBS = 3


def demo(state: str, seed: int) -> dict[str, Any]:
    """Run ``servefit demo`` and give what it recommends, with the wall time of the whole command."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-m", "servefit", "demo", "--quiet", "--format", "json", "--seed", str(seed)],
        env={**os.environ, "SERVEFIT_HOME": state},
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
        "max_batch": best["settings"]["max_batch"],
        "max_invocations": best["max_invocations"],
        "p95_ms": best["model_latency_ms"]["p95"],
        "verdict": best["verdict"],
    }


def main() -> None:
    host = describe_host()
    with tempfile.TemporaryDirectory() as state:
        cold = demo(state, seed=0)
        warm = [demo(state, seed) for seed in range(1, WARM_JOBS + 1)]
    figures = {
        "machine": f"{host.cpu_model}, {host.logical_cpus} CPUs, {host.virtualisation}, kernel {host.kernel}",
        "load_average_before": host.load_average[0],
        "cold": cold,
        "warm": warm,
    }
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
