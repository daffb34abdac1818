"""How much longer a default job takes through the SageMaker SDK and ``servefit api`` than as a command.

    python -m benchmarks.claims.api_overhead --sdk PYTHON [--rounds 5]

Prints one JSON object. PYTHON is of an environment with sagemaker 2.257 (docs/moving/sagemaker.md). Each round runs
``servefit recommend`` with nothing but a model and a payload, from its start to its end, and ``right_size`` of the SDK,
from its call until it returns, in turns of either order, each with nothing known before, of the model ``fraud``. The
SDK waits by the job's log, as it does if nobody says otherwise. The aim is 3 s. It takes about eight minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.api_server import api_server
from benchmarks.jobs import payload_of, servefit
from benchmarks.synthetic import machine
from servefit.profiler.machine.host import describe_host

MODEL, AIM_S = "fraud", 3.0


def as_a_command(folder: Path) -> dict[str, Any]:
    """Return how long a command took."""
    model, payload, _ = payload_of(MODEL, folder)
    began = time.monotonic()
    status, document = servefit(
        *("recommend", model, "--payload", str(payload), "--name", "command", "--quiet", "--allow-noise"), home=folder
    )
    return {"seconds": time.monotonic() - began, "status": f"{document['status']}, exit status {status}"}


def through_the_sdk(folder: Path, sdk: str) -> dict[str, Any]:
    """Return how long a call of the SDK took."""
    model, _, rows = payload_of(MODEL, folder)
    payload = folder / "payload.csv"
    np.savetxt(payload, rows, delimiter=",", fmt="%.9g")
    with api_server(folder / "home", "--allow-noise") as server:
        program = Path(__file__).parents[1] / "sdk_job.py"
        done = subprocess.run(
            [sdk, str(program), "sdk", server.put(model), server.put(payload)],
            env={**os.environ, **server.environment, "SAGEMAKER_SUPPRESS_V2_WARNING": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sdk", required=True, help="Python of an environment with the SDK")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    ways: dict[str, Callable[[Path], dict[str, Any]]] = {
        "command": as_a_command,
        "sdk": lambda folder: through_the_sdk(folder, given.sdk),
    }
    rounds: list[dict[str, dict[str, Any]]] = []
    for number in range(given.rounds):
        found = {}
        for way in list(ways)[:: 1 if number % 2 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                found[way] = ways[way](Path(folder))
            print(number, way, found[way], file=sys.stderr, flush=True)
        rounds.append(found)
    longer = [found["sdk"]["seconds"] - found["command"]["seconds"] for found in rounds]
    result = {
        "machine": machine(describe_host()),
        "aim_s": AIM_S,
        "longer_s": {"median": statistics.median(longer), "most": max(longer), "each": longer},
        "met": statistics.median(longer) <= AIM_S,
        "rounds": rounds,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
