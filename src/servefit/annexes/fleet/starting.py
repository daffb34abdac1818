"""``servefit fleet start``: agents started over SSH, in the foreground, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from servefit.annexes.fleet.hosts import FleetStorageOption
from servefit.cli.options import QuietOption
from servefit.cli.output import FormatOption, OutputFormat, emit, print_note
from servefit.cli.signatures import option
from servefit.cli.status import INTERRUPTED, NOTHING_MEASURED
from servefit.option_panels import MACHINE
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.fleet.launching.inventory import InventoryHost
    from servefit.search.fleet.launching.starting import HostOutcome, StartPauses
    from servefit.search.fleet.launching.tunnel import TunnelledDatabase

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def start(
    hosts: Annotated[
        Path,
        option("The hosts, as TOML.", MACHINE, "hosts.toml"),
    ],
    start_within: Annotated[
        str | None,
        option("Give a host up that was not started by then. Default: try again until Ctrl-C.", MACHINE, "10m"),
    ] = None,
    storage: FleetStorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
    quiet: QuietOption = False,
) -> None:
    """Start an agent on each host over SSH, with keys alone, and keep them until Ctrl-C.

    Agents reach the database through the connection (ssh -R), and end with it. A host that is lost is started again.
    hosts.toml has a table [host.NAME] for each host, with ssh = "user@address"; python, port, identity, options,
    labels, cost, idle_exit, allow_env, trust_pickle and trust_code are optional there, and in [defaults].

    Exit status: 0 when all agents have ended, or were told to by Ctrl-C; 2 for an error in hosts.toml; 4 when a host
    could not be started, or was given up; 130 when a second Ctrl-C cut the end short.

    Example: servefit fleet start --hosts hosts.toml --storage postgresql://fleet@db.lan/servefit
    """
    from servefit.quantities import parse_duration_s
    from servefit.search.fleet.launching.inventory_file import read_inventory
    from servefit.search.fleet.launching.starting import StartPauses
    from servefit.search.fleet.launching.tunnel import tunnelled

    within_s = None if start_within is None else parse_duration_s("start_within", start_within)
    inventory = read_inventory(hosts)
    database = tunnelled(storage)
    database.check()
    outcomes = asyncio.run(_keep(inventory, database, StartPauses(within_s=within_s), quiet=quiet))
    if outcomes is None:
        print_note("servefit: interrupted")
        raise typer.Exit(INTERRUPTED)
    _print_outcomes(outcomes, form)
    if any(outcome.failed for outcome in outcomes):
        raise typer.Exit(NOTHING_MEASURED)


async def _keep(
    inventory: Sequence[InventoryHost], database: TunnelledDatabase, pace: StartPauses, *, quiet: bool
) -> tuple[HostOutcome, ...] | None:
    """Keep the agents until a signal says stop; None where a second one does not wait for their end."""
    from servefit.search.fleet.launching.starting import keep_agents

    stop = asyncio.Event()
    keeping = asyncio.ensure_future(
        keep_agents(inventory, database, stop=stop, tell=_silent if quiet else _tell, pace=pace)
    )
    loop = asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        if not stop.is_set():
            stop.set()
            if not quiet:
                print_note("agents are told to end")
        # Some programs send SIGHUP beside another, and once is enough.
        elif number is not signal.SIGHUP and not keeping.cancelling():
            keeping.cancel()

    for number in _SIGNALS:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, end, number)
    try:
        return await keeping
    except asyncio.CancelledError:
        return None


def _tell(host: str, what: str) -> None:
    print_note(f"{time.strftime('%H:%M:%S')} {host}: {what}")


def _silent(_: str, __: str) -> None:
    """Without progress."""


def _print_outcomes(outcomes: Sequence[HostOutcome], form: OutputFormat) -> None:
    from servefit.quantities import span_text

    table = Table(
        title="Agents",
        columns=("host", "state", "starts", "up", "reason"),
        rows=[
            [
                outcome.name,
                outcome.state,
                outcome.starts,
                span_text(outcome.up_s) if outcome.starts else None,
                outcome.reason,
            ]
            for outcome in outcomes
        ],
    )
    fields = ("name", "state", "starts", "up_s", "reason")
    document = {
        "schema": 1,
        "hosts": [{field: getattr(outcome, field) for field in fields} for outcome in outcomes],
    }
    emit(table, document, form)
