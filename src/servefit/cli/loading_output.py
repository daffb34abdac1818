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


def load_table(load_test: LoadTest) -> Table:
    summary = load_test.summary
    rows: list[list[Any]] = [
        ["endpoint", load_test.endpoint],
        ["protocol", load_test.protocol],
        ["payload", load_test.payload],
        *verdict_rows(load_test.verdict, load_test.reason, load_test.summary),
        *_highest_rows(load_test),
        ["figures below are of", _traffic(load_test)],
        ["throughput per s", summary.throughput_per_s],
        ["samples", summary.samples],
    ]
    rows += [*latency_rows("response time", summary), *_server_time_rows(summary)]
    rows += [*_failure_rows(summary), *_client_rows(load_test)]
    return Table(columns=("figure", "value"), rows=rows)


def steps_table(load_test: LoadTest) -> Table:
    names = list(load_test.steps[0].latency_ms)
    return Table(
        title="Users" if load_test.request.phases is None else "Steps",
        columns=("users", "seconds", "throughput per s", "samples", *(f"{name} ms" for name in names)),
        rows=[
            [
                step.users,
                step.duration_s,
                step.throughput_per_s,
                step.samples,
                *(step.latency_ms[name] for name in names),
            ]
            for step in load_test.steps
        ],
    )


def _highest_rows(load_test: LoadTest) -> list[list[Any]]:
    """Return the rows of the highest number of invocations, and of the search for it, if there was one."""
    rows: list[list[Any]] = []
    if load_test.max_invocations is not None or load_test.highest is not None:
        rows.append(["max invocations per min", load_test.max_invocations])
    if load_test.highest is not None:
        rows += highest_rows(load_test.highest)
    if load_test.users is not None:
        rows.append(["search", f"{load_test.ended}, {len(load_test.steps)} numbers of users tried"])
    if load_test.stopped is not None:
        rows.append(["stopped by", load_test.stopped])
    return rows


def _traffic(load_test: LoadTest) -> str:
    """Return the name of the traffic behind the figures."""
    if load_test.summary.offered_per_s is not None:
        return f"an open loop, {number_text(load_test.summary.offered_per_s)} requests/s"
    if load_test.request.phases is not None:
        return "a closed loop, the best of its plateaus"
    users = load_test.users or load_test.request.users
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


def _client_rows(load_test: LoadTest) -> list[list[Any]]:
    """Return the rows of the processes and CPUs of the client and of the server."""
    client = load_test.run.client
    if client is None:
        return []
    rows: list[list[Any]] = [["connections", client.connections]]
    if load_test.summary.lag_ms["p99"] is not None:
        rows.append(["schedule lag p99 ms", load_test.summary.lag_ms["p99"]])
    cpus = ", ".join(map(str, client.cpus))
    rows += [
        ["client CPU %", client.cpu_percent],
        ["client CPUs", cpus + (" (took time from the server)" if client.shares_cpus else "")],
    ]
    if not load_test.is_here:
        return [*rows, ["server", "on another machine"]]
    if load_test.server is None:
        return [*rows, ["server", "on this machine, its processes cannot be seen"]]
    server = load_test.server
    return [
        *rows,
        ["server", f"{server.name}, process {server.pid}, CPUs {', '.join(map(str, server.cpus))}"],
        ["server CPU %", load_test.summary.cpu_percent],
    ]
