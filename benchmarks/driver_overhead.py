"""What the in-process driver adds to a request, measured with a predictor that does nothing.

    python benchmarks/driver_overhead.py

Prints one JSON object. In the closed loop one request follows the other without a pause, so response time less service
time is what a claim, the recording and the clock cost. In the open loop every arrival is waited for, so it holds the
wake-up too. Times are in microseconds; the figures are those of the machine described with them.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.types import Artifact, Target
from servefit.profiler.cpus import choose_cpus
from servefit.profiler.host import Host, describe_host
from servefit.profiler.inprocess.workers import start_workers
from servefit.profiler.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.types import Configuration

if TYPE_CHECKING:
    from servefit.backends.types import Settings

DURATION_S = 2.0
REPETITIONS = 3


class NoPrediction:
    """A predictor that gives the same answer to everything, at once."""

    def __init__(self) -> None:
        self._answer = np.zeros(1, dtype=np.float32)

    def predict(self, _rows: np.ndarray) -> np.ndarray:
        return self._answer

    def close(self) -> None:
        pass


def load(_artifact: Artifact, _settings: Settings) -> NoPrediction:
    """Stands in for a backend's loader; called in the worker."""
    return NoPrediction()


def overhead(traffic: Traffic, *, workers: int, host: Host) -> dict[str, Any]:
    """The figures of one traffic, over all its repetitions."""
    configuration = Configuration(
        vcpus=workers,
        backend="nothing",
        workers=workers,
        environment=(("PYTHONPATH", str(Path(__file__).resolve().parent)),),
    )
    artifact = Artifact(
        backend="nothing", backend_version="1", model_digest="", target=Target.CPU, folder=Path("/nonexistent")
    )
    rows = np.zeros((1000, 30), dtype=np.float32)
    cpus = choose_cpus(host.cpus, workers)
    with start_workers(configuration, artifact, rows, cpus=cpus, loader="driver_overhead:load") as started:
        runs = [started.run(traffic) for _ in range(REPETITIONS)]
    response = np.concatenate([run.samples.ended_ns() - run.samples.scheduled_ns() for run in runs]) / 1000
    service = np.concatenate([run.samples.ended_ns() - run.samples.started_ns() for run in runs]) / 1000
    return {
        "workers": workers,
        "requests": len(response),
        "service_us": _percentiles(service),
        "response_us": _percentiles(response),
        "overhead_us": _percentiles(response - service),
        "cpu_percent": [round(100 * run.busy_cpu_ns / (run.plateau_ns[1] - run.plateau_ns[0]), 1) for run in runs],
    }


def clock_us() -> float:
    """What reading the clock costs; every request is timed with several readings."""
    readings = 100_000
    began = time.monotonic_ns()
    for _ in range(readings):
        time.monotonic_ns()
    return (time.monotonic_ns() - began) / readings / 1000


def _percentiles(times_us: np.ndarray) -> dict[str, float]:
    return {f"p{which}": round(float(np.percentile(times_us, which)), 2) for which in (50, 95, 99)}


def main() -> None:
    host = describe_host()
    machine = {
        "cpu": host.cpu_model,
        "logical_cpus": host.logical_cpus,
        "physical_cores": host.physical_cores,
        "virtualisation": host.virtualisation,
        "kernel": host.kernel,
        "python": host.python,
        "load_average": host.load_average,
        "clock_us": round(clock_us(), 3),
    }
    several = min(2, host.logical_cpus)
    open_loop = OpenLoop(rate_per_s=1000, duration_s=DURATION_S)
    figures = {
        "closed loop, one worker": overhead(ClosedLoop.constant(users=1, duration_s=DURATION_S), workers=1, host=host),
        f"closed loop, {several} workers": overhead(
            ClosedLoop.constant(users=several, duration_s=DURATION_S), workers=several, host=host
        ),
        "open loop, 1000 requests/s, one worker": overhead(open_loop, workers=1, host=host),
        f"open loop, 1000 requests/s, {several} workers": overhead(open_loop, workers=several, host=host),
    }
    print(json.dumps({"machine": machine, "figures": figures}, indent=2))


if __name__ == "__main__":
    main()
