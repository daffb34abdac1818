"""``servefit export JOB --balancer``: the configuration of a load balancer in front of the fleet that a job planned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.cli.output import Format, emit, warn
from servefit.errors import SpecError
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.fleet.plan.fleet_plan import FleetPlan

DEFAULT_PORT = 8080
"""The port of the endpoints, and of the balancer: that of ``servefit serve``."""


def export_balancer(job: str, balancer: str, folder: Path, *, port: int, storage: str | None, form: Format) -> None:
    """Write the configuration of ``balancer`` into ``folder``, which is new or empty, and say what is in it.

    Raises SpecError for another folder, a job that has no plan, an unknown balancer and hosts whose names are no
    addresses; StateError where the file cannot be written.
    """
    from servefit.search.deployment.bundle.writing import check_free
    from servefit.search.fleet.answer import cheapest_first, plan_of
    from servefit.search.fleet.fleet_job import read_fleet_job
    from servefit.search.fleet.plan.balancers.kinds import BALANCERS, parse_balancer
    from servefit.search.fleet.plan.balancers.servers import Server
    from servefit.search.fleet.plan.fleet_plan import FleetPlan
    from servefit.search.storage.jobs import JobStore
    from servefit.state import write_atomically, writing

    kind = parse_balancer(balancer)
    with JobStore.open(storage) as store:
        if not store.job(job).header.hosts:
            raise SpecError("job", job, "does not measure on a fleet", remedy="servefit recommend --fleet plans one")
        found = read_fleet_job(store, job)
    plan = plan_of(found, balancer=kind)
    if not isinstance(plan, FleetPlan):
        raise SpecError(
            "job",
            job,
            "has no plan: no rate was asked for, or its hosts do not carry it",
            remedy=f"servefit show {job} says why",
        )
    classes = cheapest_first(found)
    servers = [
        Server(name=name, address=f"{name}:{port}", weight=row.weight)
        for row in plan.fleet.rows
        for name in classes[row.offer.host_class][: row.hosts]
    ]
    made = BALANCERS[kind]
    path = folder / made.file_name
    check_free(folder)
    with writing(folder, variable=None):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(path, made.configure("servefit", servers, port=port).encode(), variable=None)
    for warning in plan.warnings:
        warn(warning)
    _tell(plan, servers_by_name={server.name: server.weight for server in servers}, path=path, form=form)


def _tell(plan: FleetPlan, *, servers_by_name: dict[str, int], path: Path, form: Format) -> None:
    document = {
        "schema": 1,
        "output": str(path),
        "balancer": plan.balancer,
        "rate_per_s": plan.rate_per_s,
        "weights": servers_by_name,
        "rate_must_fall_by": plan.rate_must_fall_by,
    }
    emit(
        Table(title=str(path), columns=("server", "weight"), rows=[list(each) for each in servers_by_name.items()]),
        document,
        form,
    )
