"""Load clients for an endpoint that is there already: on which CPUs they live, and what is known of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from servefit.checks import check_above_zero, check_whole
from servefit.profiler.defaults import MAX_CONNECTIONS
from servefit.profiler.drivers.http.clients import start_clients
from servefit.profiler.drivers.http.endpoint_driver import EndpointDriver
from servefit.profiler.drivers.http.local_server import LocalServer, local_server
from servefit.profiler.drivers.http.servers import UnseenServer
from servefit.profiler.drivers.start_driver import MAX_CLIENTS, SERVER_CPUS_PER_CLIENT
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.validity import MAX_FOREIGN, TICK_NS
from servefit.profiler.machine.cpus import client_cpus
from servefit.profiler.procedures.noise.activity import observe_activity
from servefit.quantities import number_text, percent_text, share_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.machine.host import Host
    from servefit.profiler.procedures.target_endpoint import LoadTarget

_CPUS_PER_CLIENT_BESIDE = 4
"""Where the server may be anywhere on this machine, most of it is left to it."""

_OBSERVATION_S = 0.3
"""Thirty steps of the kernel's counters of idle time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The CPUs of the clients: one on each of ``cpus``, and this process on ``own_cpus``, if there are any.

    ``is_here`` says that the endpoint is on this machine, ``server`` what it is, None for what cannot be seen. Clients
    that are not ``apart`` may find it on their CPUs.
    """

    cpus: tuple[int, ...]
    own_cpus: tuple[int, ...]
    is_here: bool
    server: LocalServer | None
    apart: bool

    @property
    def caution(self) -> str | None:
        """A warning for whoever reads the figures; None where there is nothing to warn of."""
        if self.apart:
            return None
        cpus = ", ".join(map(str, self.cpus))
        if self.server is None:
            return f"which CPUs the server uses cannot be seen here; the load client ran on CPU {cpus}"
        called = f"the server ({self.server.name}, process {self.server.listening[0]})"
        return f"{called} may use every CPU of this machine, that of the load client too (CPU {cpus})"


def place_clients(target: LoadTarget, host: Host) -> Placement:
    """Choose CPUs of ``host`` for clients: outside of those that the server may use, where it runs here, if there are
    any."""
    usable = tuple(sorted(cpu.cpu for cpu in host.cpus))
    if not target.is_here:
        return _placed(usable, max(1, len(usable) // SERVER_CPUS_PER_CLIENT), target, None, apart=True)
    server = local_server(target.destination.address)
    beside = max(1, len(usable) // _CPUS_PER_CLIENT_BESIDE)
    outside = () if server is None else client_cpus(host.cpus, server.cpus)
    if server is None or not outside:
        return _placed(usable, beside, target, server, apart=False)
    return _placed(outside, -(-len(server.cpus) // SERVER_CPUS_PER_CLIENT), target, server, apart=True)


def competing_load(placement: Placement, host: Host) -> Problem | None:
    """Return what else is done on the CPUs of server and clients before anything is sent, where it is too much at a
    second look too.

    A server that is seen, and all that it started, is no competition, and neither is this process; what serves behind
    another server is idle by then. Who else is busy while there is load cannot be told as surely.
    """
    return _seen_load(placement, host) and _seen_load(placement, host)


def _seen_load(placement: Placement, host: Host) -> Problem | None:
    """Look once for what ``competing_load`` is about."""
    usable = frozenset(cpu.cpu for cpu in host.cpus)
    server = placement.server
    cpus = set(placement.cpus)
    if placement.is_here:
        cpus |= usable if server is None else server.cpus & usable
    seen = observe_activity(cpus, seconds=_OBSERVATION_S, beside=() if server is None else server.pids)
    allowed = MAX_FOREIGN * len(cpus)
    used = (seen.foreign_percent or 0.0) / 100
    if used - TICK_NS * len(cpus) / (1e9 * seen.over_s) <= allowed:
        return None
    names = ", ".join(f"{busy.name} {number_text(busy.cpu_percent)} %" for busy in seen.competitors)
    return Problem(
        kind="competing load",
        reason=f"other processes used {share_text(used, 'a CPU')} before anything was sent, {percent_text(allowed)} "
        f"are allowed: {names or 'none of them can be seen from here'}",
        remedy="stop them; servefit host names them",
    )


@contextmanager
def clients_at(
    target: LoadTarget,
    placement: Placement,
    *,
    rows_per_request: int = 1,
    connections: int | None = None,
    timeout_s: float = 10.0,
) -> Iterator[EndpointDriver]:
    """Start load clients that send what ``target`` holds to its endpoint; gone on exit.

    An open loop uses up to ``connections``. Who has not connected, or answered, after ``timeout_s`` has failed. Raises
    SpecError for numbers that make no sense, and as ``start_clients`` does.
    """
    check_numbers(rows_per_request=rows_per_request, connections=connections, timeout_s=timeout_s)
    with start_clients(
        target.destination,
        target.rows,
        placement.server or UnseenServer(),
        cpus=placement.cpus,
        own_cpus=placement.own_cpus,
        # Then they do not spin.
        shares_cpus=not placement.apart,
        connections=MAX_CONNECTIONS if connections is None else connections,
        rows_per_request=rows_per_request,
        timeout_s=timeout_s,
    ) as driver:
        yield EndpointDriver(driver, apart=placement.apart)


def with_own_remedy(problem: Problem, placement: Placement) -> Problem:
    """Return ``problem``, of a run by these clients, with a remedy for whoever has an endpoint and not a model."""
    match problem.kind:
        case "client on the server's CPUs":
            cpus = ",".join(map(str, placement.own_cpus)) or "LIST"
            return replace(
                problem,
                reason="the load client took CPU time from the server, which may use every CPU of this machine",
                remedy=f"start the server with taskset -c {cpus}, or load it from another machine",
            )
        case "client saturated" | "client behind":
            return replace(problem, remedy="load it from a machine with more CPUs, or with more rows in a request")
    return problem


def check_numbers(*, rows_per_request: int, connections: int | None, timeout_s: float) -> None:
    """Raise SpecError for those that are not above zero, or too large to be meant."""
    # A greater number is a typing error; an address has no more than 65,536 ports to connect from.
    check_whole("rows_per_request", rows_per_request, least=1, most=1_000_000)
    if connections is not None:
        check_whole("connections", connections, least=1, most=65_536)
    check_above_zero("timeout", timeout_s, most=3600)


def _placed(
    cpus: tuple[int, ...], clients: int, target: LoadTarget, server: LocalServer | None, *, apart: bool
) -> Placement:
    clients = min(clients, len(cpus), MAX_CLIENTS)
    return Placement(cpus=cpus[:clients], own_cpus=cpus[clients:], is_here=target.is_here, server=server, apart=apart)
