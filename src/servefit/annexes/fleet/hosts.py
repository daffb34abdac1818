"""``servefit fleet init``, ``hosts``, ``drain`` and ``forget``: the fleet as its owner keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from servefit.cli.output import FormatOption, OutputFormat, emit, print_line, warn
from servefit.cli.signatures import option
from servefit.option_panels import MACHINE, OUTPUT
from servefit.quantities import size_text, span_text
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.fleet.host import HostState
    from servefit.search.fleet.registry import Registry

FleetStorageOption = Annotated[
    str | None,
    option(
        "Database of the fleet, such as postgresql://user@server/jobs. Default: what SERVEFIT_STORAGE says.",
        OUTPUT,
        "URL",
        "--storage",
        variable="SERVEFIT_STORAGE",
    ),
]
HostArgument = Annotated[str, typer.Argument(metavar="HOST", help="The name of its agent.")]


def init(
    storage: FleetStorageOption = None,
    silent_after: Annotated[
        str | None,
        option("A host whose agent says nothing for so long gets no orders.", MACHINE, "60s"),
    ] = None,
    lost_after: Annotated[
        str | None,
        option("What it was asked for is given up after so long.", MACHINE, "120s"),
    ] = None,
    agent_role: Annotated[
        list[str] | None,
        option(
            "A role of the database that gets the rights of agents and no others: it answers for hosts that it "
            "has registered itself. Repeat it, one for each host.",
            MACHINE,
            "ROLE",
        ),
    ] = None,
) -> None:
    """Make what a fleet keeps in a database, PostgreSQL 13 or later, where it is not there.

    Without --agent-role agents have the rights of whoever begins jobs: each may write the results of all hosts.

    Example: servefit fleet init --storage postgresql://fleet@db.lan/servefit --agent-role rack3_07
    """
    from servefit.quantities import parse_duration_s
    from servefit.search.fleet.host import USUAL, Leases
    from servefit.search.fleet.making import bind_agents, make_fleet

    leases = None
    if silent_after is not None or lost_after is not None:
        leases = Leases(
            silent_s=USUAL.silent_s if silent_after is None else parse_duration_s("silent_after", silent_after),
            lost_s=USUAL.lost_s if lost_after is None else parse_duration_s("lost_after", lost_after),
        )
    made = make_fleet(storage, leases)
    for line in bind_agents(storage, agent_role or ()):
        warn(line)
    print_line(f"{made.shown} holds a fleet: start an agent on each host with servefit agent --storage URL")


def hosts(
    storage: FleetStorageOption = None,
    form: FormatOption = OutputFormat.TABLE,
) -> None:
    """List the hosts of a fleet, and what their agents are at.

    Example: servefit fleet hosts --storage postgresql://fleet@db.lan/servefit
    """
    with _registry(storage) as registry:
        states = registry.hosts()
        for unreadable in registry.unreadable():
            warn(unreadable)
    if not states and form is OutputFormat.TABLE:
        print_line("no agent was ever here: start one on each host with servefit agent --storage URL")
        return
    columns = (
        "host",
        "address",
        "status",
        "doing",
        "CPUs",
        "cores",
        "CPU",
        "memory",
        "labels",
        "servefit",
        "fingerprint",
    )
    emit(Table(columns=columns, rows=[_cells(state) for state in states]), [_document(state) for state in states], form)


def drain(
    host: HostArgument,
    back: Annotated[bool, option("Give it orders again.", MACHINE)] = False,
    storage: FleetStorageOption = None,
) -> None:
    """Give a host no more orders. What it is at is carried out to its end.

    Example: servefit fleet drain rack3-07
    """
    with _registry(storage) as registry:
        registry.drain(host, drained=not back)
    print_line(f"{host} gets {'orders again' if back else 'no more orders'}")


def forget(host: HostArgument, storage: FleetStorageOption = None) -> None:
    """Delete what is known of a host whose agent has ended. What jobs measured on it stays.

    Example: servefit fleet forget rack3-07
    """
    with _registry(storage) as registry:
        registry.forget(host)
    print_line(f"{host} is forgotten")


@contextmanager
def _registry(storage: str | None) -> Iterator[Registry]:
    from servefit.search.fleet.database import FleetDatabase, fleet_address, fleet_leases
    from servefit.search.fleet.registry import Registry

    address = fleet_address(storage)
    database = FleetDatabase(address)
    try:
        yield Registry(database, address, fleet_leases(database, address))
    finally:
        database.close()


def _cells(state: HostState) -> tuple[Any, ...]:
    host = state.host.host
    return (
        state.host.name,
        state.host.address,
        state.status,
        _doing(state),
        host.logical_cpus,
        host.physical_cores,
        host.cpu_model,
        size_text(host.memory_bytes),
        " ".join(f"{key}={value}" for key, value in state.host.labels),
        state.host.servefit,
        host.fingerprint,
    )


def _doing(state: HostState) -> str:
    if state.status in ("silent", "gone"):
        return f"for {span_text(state.silent_s)}"
    return state.doing


def _document(state: HostState) -> dict[str, Any]:
    host = state.host.host
    return {
        "name": state.host.name,
        "address": state.host.address or None,
        "status": state.status,
        "doing": state.doing or None,
        "silent_s": state.silent_s,
        "agent": state.process or None,
        "labels": dict(state.host.labels),
        "cost": dict(state.host.cost),
        "trust_pickle": state.host.trust_pickle,
        "trust_code": state.host.trust_code,
        "logical_cpus": host.logical_cpus,
        "physical_cores": host.physical_cores,
        "cpu_model": host.cpu_model,
        "memory_bytes": host.memory_bytes,
        "gpus": [gpu.model for gpu in host.gpus],
        "servefit": state.host.servefit,
        "schema": state.host.schema,
        "fingerprint": host.fingerprint,
    }
