"""Times this host for about three seconds, so that it can be told whether it is like its twins.

Fixed work runs in fresh processes, one a round, since processes differ in ways that time within one never shows. Where
a model is given, calls of it are timed in the same rounds, so that a disturbance is in all of them. Times are on the
wall: what takes the CPU away for part of the time makes a host slower. What the times of several hosts say is for
``grouping``.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from servefit.backends.types import Settings
from servefit.errors import MeasurementError, TimedOut, WorkerCrashed
from servefit.profiler.drivers.driving.pinning import pinned_to
from servefit.profiler.drivers.inprocess.timing import WorkerTimeCalls
from servefit.profiler.drivers.start_driver import workers_for
from servefit.profiler.machine.cpus import choose_cpus, client_cpus
from servefit.profiler.record.types import Configuration
from servefit.search.results.host_timing import ROUNDS, CallsTime, HostTiming, WorkTime

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np

    from servefit.backends.types import Artifact
    from servefit.profiler.drivers.inprocess.workers import Workers
    from servefit.profiler.machine.host import Host
    from servefit.profiler.machine.slot.holding import Slot

BATCH_SIZES = (1, 64)
"""The sizes that give the cost of a call by itself, and of its rows."""

_WORK_MS, _WORK_BESIDE_CALLS_MS = 190, 60
"""Of fixed work in each round, besides the 40 ms or so in which a process starts: three seconds in all, and half a
second more beside calls."""

_CALLS_S, _CALLS_WARM_UP_S = 0.03, 0.01
"""Of each size in each round: 1 s in all, and as much again for finding how long calls are. Chosen, not measured."""

_MIN_CALLS = 3
"""Of a size in a round, however long they are. Chosen, not measured."""

_GRACE_S = 10.0
"""An interpreter starts in a fraction of that, also on a host whose CPUs are all busy. Chosen, not measured."""

_FIXED_WORK = Path(__file__).with_name("fixed_work.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedModel:
    """The subject of timed calls: an ``artifact``, mostly the model's own library's, and its payload ``rows`` (n,
    features)."""

    artifact: Artifact
    rows: np.ndarray
    rows_per_request: int = 1

    @property
    def name(self) -> str:
        return f"{self.artifact.model_digest}/{self.artifact.backend}"


def calibrate_host(host: Host, *, slot: Slot, model: TimedModel | None = None) -> HostTiming:
    """Time ``host``, which is this one, on the CPU that an envelope of one vCPU takes.

    It takes about three seconds, besides the start of a worker, and longer for a model whose calls do. The measuring
    ``slot`` is held by the caller, who has more to do while nothing else is measured; what is started here inherits it.

    Raises as ``start_workers`` does for what becomes of the model; MeasurementError where no process can be started,
    WorkerCrashed or TimedOut where one does not do its work.
    """
    (cpu,) = choose_cpus(host.cpus, 1)
    fixed: list[_FixedWork] = []
    calls_ns: dict[int, list[float]] = {size: [] for size in BATCH_SIZES}
    with ExitStack() as stack:
        worker = None if model is None else stack.enter_context(_worker_of(model, host))
        stack.enter_context(pinned_to(client_cpus(host.cpus, (cpu,))))
        for _ in range(ROUNDS):
            fixed.append(_do_fixed_work(cpu, _WORK_MS if worker is None else _WORK_BESIDE_CALLS_MS, slot))
            if worker is not None:
                for size, times in calls_ns.items():
                    times.append(_call_ns(worker, size))
    return HostTiming(
        arithmetic=WorkTime.of([work.arithmetic_ns for work in fixed]),
        memory=WorkTime.of([work.memory_ns for work in fixed]),
        cpu_taken=median(work.cpu_taken for work in fixed),
        calls=() if model is None else tuple(CallsTime(requests=n, time=WorkTime.of(calls_ns[n])) for n in BATCH_SIZES),
        subject=None if model is None else model.name,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FixedWork:
    """The output of ``fixed_work`` in one round."""

    arithmetic_ns: float
    memory_ns: float
    cpu_taken: float


def _worker_of(model: TimedModel, host: Host) -> AbstractContextManager[Workers]:
    """Start a worker of one thread that takes the largest of the batch sizes."""
    plain = Configuration(
        vcpus=1,
        backend=model.artifact.backend,
        target=model.artifact.target,
        settings=Settings(threads=1),
        max_batch=max(BATCH_SIZES),
    )
    return workers_for(plain, model.artifact, model.rows, host=host, rows_per_request=model.rows_per_request)


def _call_ns(worker: Workers, requests: int) -> float:
    """Return what a call of so many ``requests`` takes on average, in one round."""
    (times,) = worker.time_calls(
        WorkerTimeCalls(
            requests_per_call=requests, duration_s=_CALLS_S, warm_up_s=_CALLS_WARM_UP_S, least_calls=_MIN_CALLS
        )
    )
    return float(times.durations_ns().mean()) / times.calls_per_duration


def _do_fixed_work(cpu: int, work_ms: int, slot: Slot) -> _FixedWork:
    """Do the fixed work for so long in a fresh process on ``cpu``."""
    command = [sys.executable, "-I", "-S", str(_FIXED_WORK), str(cpu), str(work_ms)]
    limit_s = work_ms / 1000 + _GRACE_S
    try:
        # In a session of its own, so that Ctrl-C is ours to deal with.
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_s,
            pass_fds=slot.descriptors,
            start_new_session=True,
            check=False,
        )
    except OSError as error:
        raise MeasurementError(f"cannot start a process to time: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise TimedOut("timing fixed work", limit_s=limit_s) from error
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode:
        last_line = said.splitlines()[-1] if said else f"status {done.returncode}"
        raise WorkerCrashed(f"timing fixed work failed: {last_line}", stderr=said)
    arithmetic_ns, memory_ns, cpu_taken = map(float, done.stdout.split())
    return _FixedWork(arithmetic_ns=arithmetic_ns, memory_ns=memory_ns, cpu_taken=cpu_taken)
