"""The servers behind a balancer, as its configuration names them. Nothing that is checked here can end a line of a
configuration or begin another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from servefit.checks import check_whole
from servefit.errors import SpecError

MAX_PORT = 65535

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_ADDRESS = re.compile(r"(?:\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:\[\]]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A host that serves: its name, its address as "10.0.0.7:8000", "[fd00::7]:8000" or "rack3-07.lan:8000", and its
    weight.

    Raises SpecError where a name or an address is none, and for a weight below one.
    """

    name: str
    address: str
    weight: int

    def __post_init__(self) -> None:
        check_name("host", self.name)
        _parsed(self.address)
        check_whole(f"weight of {self.name}", self.weight, least=1)

    @property
    def host(self) -> str:
        """The address without its port, and an IPv6 address without brackets."""
        return _parsed(self.address)[0]

    @property
    def port(self) -> int:
        """The port of the address."""
        return _parsed(self.address)[1]

    @property
    def is_numeric(self) -> bool:
        """Whether the address is one that nobody needs to look up."""
        return _is_ip(self.host)


def check_address(field: str, address: str) -> None:
    """Raise SpecError for what is no address of a host, with or without a port."""
    with_port(address, MAX_PORT, field=field)


def with_port(address: str, port: int, *, field: str = "address") -> str:
    """Return ``address`` with its port: its own, else ``port``. Raises SpecError for what is no address."""
    if not isinstance(address, str) or _ADDRESS.fullmatch(address):
        whole = address
    else:
        whole = f"[{address}]:{port}" if _is_ipv6(address) else f"{address}:{port}"
    try:
        _parsed(whole)
    except SpecError as error:
        wanted = "is not an address such as 10.0.0.7, 10.0.0.7:8000 or rack3-07.lan"
        raise SpecError(field, address, wanted) from error
    return whole


def check_name(field: str, name: str) -> None:
    """Raise SpecError for a name that not every balancer takes."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(
            field, name, "is not a name for a balancer", remedy="use up to 63 letters, digits, dots, dashes and _"
        )


def check_servers(servers: Sequence[Server], *, most_weight: int, balancer: str) -> None:
    """Raise SpecError where there are no servers, two have one name or one address, or a weight is too large."""
    if not servers:
        raise SpecError("servers", None, "are none", remedy="give the hosts of a plan")
    names, addresses = set(), set()
    for server in servers:
        check_whole(f"weight of {server.name} for {balancer}", server.weight, least=1, most=most_weight)
        if server.name in names:
            raise SpecError("host", server.name, "is there twice")
        address = server.host.lower(), server.port
        if address in addresses:
            raise SpecError("address", server.address, "is of two hosts")
        names.add(server.name)
        addresses.add(address)


def check_port(port: int) -> None:
    """Raise SpecError for a port that cannot be listened on."""
    check_whole("port", port, least=1, most=MAX_PORT)


def _parsed(address: str) -> tuple[str, int]:
    """Return host and port. Raises SpecError."""
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    wanted = "is not an address such as 10.0.0.7:8000 or [fd00::7]:8000"
    if match is None:
        raise SpecError("address", address, wanted)
    host, port = match["bracketed"] or match["plain"] or "", int(match["port"])
    is_valid = _is_ipv6(host) if match["bracketed"] is not None else is_host_name(host)
    if not is_valid or not 1 <= port <= MAX_PORT:
        raise SpecError("address", address, wanted)
    return host, port


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_ipv6(host: str) -> bool:
    return "%" not in host and _is_ip(host) and isinstance(ip_address(host), IPv6Address)


def is_host_name(host: str) -> bool:
    """Return whether ``host`` is a name or an IPv4 address. An address with a mistake is no name: no top-level domain
    is a number."""
    return _HOST_NAME.fullmatch(host) is not None and (_is_ip(host) or not host.rpartition(".")[2].isdigit())
