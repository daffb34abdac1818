"""The tables of ``servefit load``: the figures of an endpoint, and of the numbers of users that were tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.cli.profiling_output import highest_rows, latency_rows, verdict_rows
from servefit.quantities import number_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.profiler.evidence.summary import Summary
    from servefit.search.endpoints.load_result import LoadTest


def load_table(found: LoadTest) -> Table:
    summary = found.summary
    rows: list[list[Any]] = [
        ["endpoint", found.endpoint],
        ["protocol", found.protocol],
        ["payload", found.payload],
        *verdict_rows(found.verdict, found.reason, found.summary),
        *_highest_rows(found),
        ["figures below are of", _traffic(found)],
        ["throughput per s", summary.throughput_per_s],
        ["samples", summary.samples],
    ]
    rows += [*latency_rows("response time", summary), *_server_time_rows(summary)]
    rows += [*_failure_rows(summary), *_client_rows(found)]
    return Table(columns=("figure", "value"), rows=rows)


def steps_table(found: LoadTest) -> Table:
    names = list(found.steps[0].latency_ms)
    return Table(
        title="Users" if found.request.phases is None else "Steps",
        columns=("users", "seconds", "throughput per s", "samples", *(f"{name} ms" for name in names)),
        rows=[
            [
                step.users,
                step.duration_s,
                step.throughput_per_s,
                step.samples,
                *(step.latency_ms[name] for name in names),
            ]
            for step in found.steps
        ],
    )


def _highest_rows(found: LoadTest) -> list[list[Any]]:
    """Return the rows of the most invocations, and of the search for them, where there was one."""
    rows: list[list[Any]] = []
    if found.max_invocations is not None or found.highest is not None:
        rows.append(["max invocations per min", found.max_invocations])
    if found.highest is not None:
        rows += highest_rows(found.highest)
    if found.users is not None:
        rows.append(["search", f"{found.ended}, {len(found.steps)} numbers of users tried"])
    if found.stopped is not None:
        rows.append(["stopped by", found.stopped])
    return rows


def _traffic(found: LoadTest) -> str:
    """Return the name of the traffic that the figures are of."""
    if found.summary.offered_per_s is not None:
        return f"an open loop, {number_text(found.summary.offered_per_s)} requests/s"
    if found.request.phases is not None:
        return "a closed loop, the best of its plateaus"
    users = found.users or found.request.users
    return f"a closed loop, {users} user" + ("" if users == 1 else "s")


def _server_time_rows(summary: Summary) -> list[list[Any]]:
    """Return the rows of the times inside the server and outside of it, where the server tells them."""
    rows: list[list[Any]] = []
    times: tuple[tuple[str, Mapping[str, float | None] | None], ...] = (
        ("model latency", summary.model_latency_ms),
        ("overhead", summary.overhead_ms),
    )
    for label, percentiles in times:
        rows += [[f"{label} {name} ms", value] for name, value in (percentiles or {}).items()]
    return rows


def _failure_rows(summary: Summary) -> list[list[Any]]:
    rows: list[list[Any]] = [["failed requests", summary.failed]]
    if summary.errors:
        rows.append(["errors", ", ".join(f"{count:,} x {kind}" for kind, count in summary.errors.items())])
    return rows


def _client_rows(found: LoadTest) -> list[list[Any]]:
    """Return the rows of the processes and CPUs of the client and of the server."""
    client = found.run.client
    if client is None:
        return []
    rows: list[list[Any]] = [["connections", client.connections]]
    if found.summary.lag_ms["p99"] is not None:
        rows.append(["schedule lag p99 ms", found.summary.lag_ms["p99"]])
    cpus = ", ".join(map(str, client.cpus))
    rows += [
        ["client CPU %", client.cpu_percent],
        ["client CPUs", cpus + (" (took time from the server)" if client.shares_cpus else "")],
    ]
    if not found.is_here:
        return [*rows, ["server", "on another machine"]]
    if found.server is None:
        return [*rows, ["server", "on this machine, its processes cannot be seen"]]
    server = found.server
    return [
        *rows,
        ["server", f"{server.name}, process {server.pid}, CPUs {', '.join(map(str, server.cpus))}"],
        ["server CPU %", found.summary.cpu_percent],
    ]
