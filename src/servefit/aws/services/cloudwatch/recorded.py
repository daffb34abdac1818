"""Metrics of the raw samples of a load test, by the time of day.

ModelLatency of a request to an endpoint is what the server says of its own time; the rest of the response time, as the
client saw it, is overhead. Where it does not say, and in process, the whole response time is the model's, and nothing
is known of overhead. A request that failed took until it did.

Samples have the times of a clock that does not say what day it is. The first one of a step is put where its processes
had loaded the model; what it took to start and to warm them up is not kept, and so samples are early by half a second
or so.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from servefit.aws.endpoints.invocations import NO_ANSWER, Invocations
from servefit.aws.services.cloudwatch.metrics import of_invocations
from servefit.aws.services.cloudwatch.series import SampleSeries
from servefit.profiler.record.traffic import NS_PER_S, ClosedLoop

if TYPE_CHECKING:
    from servefit.profiler.record.types import Run

_NS_PER_US = 1000

_STATUS = re.compile(r"status (\d{3})")
"""The load client's words for an answer that is no success."""

_SUCCESS = 200

MAX_BYTES = 2**28
"""Of the samples that are kept in memory: those of fifteen million requests. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Requests, how many users sent them, and the CPU, in per cent of one CPU, and memory that workers used."""

    invocations: Invocations
    users: SampleSeries
    cpu_percent: SampleSeries
    memory_bytes: SampleSeries

    def series(self, name: str, *, memory_bytes: int | None = None) -> SampleSeries:
        """Return the samples of the metric of that name. MemoryUtilization is of an instance with ``memory_bytes``."""
        if name == "NumberOfUsers":
            return self.users
        if name == "CPUUtilization":
            return self.cpu_percent
        if name == "MemoryUtilization":
            if memory_bytes is None:
                return SampleSeries.joined([])
            return SampleSeries(self.memory_bytes.at_s, self.memory_bytes.values * (100 / memory_bytes))
        return of_invocations(name, self.invocations)

    @property
    def nbytes(self) -> int:
        columns = self.invocations
        return columns.at_s.nbytes + columns.model_us.nbytes + columns.overhead_us.nbytes + columns.status.nbytes


class Recordings:
    """Reads what load tests recorded, one at a time, and remembers what was read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[Path, float], Recorded] = OrderedDict()

    def of(self, file: Path, read: Callable[[], Sequence[Run]], *, first_s: float, ended_s: float) -> Recorded:
        """Return what runs recorded that ``read`` reads from a file. Their first request was due at ``first_s``, or so
        early that all was over at ``ended_s``."""
        key = file, first_s
        with self._lock:
            if key not in self._known:
                runs = read()
                self._known[key] = recorded(runs, first_s=min(first_s, ended_s - _span_s(runs)))
            self._known.move_to_end(key)
            while len(self._known) > 1 and sum(recording.nbytes for recording in self._known.values()) > MAX_BYTES:
                self._known.popitem(last=False)
            return self._known[key]


def recorded(runs: Sequence[Run], *, first_s: float) -> Recorded:
    """Return what runs of one clock recorded, whose first request was due at ``first_s``."""
    first_ns = _first_ns(runs)

    def series(points: Iterable[tuple[int, float]]) -> SampleSeries:
        at_ns, values = np.array([*points], dtype=np.float64).reshape(-1, 2).T
        return SampleSeries(first_s + (at_ns - first_ns) / NS_PER_S, values)

    requests = np.concatenate([np.array([], _REQUEST), *(_requests(run) for run in runs)])
    requests = requests[np.argsort(requests["at_ns"], kind="stable")]
    points = [point for run in runs for point in run.telemetry]
    return Recorded(
        invocations=Invocations(
            at_s=first_s + (requests["at_ns"] - first_ns) / NS_PER_S,
            model_us=requests["model_us"].copy(),
            overhead_us=requests["overhead_us"].copy(),
            status=requests["status"].copy(),
        ),
        users=series(point for run in runs for point in _users(run)),
        cpu_percent=series((point.at_ns, point.cpu_percent) for point in points),
        memory_bytes=series((point.at_ns, point.memory_bytes) for point in points),
    )


_REQUEST = np.dtype([("at_ns", np.int64), ("model_us", np.float32), ("overhead_us", np.float32), ("status", np.int16)])


def _requests(run: Run) -> np.ndarray:
    """Return the requests of a run that were sent: those that were still queued at its end were not."""
    samples = run.samples
    ended_ns = samples.ended_ns()
    sent = ended_ns != 0
    requests = np.zeros(int(sent.sum()), _REQUEST)
    requests["at_ns"] = np.abs(ended_ns[sent])
    response_ns = requests["at_ns"] - samples.scheduled_ns()[sent]
    model_ns, has_model_time = response_ns, np.zeros(len(requests), dtype=bool)
    queued_ns, predicted_ns = samples.queued_ns(), samples.predicted_ns()
    if queued_ns is not None and predicted_ns is not None:
        has_model_time = predicted_ns[sent] >= 0
        model_ns = np.where(has_model_time, (queued_ns + predicted_ns)[sent], response_ns)
    requests["model_us"] = model_ns / _NS_PER_US
    requests["overhead_us"] = np.where(has_model_time, (response_ns - model_ns) / _NS_PER_US, np.nan)
    failed = np.flatnonzero(ended_ns[sent] < 0)
    requests["status"] = _SUCCESS
    requests["status"][failed] = NO_ANSWER
    statuses = [*islice(_statuses({} if run.client is None else run.client.errors), len(failed))]
    requests["status"][failed[: len(statuses)]] = statuses
    return requests


def _statuses(errors: Mapping[str, int]) -> Iterator[int]:
    """Yield the status of each request that got one that is no success. A run keeps how many there were of each, and
    not which: counts are right over a run, and not within it."""
    for kind, count in errors.items():
        if (match := _STATUS.fullmatch(kind)) is not None:
            yield from repeat(int(match[1]), count)


def _users(run: Run) -> Iterator[tuple[int, int]]:
    """Yield a time and how many users a closed loop had then, for every second; an open one has none."""
    if not isinstance(run.traffic, ClosedLoop) or not len(run.samples.scheduled_ns()):
        return
    joins_s = run.traffic.joins_s()
    begin_ns = int(run.samples.scheduled_ns().min()) - round(joins_s[0] * NS_PER_S)
    for at_ns in range(begin_ns, _last_ns(run), NS_PER_S):
        yield at_ns, bisect_right(joins_s, (at_ns - begin_ns) / NS_PER_S)


def _span_s(runs: Sequence[Run]) -> float:
    """Return the seconds from the first request of runs to the last thing that was seen of them."""
    return (max((_last_ns(run) for run in runs), default=0) - _first_ns(runs)) / NS_PER_S


def _first_ns(runs: Sequence[Run]) -> int:
    """Return when the first request was due; where there was none, when something was first seen."""
    due_ns = [int(run.samples.scheduled_ns().min()) for run in runs if run.samples.scheduled]
    seen_ns = [point.at_ns for run in runs for point in run.telemetry]
    return min(due_ns or seen_ns, default=0)


def _last_ns(run: Run) -> int:
    return max(
        int(np.abs(run.samples.ended_ns()).max(initial=0)),
        max((point.at_ns for point in run.telemetry), default=0),
    )
