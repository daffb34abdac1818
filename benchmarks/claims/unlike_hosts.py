"""Whether a job on a fleet of unlike hosts names the right machines, at rates that they carry, with few tests.

    python -m benchmarks.claims.unlike_hosts --storage URL [--rounds 1]

``URL`` is a PostgreSQL database in which ``servefit fleet init`` was run. Three hosts whose requests take 1, 2 and 4 ms
are imitated on this machine (``benchmarks.imitated``), and measured in turns. Prints one JSON object.

- The truth is measured before, without servefit's search: how long a call of each host's predictor takes, called by a
  loop of this module in a process with the host's environment. Nothing is planned beyond 80 % of a capacity, so a host
  of two workers that takes t carries 0.8 x 2 / t. The cheapest of the eight sets of hosts that carry the rate by that
  is the right one.
- Jobs are asked for rates that take other hosts each: aims are the right machines, and confirmed rates within 5 % of
  what plans by the truth would give each host.
- Each planned host is loaded afterwards at its planned rate, in a run of its own: the SLA is to hold.
- A job on one host alone, for the same time, makes so many load tests; those of the fleet are to be half as many again
  at most.

It takes about a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.imitated.agents import agents
from benchmarks.models.forest_models import benchmark_model
from benchmarks.synthetic import machine
from servefit.profiler.machine.host import describe_host

if TYPE_CHECKING:
    from collections.abc import Mapping

HOSTS = {"one": (1.0, 0.40), "two": (2.0, 0.18), "four": (4.0, 0.10)}
"""Milliseconds of a request, and what a host costs an hour."""

SETS = (("one",), ("two", "four"), ("one", "four"))
PART = 0.95
"""Jobs are asked for this part of what each set of hosts carries: so much is left to chance."""

BUDGET_S = 180
WORKERS, PLANNED = 2, 0.8
LIMIT_MS = 100.0

_LOOP = """
import json, os, time
import numpy as np
from benchmarks.imitated.imitated_backend import SlowPredictor, VARIABLE

class Right:
    def predict(self, rows):
        return rows[:, 0]
    def close(self):
        pass
slow = SlowPredictor(Right(), float(os.environ[VARIABLE]) * 1e-3)
rows = np.zeros((1, 4), dtype=np.float32)
began, calls = time.perf_counter(), 0
while time.perf_counter() - began < 4:
    slow.predict(rows)
    calls += 1
