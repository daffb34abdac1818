"""The addresses of a plan's hosts: those that an export is given, else those that agents were given, else the names of
the agents, where they are names that can be looked up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

from servefit.errors import SpecError
from servefit.quantities import count_text
from servefit.search.fleet.plan.balancers.servers import check_address, with_port


def parse_addresses(texts: Iterable[str]) -> dict[str, str]:
    """Parse texts such as "rack3-07=10.0.3.7:8000" into addresses by the name of the host; the port may be left out.
    Raises SpecError."""
    addresses: dict[str, str] = {}
    for text in texts:
        name, equals, address = text.partition("=")
        if not (name and equals):
            raise SpecError("address", text, "does not look like rack3-07=10.0.3.7:8000")
        if name in addresses:
            raise SpecError("address", name, "is given twice")
        check_address("address", address)
        addresses[name] = address
    return addresses


def is_looked_up(name: str) -> bool:
    """Return whether this machine finds an address for ``name``."""
    try:
        return bool(socket.getaddrinfo(name, None))
    except (OSError, UnicodeError):
        return False


def server_addresses(
    hosts: Sequence[str],
    *,
    given: Mapping[str, str],
    of_agents: Mapping[str, str],
    port: int,
    is_known: Callable[[str], bool] = is_looked_up,
) -> dict[str, str]:
    """Return the address of each of ``hosts``, with a port: its own, else ``port``.

    Raises SpecError for an address that is ``given`` to none of them, and for a host that has none.
    """
    for name in given:
        if name not in hosts:
            raise SpecError.unknown("address", name, hosts)
    addresses = {**of_agents, **given}
    with_ports = {}
    for host in hosts:
        if host not in addresses and not is_known(host):
            without = sum(name not in addresses for name in hosts)
            others = f", like {count_text(without - 1, 'other host')}," if without > 1 else ""
            raise SpecError(
                "address",
                host,
                f"is the name of an agent{others} that was given no address, and this machine cannot look the name up",
                remedy=f"say --address {host}=10.0.3.7, or start its agent with --address 10.0.3.7",
            )
        with_ports[host] = with_port(addresses.get(host, host), port)
    return with_ports
