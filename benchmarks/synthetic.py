"""Predictors whose service time is known, for workers of the in-process driver; and the machine a benchmark ran on.

A predictor is described by the facts of its artifact: ``{"act": "nothing"}``, ``{"act": "deterministic", "us": 250}``,
``{"act": "exponential", "us": 250}``, ``{"act": "stall", "us": 50, "stall_after_s": 2, "stall_ms": 200}``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.types import Artifact, Settings, Target
from servefit.profiler.drivers.inprocess.workers import start_workers
from servefit.profiler.record.types import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.host import Host

_DRAWS = 1_000_003


class Synthetic:
    """A predictor whose calls do nothing but ``act``."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._answer = np.zeros(1, dtype=np.float32)

    def predict(self, _rows: np.ndarray) -> np.ndarray:
        self._act()
        return self._answer

    def close(self) -> None:
        pass


class Nothing:
    """A predictor that gives the same answer to everything, at once."""

    def __init__(self) -> None:
        self._answer = np.zeros(1, dtype=np.float32)

    def predict(self, _rows: np.ndarray) -> np.ndarray:
        return self._answer

    def close(self) -> None:
        pass


def load(artifact: Artifact, _settings: Settings) -> Synthetic | Nothing:
    """Return the predictor, in place of a backend's loader. Runs in the worker."""
    facts: Mapping[str, Any] = artifact.facts
    if facts["act"] == "nothing":
        return Nothing()
    return Synthetic(
        {"deterministic": _deterministic, "exponential": _exponential, "stall": _stall}[facts["act"]](facts)
    )


def spin(duration_ns: int) -> None:
    """Keep the CPU busy for so long."""
    clock = time.monotonic_ns
    end = clock() + duration_ns
    while clock() < end:
        pass


def _deterministic(facts: Mapping[str, Any]) -> Callable[[], None]:
    duration_ns = int(1000 * facts["us"])
    return lambda: spin(duration_ns)


def _exponential(facts: Mapping[str, Any]) -> Callable[[], None]:
    # Workers draw apart from each other.
    draws = np.random.default_rng(os.getpid()).exponential(1000 * facts["us"], _DRAWS).astype(np.int64).tolist()
    calls = iter(range(2**62))
    return lambda: spin(draws[next(calls) % _DRAWS])


def _stall(facts: Mapping[str, Any]) -> Callable[[], None]:
    """Return a call as ``_deterministic`` does, except that the first one ``stall_after_s`` after loading takes
    ``stall_ms``."""
    usual_ns, stalls_at_ns = int(1000 * facts["us"]), time.monotonic_ns() + int(1e9 * facts["stall_after_s"])
    pending = [int(1e6 * facts["stall_ms"])]
    return lambda: spin(pending.pop() if pending and time.monotonic_ns() > stalls_at_ns else usual_ns)


def start(facts: Mapping[str, Any], *, cpus: tuple[int, ...], workers: int = 1) -> AbstractContextManager[Workers]:
    """Start real workers with the predictor that ``facts`` describe."""
    configuration = Configuration(
        vcpus=len(cpus),
        backend="synthetic",
        workers=workers,
        environment=(("PYTHONPATH", str(Path(__file__).resolve().parent.parent)),),
    )
    artifact = Artifact(
        backend="synthetic",
        backend_version="1",
        model_digest="",
        target=Target.CPU,
        folder=Path("/nonexistent"),
        facts=facts,
    )
    rows = np.zeros((1000, 30), dtype=np.float32)
    return start_workers(configuration, artifact, rows, cpus=cpus, loader="benchmarks.synthetic:load")


def machine(host: Host) -> dict[str, Any]:
    """Return the facts of the machine that figures depend on."""
    return {
        "cpu": host.cpu_model,
        "logical_cpus": host.logical_cpus,
        "physical_cores": host.physical_cores,
        "virtualisation": host.virtualisation,
        "kernel": host.kernel,
        "python": host.python,
        "load_average": host.load_average,
        "clock_us": round(clock_us(), 3),
    }


def clock_us() -> float:
    """Return the time that reading the clock takes; every request is timed with several readings."""
    readings = 100_000
    began = time.monotonic_ns()
    for _ in range(readings):
        time.monotonic_ns()
    return (time.monotonic_ns() - began) / readings / 1000


def percentiles(values: np.ndarray, which: tuple[float, ...] = (50, 95, 99)) -> dict[str, float]:
    return {f"p{percentile:g}": round(float(np.percentile(values, percentile)), 3) for percentile in which}
