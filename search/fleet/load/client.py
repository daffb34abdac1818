"""A client of a load, on the host of its agent: finds out what the endpoint speaks, is ready, begins with the others,
and measures by its own clock."""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.payload.bodies import Bodies
from servefit.backends.payload.types import unused_warning
from servefit.errors import SpecError
from servefit.processes import boot_id
from servefit.profiler.evidence.problem import one_of_each_kind
from servefit.profiler.evidence.summary import summarize
from servefit.profiler.procedures.decided_runs import problems_of
from servefit.profiler.procedures.load_clients import clients_at, competing_load, place_clients, with_own_remedy
from servefit.profiler.procedures.target_endpoint import resolve_target
from servefit.profiler.record.traffic import OpenLoop
from servefit.search.fleet.database import FleetDatabase
from servefit.search.fleet.load.recording import blocks_of, late_s, seconds_of
from servefit.search.fleet.load.start_line import StartLine
from servefit.search.fleet.load_orders import LoadClient, LoadPart
from servefit.search.storage.addresses import parse_address
from servefit.search.storage.blobs import Blobs
from servefit.search.storage.jobs import JobStore
from servefit.state import temporary_folder

if TYPE_CHECKING:
    from servefit.profiler.procedures.load_clients import Placement
    from servefit.profiler.procedures.target_endpoint import LoadTarget
    from servefit.search.fleet.load_orders import LoadPayload


def send_load(asked: LoadClient, token: str, storage: str) -> LoadPart:
    """Carry out ``asked``, the order of that token in the fleet at ``storage``. The measuring slot is held.

    Raises SpecError, PayloadMismatch and MeasurementError as ``load_endpoint``, and where the start was missed;
    StorageError where the payload cannot be had.
    """
    from servefit.profiler.machine.host import describe_host

    target = _target(asked, storage)
    _check_loopback(target, asked)
    host = describe_host()
    placement = place_clients(target, host)
    busy = competing_load(placement, host)
    traffic = OpenLoop(rate_per_s=asked.rate_per_s, duration_s=asked.duration_s, seed=asked.seed)
    database = FleetDatabase(parse_address(storage))
    line = StartLine(database, token, within_s=asked.start_within_s)
    try:
        with clients_at(
            target,
            placement,
            rows_per_request=asked.rows_per_request,
            connections=asked.connections,
            timeout_s=asked.timeout_s,
        ) as driver:
            run = driver.run(traffic, begins_at=line.wait)
            problems = problems_of(driver, run, asked.limit_ms)
    finally:
        database.close()
    seen = problems if busy is None else (*problems, busy)
    began_ns, ended_ns = run.plateau_ns
    return LoadPart(
        endpoint=target.destination.address.url,
        protocol=target.destination.form,
        model=target.destination.model,
        payload=target.payload,
        synthetic=target.synthetic,
        is_here=target.is_here,
        began_s=line.clock.database_s(began_ns),
        ended_s=line.clock.database_s(ended_ns),
        clock_within_s=line.clock.within_ns / 1e9,
        late_s=late_s(run),
        backlog=run.stopped == "backlog",
        summary=summarize(run, percentiles=asked.percentiles),
        blocks=blocks_of(run),
        seconds=seconds_of(run),
        cpus=placement.cpus,
        problems=one_of_each_kind(with_own_remedy(problem, placement) for problem in seen),
        warnings=_warnings(target, placement),
    )


def _target(asked: LoadClient, storage: str) -> LoadTarget:
    resolve = partial(
        resolve_target,
        asked.url,
        protocol=asked.protocol,
        model=asked.model,
        rows_per_request=asked.rows_per_request,
        seed=asked.rows_seed,
        timeout_s=asked.timeout_s,
        allow_remote=asked.allow_remote,
    )
    if asked.payload is None:
        return resolve()
    # The name says how it is read.
    name = Path(asked.payload.name).name
    with temporary_folder("load") as folder:
        _write(asked.payload, folder / name, storage)
        return replace(resolve(payload=_bodies_or_rows(asked.payload, folder / name)), payload=name)


def _bodies_or_rows(payload: LoadPayload, path: Path) -> Path | Bodies:
    """Return what the file at ``path`` holds, as it was given."""
    if not payload.bodies:
        return path
    return Bodies(source=path, content_type=payload.content_type, accept=payload.accept, each_line=payload.each_line)


def _write(payload: LoadPayload, path: Path, storage: str) -> None:
    if payload.content is not None:
        path.write_bytes(base64.b64decode(payload.content))
    elif payload.digest is not None:
        with JobStore.open(storage) as store:
            Blobs.of(store).fetch(payload.digest, path)


def _check_loopback(target: LoadTarget, asked: LoadClient) -> None:
    """Raise SpecError for an address that means another endpoint on every host, unless it was given on this host."""
    ip = target.destination.address.ip
    if ip is not None and ip_address(ip.partition("%")[0]).is_loopback and boot_id() != asked.boot:
        raise SpecError(
            "url",
            asked.url,
            "is another endpoint on every host",
            remedy="give the address at which all clients reach it",
        )


def _warnings(target: LoadTarget, placement: Placement) -> tuple[str, ...]:
    lines = [] if placement.caution is None else [placement.caution]
    if target.synthetic:
        lines.append("synthetic payload: rows are random numbers, not your traffic; give one with --payload")
    if target.truncated_from is not None:
        lines.append(f"the first {len(target.rows):,} of {target.truncated_from:,} rows of the payload are used")
    return (*lines, *unused_warning(target.payload, target.unused_columns))
