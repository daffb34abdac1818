"""The run that the records of load clients amount to, in the shape that all drivers give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.drivers.http.server_timing import UNKNOWN_NS
from servefit.profiler.evidence.backlog import offered_and_backlog
from servefit.profiler.evidence.plateaus import busy_cpu_ns, on_plateau
from servefit.profiler.record.traffic import NS_PER_S
from servefit.profiler.record.types import ClientRecord, Run, Samples

if TYPE_CHECKING:
    from servefit.profiler.drivers.driving.schedule import ArrivalSchedule
    from servefit.profiler.drivers.http.client_load import ClientLoad
    from servefit.profiler.drivers.http.messages import Record
    from servefit.profiler.drivers.http.servers import Processes
    from servefit.profiler.evidence.stopping import StoppingCondition
    from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
    from servefit.profiler.record.types import Stopped, TelemetryPoint, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Server and clients as they were seen in a run. ``processes`` is None for a server that cannot be seen."""

    telemetry: tuple[TelemetryPoint, ...]
    processes: Processes | None
    load: ClientLoad
    cpus: tuple[int, ...]
    clients: int
    shares_cpus: bool


def open_run(
    traffic: OpenLoop,
    schedule: ArrivalSchedule,
    records: Sequence[Record],
    conditions: Conditions,
    begin_and_end_ns: tuple[int, int],
    *,
    decided: bool,
) -> Run:
    """Make the run of an open loop, from what is in its schedule and what the server said."""
    due, started, ended = schedule.records()
    stopped_ns = schedule.stopped_ns
    begin_ns, end_ns = begin_and_end_ns
    plateau_ns = (begin_ns, end_ns if stopped_ns is None else min(end_ns, stopped_ns))
    stopped: Stopped | None = None
    if stopped_ns is not None:
        stopped = "verdict" if decided else "backlog"
    queued, predicted = _by_arrival(records, len(due))
    samples = Samples(
        scheduled=due.tobytes(),
        started=started.tobytes(),
        ended=ended.tobytes(),
        queued=None if queued is None else queued.tobytes(),
        predicted=None if predicted is None else predicted.tobytes(),
    )
    return _assembled(traffic, samples, records, conditions, plateau_ns, stopped)


def closed_run(
    traffic: ClosedLoop,
    records: Sequence[Record],
    conditions: Conditions,
    plateau_ns: tuple[int, int],
    *,
    start_ns: int,
    stopped: tuple[StoppingCondition, int] | None,
) -> Run:
    """Make the run of a closed loop, which began at ``start_ns``. ``stopped`` says by what and when it was stopped."""
    requests = np.concatenate([record.requests for record in records if record.requests is not None], axis=1)
    columns = np.concatenate([requests, _said(records)])
    columns = columns[:, np.argsort(np.abs(requests[2]), kind="stable")]
    if stopped is not None:
        # Clients notice a little later; what came in between belongs to no run.
        columns = columns[:, columns[0] < stopped[1]]
    scheduled, started, ended, queued, predicted = columns
    says = bool((predicted != UNKNOWN_NS).any())
    samples = Samples(
        scheduled=scheduled.tobytes(),
        started=started.tobytes(),
        ended=ended.tobytes(),
        queued=queued.tobytes() if says else None,
        predicted=predicted.tobytes() if says else None,
    )
    run = _assembled(traffic, samples, records, conditions, plateau_ns, None if stopped is None else stopped[0])
    if stopped is None:
        return run
    last = traffic.plateaus(until_s=(stopped[1] - start_ns) / NS_PER_S)[-1]
    return on_plateau(run, (start_ns + round(last.begin_s * NS_PER_S), start_ns + round(last.end_s * NS_PER_S)))


def _assembled(
    traffic: Traffic,
    samples: Samples,
    records: Sequence[Record],
    conditions: Conditions,
    plateau_ns: tuple[int, int],
    stopped: Stopped | None,
) -> Run:
    processes = conditions.processes
    offered, backlog = offered_and_backlog(samples, plateau_ns)
    between_ns = sum(record.between_ns for record in records)
    errors: Counter[str] = Counter()
    for record in records:
        errors.update(record.errors)
    return Run(
        driver="http",
        traffic=traffic,
        samples=samples,
        plateau_ns=plateau_ns,
        offered=offered,
        backlog=backlog,
        stopped=stopped,
        lags=np.concatenate([record.lags for record in records]).tobytes(),
        busy_cpu_ns=None if processes is None else busy_cpu_ns(conditions.telemetry, plateau_ns),
        threads_per_worker=() if processes is None else processes.threads,
        threads_outside=0 if processes is None else processes.threads_outside,
        peak_memory_bytes=None if processes is None else processes.peak_memory_bytes,
        telemetry=conditions.telemetry,
        client=ClientRecord(
            processes=conditions.clients,
            cpus=conditions.cpus,
            cpu_percent=conditions.load.busiest_percent(plateau_ns),
            waited_percent=conditions.load.waited_percent(plateau_ns),
            steal_percent=conditions.load.steal_percent(plateau_ns),
            between_us=between_ns / max(1, sum(record.returns for record in records)) / 1000,
            connections=sum(record.connections for record in records),
            reconnections=sum(record.reconnections for record in records),
            errors=dict(sorted(errors.items())),
            shares_cpus=conditions.shares_cpus,
        ),
    )


def _by_arrival(records: Sequence[Record], arrivals: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the server's own times, queued and predicted, by number of arrival."""
    if all(record.predicted is None for record in records):
        return None, None
    queued, predicted = np.full((2, arrivals), UNKNOWN_NS, dtype=np.int64)
    for record in records:
        if record.answered is not None and record.queued is not None and record.predicted is not None:
            # A run that ended early leaves out the last arrivals that were sent.
            counted = record.answered < arrivals
            queued[record.answered[counted]] = record.queued[counted]
            predicted[record.answered[counted]] = record.predicted[counted]
    return queued, predicted


def _said(records: Sequence[Record]) -> np.ndarray:
    """Return the same for the requests of a closed loop, one client after the other: int64 (2, n)."""
    parts = []
    for record in records:
        count = 0 if record.requests is None else record.requests.shape[1]
        unknown = np.full(count, UNKNOWN_NS, dtype=np.int64)
        queued = unknown if record.queued is None else record.queued
        predicted = unknown if record.predicted is None else record.predicted
        parts.append(np.stack([queued, predicted]))
    return np.concatenate(parts, axis=1)
