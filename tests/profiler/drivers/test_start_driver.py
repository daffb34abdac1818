"""Workers on given CPUs, for two tests at the same time, with a backend of another package."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest

from servefit.backends.types import Artifact, Settings, Target
from servefit.errors import SpecError, WorkerCrashed
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.machine.host import describe_host
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Traffic
from servefit.profiler.record.types import Configuration, Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from servefit.profiler.drivers.inprocess.workers import Workers

    StartOn = Callable[..., AbstractContextManager[Workers]]

pytestmark = pytest.mark.timed

S = 1_000_000_000
ALL_CPUS = tuple(sorted(os.sched_getaffinity(0)))
FIRST_CPU, LAST_CPU = ALL_CPUS[0], ALL_CPUS[-1]


@pytest.fixture
def start_on(tmp_path: Path, payload_rows: np.ndarray) -> StartOn:
    """Start one worker of the backend "synthetic" on this host, whose predictor does what ``facts`` say."""
    package = tmp_path / "packages/synthetic-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: synthetic\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[servefit.backends]\nsynthetic = synthetic_predictors:Backend\n")
    path = f"{package.parent}:{Path(__file__).parents[1]}"
    host = describe_host()

    def start(cpus: tuple[int, ...] | None, *, vcpus: int = 1, **facts: Any) -> AbstractContextManager[Workers]:
        configuration = Configuration(
            vcpus=vcpus, backend="synthetic", settings=Settings(), environment=(("PYTHONPATH", path),)
        )
        artifact = Artifact(
            backend="synthetic",
            backend_version="1",
            model_digest="",
            target=Target.CPU,
            folder=Path("/nonexistent"),
            facts=facts,
        )
        return workers_for(configuration, artifact, payload_rows, host=host, cpus=cpus, outside=())

    return start


def test_workers_are_held_to_the_cpus_that_are_given(start_on: StartOn) -> None:
    for cpu in (FIRST_CPU, LAST_CPU):
        with start_on((cpu,)) as workers:
            assert workers.envelope.cpus == (cpu,)
            assert os.sched_getaffinity(workers.pids[0]) == {cpu}


@pytest.mark.parametrize(
    ("cpus", "problem"),
    [((), "are not the 1 of"), ((0, 1), "are not the 1 of"), ((8000,), "not all on this host: 8000")],
)
def test_cpus_that_do_not_fit_are_refused(start_on: StartOn, cpus: tuple[int, ...], problem: str) -> None:
    with pytest.raises(SpecError, match=problem), start_on(cpus):
        pass


def test_two_tests_on_cpus_of_their_own_run_at_the_same_time(start_on: StartOn) -> None:
    barrier = Barrier(2)
    before = os.sched_getaffinity(0)

    def test(cpu: int, traffic: Traffic, us: int) -> tuple[Run, int]:
        with start_on((cpu,), act="spin", us=us) as workers:
            barrier.wait(60)
            run = workers.run(traffic)
            barrier.wait(60)
            assert psutil.Process(workers.pids[0]).is_running()
            return run, workers.pids[0]

    with ThreadPoolExecutor(2) as threads:
        idle = threads.submit(test, FIRST_CPU, OpenLoop(rate_per_s=100, duration_s=0.8, arrivals="constant"), 100)
        busy = threads.submit(test, LAST_CPU, ClosedLoop.constant(users=1, duration_s=0.8), 1000)
        (quiet, quiet_pid), (full, full_pid) = idle.result(), busy.result()
    assert quiet_pid != full_pid
    begins, ends = zip(quiet.plateau_ns, full.plateau_ns, strict=True)
    assert min(ends) - max(begins) > 0.3 * S, "they ran side by side"
    assert quiet.offered == 80
    assert np.all(quiet.samples.ended_ns() > 0)
    assert full.offered > 100
    # Load of others is looked for on a test's own CPU alone, where the other test is not.
    assert {len(point.core_percents or ()) for run in (quiet, full) for point in run.telemetry} == {1}
    assert os.sched_getaffinity(0) == before


@pytest.mark.thorough
def test_a_crash_of_the_one_leaves_the_other_alone(start_on: StartOn) -> None:
    barrier = Barrier(2)

    def crash() -> None:
        with start_on((FIRST_CPU,), act="segfault", calls=500) as workers:
            barrier.wait(60)
            workers.run(ClosedLoop.constant(users=1, duration_s=10))

    def serve() -> Run:
        with start_on((LAST_CPU,), act="sleep", us=1000) as workers:
            barrier.wait(60)
            return workers.run(ClosedLoop.constant(users=1, duration_s=0.8))

    with ThreadPoolExecutor(2) as threads:
        crashed, served = threads.submit(crash), threads.submit(serve)
        assert isinstance(crashed.exception(), WorkerCrashed)
        assert served.result().offered > 150
    assert psutil.Process().children(recursive=True) == []
