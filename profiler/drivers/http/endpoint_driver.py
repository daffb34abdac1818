"""The driver for an endpoint that is not ours, wherever it runs.

A server on this machine that nobody has pinned may use all CPUs, those of the load clients too, and often leaves them
alone all the same. So whether they got in its way is not supposed but measured: by the time for which its threads could
have run and had no CPU.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.profiler.drivers.driving.ending import Enough
    from servefit.profiler.drivers.http.clients import HttpDriver
    from servefit.profiler.evidence.stopping import StoppingConditions
    from servefit.profiler.record.traffic import Traffic
    from servefit.profiler.record.types import ClientRecord, Run, TelemetryPoint

MAX_WAITED = 0.05
"""Of the CPU time that the server had, or of one CPU where that is more: so much may be lost to the clients."""


class EndpointDriver:
    """A Driver: ``driver``, whose runs say of the client that it shared CPUs with the server where it was in its way.

    With ``apart`` the server cannot be on CPUs of the clients, or runs elsewhere. ``usual_users`` keep it busy.
    """

    configuration = None
    envelope = None

    def __init__(self, driver: HttpDriver, *, apart: bool, usual_users: int | None = None) -> None:
        self.usual_users = driver.usual_users if usual_users is None else usual_users
        self._driver = driver
        self._apart = apart

    def busy_with(self, users: int) -> EndpointDriver:
        """Return the same driver, known to be kept busy by ``users``, or those that are usual, whichever are more."""
        return EndpointDriver(self._driver, apart=self._apart, usual_users=max(users, self.usual_users))

    def run(
        self,
        traffic: Traffic,
        *,
        enough: Enough | None = None,
        stopping: StoppingConditions | None = None,
        begins_at: Callable[[], int] | None = None,
    ) -> Run:
        """Carry out ``traffic`` as ``HttpDriver.run`` does."""
        run = self._driver.run(traffic, enough=enough, stopping=stopping, begins_at=begins_at)
        return seen_from_outside(run, apart=self._apart)


def seen_from_outside(run: Run, *, apart: bool) -> Run:
    """Return ``run`` without what nothing can be said about in the telemetry of a server whose envelope is not known:
    whose CPUs were used by whom. ``client.shares_cpus`` says whether the clients took time from it."""
    client = run.client
    if client is not None:
        client = replace(
            client,
            shares_cpus=not apart and _server_waited(run, client),
            waited_percent=client.waited_percent if apart else _waited_for_others(run, client),
        )
    return replace(
        run,
        telemetry=tuple(
            replace(point, worker_percents=(), own_percent=None, run_queue_percent=None) for point in run.telemetry
        ),
        busy_cpu_ns=run.busy_cpu_ns if run.telemetry else None,
        peak_memory_bytes=max((point.memory_bytes for point in run.telemetry), default=None),
        client=client,
    )


def _server_waited(run: Run, client: ClientRecord) -> bool:
    """Return whether the server's threads waited for a CPU on the plateau. No longer than the clients were on one: for
    the rest they have waited for others, or for each other."""
    points = _on_plateau(run)
    waited = _mean_percent(points, [point.run_queue_percent or 0.0 for point in points])
    used = _mean_percent(points, [point.cpu_percent for point in points])
    if client.cpu_percent is not None:
        waited = min(waited, client.cpu_percent * client.processes)
    return waited > MAX_WAITED * max(100.0, used)


def _waited_for_others(run: Run, client: ClientRecord) -> float | None:
    """Return for how long a client waited for a CPU that the server may have had instead, without what the server used;
    None where that cannot be seen."""
    points = _on_plateau(run)
    if client.waited_percent is None or not points:
        return None
    return max(0.0, client.waited_percent - _mean_percent(points, [point.cpu_percent for point in points]))


def _on_plateau(run: Run) -> list[TelemetryPoint]:
    begin, end = run.plateau_ns
    return [point for point in run.telemetry if begin <= point.at_ns - point.over_ns // 2 < end]


def _mean_percent(points: list[TelemetryPoint], percents: list[float]) -> float:
    seen_ns = sum(point.over_ns for point in points)
    if not seen_ns:
        return 0.0
    return sum(percent * point.over_ns for percent, point in zip(percents, points, strict=True)) / seen_ns
