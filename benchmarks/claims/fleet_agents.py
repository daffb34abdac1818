"""What an agent costs the host that it is on, and what a job pays for measuring through one.

    python -m benchmarks.claims.fleet_agents --storage URL [--tests 20] [--orders 200]

``URL`` is a PostgreSQL database in which ``servefit fleet init`` was run. Prints one JSON object.

- The CPU time and the wake-ups of an idle agent, all its threads and processes, over 30 s: aims are 0.3 % of a CPU and
  20 wake-ups a second.
- What a loop that spins on the CPU that the agent keeps to sees of it: interruptions of more than 20 us, 100 us and
  1 ms a second, and the part of the time that is lost, in turns with nothing beside it and with a process that sleeps.
- The time from asking an agent to its answer where nothing is measured (it refuses an environment variable): the aim
  is a p99 of 1.1 s.
- How much longer a test of 2 s takes by way of an agent than in this process, in turns: the aim is 5 %.

It takes about four minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.fleet_jobs import FleetJob, agent, fleet_job
from benchmarks.synthetic import machine
from servefit.profiler.machine.background import background_cpus
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.types import Configuration
from servefit.search.fleet.compiling import Compile
from servefit.search.jobs.orders import Load, TimeCalls
from servefit.search.optimizer.clock import Clock
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.results.measure_trial import Durations

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE_S, SPIN_S, TEST_S = 30.0, 6.0, 2.0
ROUNDS = 3
MODEL, BACKEND = "fraud", "forest"


def idle(pid: int) -> dict[str, float]:
    """Return the CPU and the wake-ups of a process and those below it, while nothing is asked of it."""
    time.sleep(12)  # until what it did to start is done
    cpu_before, switches_before = _spent(pid)
    time.sleep(IDLE_S)
    cpu, switches = _spent(pid)
    return {
        "cpu, % of one": round(100 * (cpu - cpu_before) / 1e9 / IDLE_S, 3),
        "wake-ups/s": round((switches - switches_before) / IDLE_S, 1),
        "resident, MB": round(_resident_bytes(pid) / 1e6, 1),
    }


def _spent(pid: int) -> tuple[int, int]:
    """Return the CPU time in ns, and the voluntary switches, of all threads below ``pid``."""
    cpu = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu += int((task / "schedstat").read_text().split()[0])
        status = (task / "status").read_text()
        switches += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        for child in (task / "children").read_text().split():
            below = _spent(int(child))
            cpu, switches = cpu + below[0], switches + below[1]
    return cpu, switches


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def spun(cpu: int) -> dict[str, float]:
    """Return what a loop that spins on ``cpu`` is kept from, and by how much."""
    program = (
        f"import os, time\nos.sched_setaffinity(0, [{cpu}])\nclock = time.perf_counter_ns\n"
        f"ends = clock() + int({SPIN_S}e9)\nlast, gaps = clock(), []\n"
        "while last < ends:\n    now = clock()\n    if now - last > 20_000: gaps.append(now - last)\n    last = now\n"
        "print(gaps)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    gaps = np.array(json.loads(found), dtype=float)
    return {
        "over 20 us/s": len(gaps) / SPIN_S,
        "over 100 us/s": int((gaps > 1e5).sum()) / SPIN_S,
        "over 1 ms/s": int((gaps > 1e6).sum()) / SPIN_S,
        "lost, %": 100 * float(gaps.sum()) / 1e9 / SPIN_S,
    }


@contextmanager
def sleeper(cpu: int) -> Iterator[None]:
    """Run a process that sleeps, on ``cpu``."""
    program = f"import asyncio, os\nos.sched_setaffinity(0, [{cpu}])\nasyncio.run(asyncio.sleep(3600))"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        time.sleep(1)
        try:
            yield
        finally:
            process.kill()


def median_of(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(median(each[name] for each in found), 3) for name in found[0]}


def round_trips(job: FleetJob, orders: int) -> dict[str, float]:
    """Return how long an answer takes, in ms, where nothing is measured."""
    refused = TimeCalls(
        subject=Configuration(backend=BACKEND, vcpus=1, environment=(("LD_PRELOAD", "none.so"),)),
        sizes=(1,),
        memory_bytes=2**30,
        seed=0,
    )
    took = []
    for _ in range(orders):
        began = time.monotonic()
        answer = job.ask(refused)
        took.append(1e3 * (time.monotonic() - began))
        if answer.failure is None:
            raise SystemExit("the agent let a library be loaded")
    return {"p50": round(median(took), 1), "p99": round(float(np.percentile(took, 99)), 1), "max": round(max(took), 1)}


def tests(job: FleetJob, count: int) -> dict[str, Any]:
    """Return what tests of 2 s take here and by way of the agent, in turns."""
    load = Load(
        configuration=Configuration(backend=BACKEND, vcpus=1),
        request=job.header.request,
        durations=Durations(capacity_s=TEST_S, at_rate_s=0.0, at_rate_max_s=0.0),
        started="asked",
        memory_bytes=2**30,
        seed=0,
        step=1,
    )
    here, there = [], []
    for nth in range(2 * count):
        began = time.monotonic()
        if nth % 2:
            job.here.load(load)
            here.append(time.monotonic() - began)
        else:
            job.ask(load)
            there.append(time.monotonic() - began)
    more = [100 * (agents / own - 1) for agents, own in zip(there, here, strict=True)]
    return {
        "here, s": round(median(here), 3),
        "by an agent, s": round(median(there), 3),
        "longer, %": round(median(more), 2),
        "longest, %": round(max(more), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True)
    parser.add_argument("--tests", type=int, default=20)
    parser.add_argument("--orders", type=int, default=200)
    given = parser.parse_args()
    host = describe_host()
    cpu = background_cpus(host.cpus)[-1]
    beside: dict[str, list[dict[str, float]]] = {"nothing": [], "a process that sleeps": [], "an agent": []}
    with agent(given.storage) as pid:
        resting = idle(pid)
    for _ in range(ROUNDS):
        beside["nothing"].append(spun(cpu))
        with sleeper(cpu):
            beside["a process that sleeps"].append(spun(cpu))
        with agent(given.storage):
            time.sleep(3)
            beside["an agent"].append(spun(cpu))
    with agent(given.storage), fleet_job(given.storage, MODEL, BACKEND) as job:
        job.ask(Compile())
        job.here.compile(Clock.of(job.header.request), SilentProgress())
        trips, tested = round_trips(job, given.orders), tests(job, given.tests)
    print(
        json.dumps(
            {
                "machine": machine(host),
                "idle": resting,
                "a loop beside": {name: median_of(each) for name, each in beside.items()},
                "answer to nothing, ms": trips,
                "a test of 2 s": tested,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
