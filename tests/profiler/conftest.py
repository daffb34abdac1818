"""Hosts that do not exist, and workers that run synthetic predictors."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servefit.backends.types import Artifact, Settings, Target
from servefit.profiler.cgroups import ControlGroups
from servefit.profiler.cpus import LogicalCpu
from servefit.profiler.gpu import Gpu
from servefit.profiler.host import Host
from servefit.profiler.inprocess.workers import Workers, start_workers
from servefit.profiler.types import Configuration

GIB = 2**30
MakeHost = Callable[..., Host]
StartSynthetic = Callable[..., AbstractContextManager[Workers]]


@pytest.fixture(autouse=True)
def own_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("SERVEFIT_HOME", str(folder))
    return folder


@pytest.fixture
def make_host() -> MakeHost:
    """A host with so many CPUs (no SMT, one node), so much memory, and GPUs of these models."""

    def make(cpus: int = 8, memory_gib: float = 32, gpus: tuple[str, ...] = (), **facts: Any) -> Host:
        described: dict[str, Any] = {
            "cpu_model": "Imaginary 9000",
            "architecture": "x86_64",
            "cpus": tuple(LogicalCpu(cpu=cpu, core=cpu) for cpu in range(cpus)),
            "caches": (),
            "memory_bytes": round(memory_gib * GIB),
            "operating_system": "Debian",
            "kernel": "6.1",
            "virtualisation": "none",
            "python": "3.11",
            "governor": None,
            "cgroups": ControlGroups(kind="v2", writable=False, memory_limit_bytes=None, cpu_quota=None),
            "load_average": (0.0, 0.0, 0.0),
            "steal_percent": None,
            "gpus": tuple(
                Gpu(index=index, model=model, memory_bytes=16 * GIB, driver="550") for index, model in enumerate(gpus)
            ),
            "no_gpu_reason": None if gpus else "the NVIDIA driver is not installed",
        }
        return Host(**described | facts)

    return make


@pytest.fixture
def payload_rows() -> np.ndarray:
    """Ten rows of three features; the first value of a row is its number."""
    return np.repeat(np.arange(10, dtype=np.float32)[:, None], 3, axis=1)


@pytest.fixture
def start_synthetic(payload_rows: np.ndarray) -> StartSynthetic:
    """Start real workers whose predictor does what ``facts`` say (see synthetic_predictors.py)."""

    def start(
        facts: dict[str, Any],
        *,
        cpus: tuple[int, ...] = (min(os.sched_getaffinity(0)),),
        rows: np.ndarray = payload_rows,
        environment: dict[str, str] | None = None,
        threads: int = 1,
        workers: int = 1,
        max_batch: int = 1,
        batch_delay_us: int = 0,
        gpu: int | None = None,
        **options: Any,
    ) -> AbstractContextManager[Workers]:
        configuration = Configuration(
            vcpus=len(cpus),
            backend="synthetic",
            settings=Settings(threads=threads),
            workers=workers,
            max_batch=max_batch,
            batch_delay_us=batch_delay_us,
            environment=tuple(sorted({"PYTHONPATH": str(Path(__file__).parent), **(environment or {})}.items())),
            gpu=gpu,
        )
        artifact = Artifact(
            backend="synthetic",
            backend_version="1",
            model_digest="",
            target=Target.CPU,
            folder=Path("/nonexistent"),
            facts=facts,
        )
        return start_workers(configuration, artifact, rows, cpus=cpus, loader="synthetic_predictors:load", **options)

    return start
