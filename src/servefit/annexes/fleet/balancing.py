"""``servefit export JOB --balancer``: the configuration of a load balancer in front of the fleet that a job planned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.cli.output import OutputFormat, emit, warn
from servefit.errors import SpecError
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.fleet.plan.balancers.servers import Server
    from servefit.search.fleet.plan.fleet_plan import FleetPlan
    from servefit.search.storage.jobs import JobStore


def export_balancer(
    job: str,
    balancer: str,
    folder: Path,
    *,
    port: int,
    addresses: Sequence[str],
    storage: str | None,
    form: OutputFormat,
) -> None:
    """Write the configuration of ``balancer`` into ``folder``, which is new or empty, and say what is in it.
    ``addresses`` are texts such as "rack3-07=10.0.3.7:8000", for hosts whose agents were given none, or another one.

    Raises SpecError for another folder, a job that has no plan, an unknown balancer and hosts without an address;
    StateError where the file cannot be written.
    """
    from servefit.search.deployment.bundle.writing import check_free
    from servefit.search.fleet.answer import cheapest_first, plan_of
    from servefit.search.fleet.fleet_job import read_fleet_job
    from servefit.search.fleet.plan.balancers.addresses import parse_addresses, server_addresses
    from servefit.search.fleet.plan.balancers.kinds import BALANCERS, parse_balancer
    from servefit.search.fleet.plan.balancers.patience import answer_s
    from servefit.search.fleet.plan.balancers.servers import Server
    from servefit.search.fleet.plan.fleet_plan import FleetPlan
    from servefit.search.storage.jobs import JobStore
    from servefit.state import write_atomically, writing

    kind, own_addresses = parse_balancer(balancer), parse_addresses(addresses)
    with JobStore.open(storage) as store:
        if not store.job(job).header.hosts:
            raise SpecError("job", job, "does not measure on a fleet", remedy="servefit recommend --fleet plans one")
        fleet_job = read_fleet_job(store, job)
        of_agents = _addresses_of_agents(store, storage)
    plan = plan_of(fleet_job, balancer=kind)
    if not isinstance(plan, FleetPlan):
        raise SpecError(
            "job",
            job,
            "has no plan: no rate was asked for, or its hosts do not carry it",
            remedy=f"servefit show {job} says why",
        )
    classes = cheapest_first(fleet_job)
    weights = {name: row.weight for row in plan.fleet.rows for name in classes[row.offer.host_class][: row.hosts]}
    places = server_addresses(list(weights), given=own_addresses, of_agents=of_agents, port=port)
    servers = [Server(name=name, address=places[name], weight=weight) for name, weight in weights.items()]
    made = BALANCERS[kind]
    path = folder / made.file_name
    check_free(folder)
    text = made.configure("servefit", servers, port=port, answer_s=answer_s(fleet_job.header.request.sla))
    with writing(folder, variable=None):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode(), variable=None)
    for warning in plan.warnings:
        warn(warning)
    _tell(plan, servers, path=path, form=form)


def _addresses_of_agents(store: JobStore, storage: str | None) -> dict[str, str]:
    """Return the addresses of hosts by name, as their agents were started last."""
    from servefit.search.fleet.database import fleet_address, fleet_leases
    from servefit.search.fleet.registry import Registry

    address = fleet_address(storage)
    hosts = Registry(store.database, address, fleet_leases(store.database, address)).hosts()
    return {state.host.name: state.host.address for state in hosts if state.host.address}


def _tell(plan: FleetPlan, servers: Sequence[Server], *, path: Path, form: OutputFormat) -> None:
    document = {
        "schema": 1,
        "output": str(path),
        "balancer": plan.balancer,
        "rate_per_s": plan.rate_per_s,
        "weights": {server.name: server.weight for server in servers},
        "addresses": {server.name: server.address for server in servers},
        "rate_must_fall_by": plan.rate_must_fall_by,
    }
    rows = [[server.name, server.address, server.weight] for server in servers]
    emit(Table(title=str(path), columns=("server", "address", "weight"), rows=rows), document, form)
