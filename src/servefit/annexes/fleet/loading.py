"""``servefit load --from``: an endpoint, loaded by several hosts of a fleet together."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from servefit.cli.output import OutputFormat, emit, warn
from servefit.cli.profiling_output import latency_rows, verdict_rows
from servefit.cli.progress import job_progress
from servefit.cli.status import status_of_verdict
from servefit.errors import SpecError
from servefit.quantities import number_text, percent_text
from servefit.report.table import Table
from servefit.search.fleet.load.requests import LoadSubject

if TYPE_CHECKING:
    from servefit.search.fleet.load.load_result import ClientsLoadTest, LoadClientResult
    from servefit.search.request.load_request import LoadRequest

__all__ = ["LoadSubject", "check_several_clients", "load_from"]


def check_several_clients(files: Mapping[str, object]) -> None:
    """Raise SpecError for ``files``, by option, that need samples: those stay on the hosts of the clients."""
    for option, file in files.items():
        if file is not None:
            raise SpecError(
                option,
                str(file),
                "cannot be written with --from: samples stay on the hosts of the clients",
                remedy="leave it out; --format json has all figures of each client",
            )


def load_from(
    subject: LoadSubject,
    request: LoadRequest,
    *,
    patterns: list[str],
    labels: list[str],
    storage: str | None,
    wait_s: float | None,
    form: OutputFormat,
    quiet: bool,
) -> None:
    """Load the endpoint from the chosen hosts, print what came of it, and exit with its status."""
    from servefit.search.fleet.launching.agent_options import parse_labels
    from servefit.search.fleet.load.running import load_from_clients
    from servefit.search.fleet.selection import Selection

    selection = Selection(patterns=tuple(patterns), labels=tuple(parse_labels("label", labels).items()))
    with job_progress(quiet=quiet) as progress:
        load_test = load_from_clients(
            subject,
            request,
            selection,
            storage=storage or os.environ.get("SERVEFIT_STORAGE") or None,
            wait_s=wait_s or 0.0,
            progress=progress,
        )
    emit(_table(load_test), load_test.to_dict(), form)
    if form is OutputFormat.TABLE:
        emit(_clients_table(load_test), {}, form)
    for caution in load_test.warnings:
        warn(caution)
    if load_test.verdict != "PASS":
        raise typer.Exit(status_of_verdict(load_test.verdict))


def _table(load_test: ClientsLoadTest) -> Table:
    summary = load_test.summary
    answered = [client for client in load_test.clients if client.part is not None]
    rows: list[list[Any]] = [["endpoint", load_test.url]]
    if summary is None:
        rows.append(["verdict", f"{load_test.verdict}: {load_test.reason}"])
        return Table(columns=("figure", "value"), rows=rows)
    rows += [
        ["protocol", ", ".join(dict.fromkeys(client.part.protocol for client in answered if client.part is not None))],
        *verdict_rows(load_test.verdict, load_test.reason, summary),
        ["figures below are of", f"an open loop, {number_text(summary.offered_per_s or 0.0)} requests/s"],
        ["clients", f"{len(answered)} of {len(load_test.clients)}"],
        ["throughput per s", summary.throughput_per_s],
        ["samples", summary.samples],
        *latency_rows("response time", summary),
        ["failed requests", summary.failed],
    ]
    if summary.errors:
        rows.append(["errors", ", ".join(f"{count:,} x {kind}" for kind, count in summary.errors.items())])
    if load_test.overlap is not None:
        rows.append(["clients sent together for", percent_text(load_test.overlap)])
    return Table(columns=("figure", "value"), rows=rows)


def _clients_table(load_test: ClientsLoadTest) -> Table:
    names = list(load_test.latency_ms)
    return Table(
        title="Clients",
        columns=(
            "client",
            "requests/s asked",
            "answered per s",
            "samples",
            *(f"{name} ms" for name in names),
            "lag p99 ms",
            "CPU %",
            "remark",
        ),
        rows=[_client_row(client, names) for client in load_test.clients],
    )


def _client_row(client: LoadClientResult, names: list[str]) -> list[Any]:
    part = client.part
    if part is None:
        return [client.host, client.rate_per_s, *[None] * (4 + len(names)), client.lost]
    summary = part.summary
    return [
        client.host,
        client.rate_per_s,
        summary.throughput_per_s,
        summary.samples,
        *(summary.latency_ms.get(name) for name in names),
        summary.lag_ms.get("p99"),
        summary.client_cpu_percent,
        ", ".join(problem.kind for problem in part.problems) or None,
    ]
