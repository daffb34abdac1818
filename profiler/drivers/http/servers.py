"""The server that a run is sent to, as far as it can be seen from here: processes, their CPU time, memory and masks.

One in an envelope of ours is seen whole. Of any other nothing is claimed, wherever it runs.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from servefit.errors import MeasurementError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.single_requests import get
from servefit.profiler.machine.telemetry import watching
from servefit.time_limit import allowed_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from servefit.profiler.drivers.hosted_endpoint import Hosted
    from servefit.profiler.machine.envelope.types import Envelope
    from servefit.profiler.machine.telemetry import Telemetry
    from servefit.profiler.record.types import Configuration

MIN_USERS_BESIDE, MAX_USERS_BESIDE = 7, 128
"""Users in a closed loop beside those in a call, a worker: while their requests and answers are under way the worker
has others to serve. More of them would only wait, and an endpoint lets no more than so many wait."""

_STATISTICS_TIMEOUT_S = 10.0
"""An endpoint that has just been under load may have a queue to answer first. Chosen, not measured."""

UNKNOWN_USERS = 16
"""Of a server that nothing is known of: they keep a few workers busy. Chosen; ``EndpointDriver.busy_with`` knows
better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """The processes of a server after a run. ``threads`` are those of each worker."""

    threads: tuple[int, ...]
    threads_outside: int
    peak_memory_bytes: int


class LoadedServer(Protocol):
    """As in ``Driver``."""

    @property
    def configuration(self) -> Configuration | None: ...

    @property
    def envelope(self) -> Envelope | None: ...

    @property
    def usual_users(self) -> int: ...

    @property
    def load_s(self) -> float | None: ...

    def check(self) -> None:
        """Raise the error for a server that is known to be dead."""
        ...

    def watch(self, others: tuple[int, ...]) -> AbstractContextManager[Telemetry | None]:
        """Watch it from the CPUs ``others``, for as long as the block lasts."""
        ...

    def processes(self) -> Processes | None: ...

    def calls_by_size(self) -> Mapping[int, int] | None:
        """Return how many calls of the predictor there were so far by the number of requests that they joined; None
        where it does not say."""
        ...


class HostedServer:
    """An endpoint of ours that serves ``configuration`` in an envelope."""

    def __init__(self, hosted: Hosted, configuration: Configuration, *, name: str) -> None:
        self.configuration = configuration
        self.envelope = hosted.envelope
        self.load_s = hosted.load_s
        beside = max(MIN_USERS_BESIDE, min(configuration.max_batch, MAX_USERS_BESIDE))
        self.usual_users = configuration.workers * (configuration.max_batch + beside)
        self._hosted = hosted
        self._name = name

    @property
    def pids(self) -> tuple[int, ...]:
        return self._hosted.pids

    def check(self) -> None:
        self._hosted.check()

    @contextmanager
    def watch(self, others: tuple[int, ...]) -> Iterator[Telemetry | None]:
        pids, gpu = self._hosted.pids, self.configuration.gpu
        with watching(pids, lambda _: 0, gpu=gpu, cpus=self.envelope.cpus, others=others) as telemetry:
            yield telemetry

    def processes(self) -> Processes:
        supervisor, *workers = self._hosted.pids
        cpus = set(self.envelope.cpus)
        masks = [_masks(pid) for pid in workers or [supervisor]]
        return Processes(
            threads=tuple(len(of_worker) for of_worker in masks),
            threads_outside=sum(not mask <= cpus for of_worker in masks for mask in of_worker),
            peak_memory_bytes=sum(_peak_memory_bytes(pid) for pid in (supervisor, *workers)),
        )

    def calls_by_size(self) -> Mapping[int, int] | None:
        statistics = Address.parse(self._hosted.url).at(f"/v2/models/{self._name}/stats")
        try:
            answer = get(statistics, timeout_s=allowed_s(_STATISTICS_TIMEOUT_S))
        except MeasurementError:  # it has ended or is too busy: the load reports that
            return None
        if not answer.is_success:
            return None
        (model,) = answer.value()["model_stats"]
        return {entry["batch_size"]: entry["compute_infer"]["count"] for entry in model["batch_stats"]}


class UnseenServer:
    """A server somewhere."""

    configuration = None
    envelope = None
    load_s = None
    usual_users = UNKNOWN_USERS

    def check(self) -> None:
        """Raise nothing: that it lives is told by its answers alone."""

    def watch(self, _others: tuple[int, ...]) -> AbstractContextManager[Telemetry | None]:
        return nullcontext()

    def processes(self) -> None:
        return None

    def calls_by_size(self) -> None:
        return None


def _masks(pid: int) -> list[set[int]]:
    """Return the CPUs that each thread of a process may run on; none for one that has ended."""
    masks: list[set[int]] = []
    with suppress(FileNotFoundError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                masks.append(os.sched_getaffinity(int(task.name)))
    return masks


def _peak_memory_bytes(pid: int) -> int:
    """Return the largest resident size that a process ever had; 0 for one that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
