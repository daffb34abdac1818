"""Hosts that do not exist, workers with synthetic predictors, small servers, and a check that no process is left."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.profiler.made_runs import make_run as make_run

from servefit.backends.model.types import Signature, Task
from servefit.backends.types import Artifact, Settings, Target
from servefit.profiler.drivers.hosted_endpoint import Hosted, hosted_endpoint
from servefit.profiler.drivers.inprocess.workers import Workers, start_workers
from servefit.profiler.machine.cgroups import ControlGroups
from servefit.profiler.machine.cpus import LogicalCpu
from servefit.profiler.machine.gpu import Gpu
from servefit.profiler.machine.host import Host
from servefit.profiler.record.types import Configuration
from servefit.serving.config import ArtifactFacts, EndpointConfig

sys.path.append(str(Path(__file__).parents[2]))  # the benchmarks' queues

GIB = 2**30
MakeHost = Callable[..., Host]
StartSynthetic = Callable[..., AbstractContextManager[Workers]]
HostSmall = Callable[..., AbstractContextManager[Hosted]]


# Whatever starts workers or servers to measure, or takes a CPU from them, goes by one of these.
NOT_BESIDE_OTHERS = {"start_synthetic", "host_small", "is_gone", "hog"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that uses one of those fixtures is timed, unless it says that it asserts on no times; a file that measures
    without them says so itself."""
    for item in items:
        used = item.fixturenames if isinstance(item, pytest.Function) else ()
        here = item.path.is_relative_to(Path(__file__).parent)
        if here and NOT_BESIDE_OTHERS.intersection(used) and item.get_closest_marker("integration") is None:
            item.add_marker(pytest.mark.timed)


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


@pytest.fixture
def small_config() -> Callable[[dict[str, Any]], EndpointConfig]:
    """An endpoint of which only the facts count: what small_server.py is to do."""

    def describe(facts: dict[str, Any]) -> EndpointConfig:
        return EndpointConfig(
            name="small",
            artifact=ArtifactFacts(
                backend="synthetic",
                backend_version="1",
                model_digest="",
                target=Target.CPU,
                folder="/nonexistent",
                facts=facts,
            ),
            signature=Signature(task=Task.BINARY, features=3, outputs=1),
            environment=(("PYTHONPATH", str(Path(__file__).parent)),),
        )

    return describe


@pytest.fixture
def host_small(small_config: Callable[[dict[str, Any]], EndpointConfig]) -> HostSmall:
    """Start small_server.py as an endpoint inside an envelope; it does what ``facts`` say."""

    def start(
        facts: dict[str, Any], *, cpus: tuple[int, ...] = (max(os.sched_getaffinity(0)),), **options: Any
    ) -> AbstractContextManager[Hosted]:
        return hosted_endpoint(small_config(facts), cpus=cpus, module="small_server", **options)

    return start


def open_files() -> set[str]:
    return {f"{entry.name} {entry.readlink()}" for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}


@pytest.fixture
def nothing_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No child process, open file, thread, named shared memory, control group or temporary file outlives a test."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    files_before, threads_before, shared_before = open_files(), threading.active_count(), own_shared_memory()
    children_before = psutil.Process().children(recursive=True)  # of fixtures of the session, such as an sshd
    yield
    assert [child for child in psutil.Process().children(recursive=True) if child not in children_before] == []
    # Fewer where the garbage of earlier tests is collected meanwhile.
    assert len(open_files()) <= len(files_before), open_files() ^ files_before
    assert threading.active_count() == threads_before
    assert own_shared_memory() == shared_before
    assert own_control_groups() == []
    assert list(temporary.iterdir()) == []


def own_control_groups() -> list[Path]:
    """The groups that this process made, in any hierarchy."""
    mine = re.compile(rf"servefit[-_].*[-_]{os.getpid()}[-_]")
    folders = [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup")]
    return [folder for folder in folders if mine.match(folder.name)]


def own_shared_memory() -> set[str]:
    return {entry.name for entry in Path("/dev/shm").iterdir() if "servefit" in entry.name or "psm_" in entry.name}


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Tells whether all processes of a group have ended, giving those that were just killed a moment to do so."""

    def check(group: int) -> bool:
        deadline = time.monotonic() + 3
        while _living(group):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return check


def _living(group: int) -> int:
    """How many processes of the group have not ended. Zombies have; whether they are reaped is up to init."""
    living = 0
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            living += os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return living