print(json.dumps((time.perf_counter() - began) / calls))
"""


def true_rate_per_s(environment: Mapping[str, str]) -> float:
    """Return what a host carries, by how long its calls take."""
    found = subprocess.run(
        [sys.executable, "-c", _LOOP], env=dict(environment), capture_output=True, text=True, check=True
    )
    return PLANNED * WORKERS / float(json.loads(found.stdout))


def cheapest(rates: Mapping[str, float], rate_per_s: float) -> tuple[str, ...]:
    """Return the cheapest set of hosts that carry the rate, of all there are."""
    sets = [
        tuple(name for name, used in zip(rates, bits, strict=True) if used)
        for bits in product((0, 1), repeat=len(rates))
    ]
    fitting = [names for names in sets if sum(rates[name] for name in names) >= rate_per_s]
    return min(fitting, key=lambda names: sum(HOSTS[name][1] for name in names))


def recommended(environment: Mapping[str, str], model: Path, *arguments: str) -> dict[str, Any]:
    """Return what ``servefit recommend`` answers."""
    command = [
        sys.executable, "-m", "servefit", "recommend", str(model), "--backend", "imitated", "--deploy", "library",
        "--no-http", "--sla", f"p95={LIMIT_MS:g}ms", "--budget", f"{BUDGET_S}s", "--allow-noise", "--format", "json",
        *arguments,
    ]  # fmt: skip
    found = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if not found.stdout:
        raise SystemExit(found.stderr)
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def load_tests(environment: Mapping[str, str], job: str) -> int:
    """Return how many load tests a job made, spot checks included."""
    found = subprocess.run(
        [sys.executable, "-m", "servefit", "steps", job, "--format", "json"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=True,
    )
    steps = json.loads(found.stdout)["steps"]
    return sum(step["kind"] in ("load_test", "confirmation", "spot_check") for step in steps)


def held(environment: Mapping[str, str], model: Path, rate_per_s: float, batch: int) -> str:
    """Return the verdict on the SLA of a host at a rate, with up to ``batch`` requests in a call, in a run of its
    own."""
    command = [
        sys.executable, "-m", "servefit", "profile", str(model), "--backend", "imitated", "--workers", str(WORKERS),
        "--rate", f"{rate_per_s:g}/s", "--duration", "10s", "--sla", f"p95={LIMIT_MS:g}ms", "--allow-noise",
        "--batch", str(batch), "--format", "json",
    ]  # fmt: skip
    found = subprocess.run(command, env=dict(environment), capture_output=True, text=True)
    if not found.stdout:
        raise SystemExit(found.stderr)
    return str(json.loads(found.stdout)["verdict"])


def scenario(
    environments: Mapping[str, Mapping[str, str]],
    coordinator: Mapping[str, str],
    model: Path,
    rates: Mapping[str, float],
    rate_per_s: float,
) -> dict[str, Any]:
    """Return what a job for a rate answers, beside the truth."""
    name = f"unlike-{time.monotonic_ns()}"
    found = recommended(coordinator, model, "--rate", f"{rate_per_s:.1f}/s", "--fleet", "--name", name)
    right = cheapest(rates, rate_per_s)
    plan = found["plan"] or {}
    of_class = {each["class"]: each["name"] for each in found["hosts"]}
    rows = plan.get("fleet", {}).get("rows", [])
    confirmed = {of_class[row["offer"]["host_class"]]: row["offer"]["rate_per_s"] for row in rows}
    batches = {
        host: each["job"]["recommendations"][0]["settings"]["max_batch"]
        for each in found["classes"]
        for host in each["hosts"]
        if host in confirmed
    }
    planned = {host: rate_per_s * rates[host] / sum(rates[each] for each in right) for host in right}
    return {
        "rate/s": round(rate_per_s, 1),
        "right hosts": sorted(right),
        "planned hosts": sorted(confirmed),
        "confirmed/s": {host: round(rate, 1) for host, rate in confirmed.items()},
        "off the truth, %": {
            host: round(100 * (confirmed[host] / planned[host] - 1), 1) for host in right if host in confirmed
        },
        "SLA at the planned rates": {
            host: held(environments[host], model, rate, batches[host]) for host, rate in confirmed.items()
        },
        "load tests": load_tests(coordinator, name),
        "warnings": found["warnings"],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--storage", required=True)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    model = Path(benchmark_model("fraud").model.file)
    with tempfile.TemporaryDirectory() as home, agents(asked.storage, HOSTS) as environments:
        alone = {**environments["one"], "SERVEFIT_HOME": f"{home}/state"}
        alone.pop("SERVEFIT_STORAGE", None)
        coordinator = {**alone, "SERVEFIT_STORAGE": asked.storage}
        rates = {name: true_rate_per_s(environment) for name, environment in environments.items()}
        rates_asked = [PART * sum(rates[name] for name in names) for names in SETS]
        fleets, singles = [], []
        for _ in range(asked.rounds):
            for rate_per_s in rates_asked:
                fleets.append(scenario(environments, coordinator, model, rates, rate_per_s))
                print(json.dumps(fleets[-1]), file=sys.stderr)
            name = f"alone-{time.monotonic_ns()}"
            recommended(alone, model, "--rate", f"{rates_asked[0]:.1f}/s", "--name", name)
            singles.append(load_tests(alone, name))
    document = {
        "machine": machine(describe_host()),
        "true rates/s": {name: round(rate, 1) for name, rate in rates.items()},
        "fleets": fleets,
        "load tests of one host": singles,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
