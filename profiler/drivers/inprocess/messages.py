"""The messages between a measurement worker and its parent, pickled over one socket.

The WorkerSetup is too big for that: see ``driving.setup``. The order is always the same. Worker: Loaded. Then for every
run, parent: WorkerPrepare, worker: WorkerReady, parent: WorkerBeginOpen or WorkerBeginClosed, worker: WorkerRecord. Or,
between runs, parent: WorkerTimeCalls, worker: CallTimes. Instead of any answer a worker may send a ServefitError, after
which it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.types import Artifact, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """``loader`` ("package.module:function") is called with ``artifact`` and ``settings`` and gives a Predictor.

    ``import_path`` is where the parent imports from; a model may need modules that its user keeps there.
    """

    import_path: tuple[str, ...]
    loader: str
    artifact: Artifact
    settings: Settings
    rows: np.ndarray
    rows_per_request: int
    max_batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    load_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPrepare:
    """Warm up for a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReady:
    """The worker is warm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBeginOpen:
    """The shared memory holds a schedule: serve it from ``start_ns`` on, times of the monotonic clock.

    ``spin_ns`` is how long before an arrival a waiting worker stops sleeping and spins, ``delay_ns`` how long the first
    request of a batch waits for others. When more than ``backlog_cap`` requests wait, the run is over.
    """

    start_ns: int
    plateau_ns: tuple[int, int]
    spin_ns: int
    delay_ns: int
    backlog_cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBeginClosed:
    """The shared memory holds users: serve them from ``start_ns`` to the end of ``plateau_ns``. Otherwise as
    WorkerBeginOpen.

    ``workers`` is how many share the run, so that each can begin elsewhere in the payload. With ``limits_ns`` the run
    may be stopped: then they tell now and then how many requests they have answered, and how many took longer than each
    of these limits on the response time.
    """

    start_ns: int
    plateau_ns: tuple[int, int]
    spin_ns: int
    delay_ns: int
    workers: int
    limits_ns: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRecord:
    """The record of a worker's part in a run. ``requests`` is an int64 array (3, n) of scheduled, started and ended in
    a closed loop; in an open one it is None, and they are in the schedule. ``lags`` are as in ``Run``."""

    requests: np.ndarray | None
    lags: np.ndarray
    busy_cpu_ns: int
    threads: int
    threads_outside: int
    peak_memory_bytes: int
