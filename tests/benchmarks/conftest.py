"""A made-up grid of the shape of the demo's: calls of known length, simulated queues, and repeats that differ."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.claims.demo_grid import subjects
from benchmarks.data.grid import Figures, Grid, Timing
from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.types import Configuration
from servefit.search.request.space import BATCH_SIZES
from servefit.search.results.instances import instances_for
from servefit.search.simulation.prediction import predict

GIB = 2**30
RATE_PER_S = 500.0

CALL_US = {"xgboost": (800.0, 25.0), "onnxruntime": (45.0, 45.0), "treelite": (150.0, 180.0), "onedal": (70.0, 45.0)}
"""What a call takes, and every request in it."""

MakeGrid = Callable[..., Grid]


@pytest.fixture(scope="session")
def made_up_grid() -> MakeGrid:
    return make_grid


@pytest.fixture(scope="session")
def small_grid() -> Grid:
    return make_grid(sizes=(1, 8, 64))


def make_grid(*, sizes: tuple[int, ...] = BATCH_SIZES, spread: float = 0.04, bias: float = 0.1, seed: int = 0) -> Grid:
    """Repeats differ by ``spread``, and what is measured from what timed calls promise by ``bias``, which is the same
    for all that share backend, threads and workers; both are standard deviations of logarithms."""
    random = Random(seed)
    grid = [
        Configuration(
            vcpus=vcpus,
            backend=backend,
            settings=Settings(threads=threads),
            workers=workers,
            max_batch=size,
            batch_delay_us=delay_us,
        )
        for vcpus in (1, 2)
        for backend in CALL_US
        for threads, workers in [(1, 1), (1, 2), (2, 1)]
        if threads * workers <= vcpus
        for size in sizes
        for delay_us in ((0, 1000) if size > 1 else (0,))
    ]
    biases: dict[tuple[str, int, int], float] = {}
    tests = {}
    for configuration in grid:
        off = biases.setdefault(
            (configuration.backend, configuration.settings.threads, configuration.workers), random.gauss(0, bias)
        )
        tests[configuration] = tuple(figures(configuration, off + random.gauss(0, spread)) for _ in range(2))
    timings = {
        configuration: tuple(
            Timing(
                service=service_times(configuration, random.gauss(0, spread)),
                start_s=0.4,
                sizes_s=tuple((size, 0.1) for size in BATCH_SIZES),
            )
            for _ in range(2)
        )
        for configuration in subjects(grid)
    }
    profiles = (
        InstanceProfile(name="local-1c", vcpus=1, memory_bytes=8 * GIB),
        InstanceProfile(name="local-2c", vcpus=2, memory_bytes=16 * GIB),
        InstanceProfile(name="ml.m5.large", vcpus=2, memory_bytes=8 * GIB, price_per_hour=0.115),
    )
    return Grid(machine={"cpu": "made up"}, model="0", profiles=profiles, tests=tests, timings=timings)


def service_times(configuration: Configuration, log_factor: float) -> ServiceTimes:
    """Two threads take a call 1.4 times as fast, two workers get in each other's way by 15 %."""
    call_us, request_us = CALL_US[configuration.backend]
    factor = (
        np.exp(log_factor) * 1000 / configuration.settings.threads**0.5 * (1.15 if configuration.workers > 1 else 1.0)
    )
    shape = np.exp(0.1 * np.linspace(-2, 2, 20))
    batches = tuple(
        BatchTimes(requests=size, strata_ns=tuple((factor * shape * (call_us + request_us * size)).tolist()))
        for size in BATCH_SIZES
    )
    return ServiceTimes(batches=batches, workers=configuration.workers)


def figures(configuration: Configuration, log_factor: float) -> Figures:
    service = replace(service_times(configuration, log_factor), workers=configuration.workers)

    def predicted(rate_per_s: float | None) -> tuple[float, float | None, float | None]:
        found = predict(
            service,
            Discipline.of(configuration),
            rate_per_s=rate_per_s,
            percentiles=(50.0, 95.0),
            requests=1000,
        )
        return found.capacity_per_s, found.latency_ms["p50"], found.latency_ms["p95"]

    capacity_per_s, _, _ = predicted(None)
    instances = instances_for(RATE_PER_S, capacity_per_s)
    _, p50_ms, p95_ms = predicted(RATE_PER_S / instances)
    return Figures(
        capacity_per_s=capacity_per_s,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=None,
        instances=instances,
        verdict="PASS",
        violation=-0.9,
        memory_bytes=GIB // 4,
        seconds=2.1,
        closed_s=0.4,
        open_s=1.2,
    )
