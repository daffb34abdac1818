"""The resolution of an address, once, and the guard of other machines: load is sent to none unless a person allows
it."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from servefit.errors import MeasurementError, SpecError

if TYPE_CHECKING:
    from servefit.profiler.drivers.http.address import Address


class ResolvedAddress(NamedTuple):
    """``address`` with the one numeric address that everything goes to. ``is_here`` says that it is this machine."""

    address: Address
    is_here: bool


def resolve_address(address: Address, *, allow_remote: bool, timeout_s: float = 10.0) -> ResolvedAddress:
    """Look ``address`` up once: the run uses the IP address that was checked, even if the name changes later.

    The address is of this machine if all IP addresses of its name are loopbacks or belong to an interface here. The
    first that accepts a connection within ``timeout_s`` is used; nothing is sent. Raises MeasurementError for an
    unknown name, and SpecError for another machine, unless ``allow_remote``.
    """
    ips = _looked_up(address)
    own = _own_addresses()
    elsewhere = [ip for ip in map(plain_ip, ips) if not (ip.is_loopback or ip.is_unspecified or ip in own)]
    if elsewhere and not allow_remote:
        raise SpecError(
            "url",
            address.url,
            f"is not this machine, but {elsewhere[0]}",
            remedy="say --allow-remote (allow_remote=True) if load may be sent there",
        )
    return ResolvedAddress(replace(address, ip=_answering(ips, address.port, timeout_s)), not elsewhere)


def _looked_up(address: Address) -> list[str]:
    """Return the IP addresses of the host of ``address``, in the order of trials. Raises MeasurementError."""
    try:
        places = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise MeasurementError(
            f"there is no server called {address.host}: {error.strerror}", remedy="correct the URL"
        ) from error
    except UnicodeError as error:  # an invalid name, such as one with an empty part
        raise SpecError("url", address.url, "holds no name of a server") from error
    return list(dict.fromkeys(str(place[0]) for *_, place in places))


def _answering(ips: Sequence[str], port: int, timeout_s: float) -> str:
    """Return the first of ``ips`` with a listener; without any, the first one, whose error the load reports."""
    for ip in ips if len(ips) > 1 else ():
        with suppress(OSError), socket.create_connection((ip, port), timeout=timeout_s):
            return ip
    return ips[0]


def _own_addresses() -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    import psutil

    internet = (socket.AF_INET, socket.AF_INET6)
    return frozenset(
        plain_ip(address.address)
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in internet
    )


def plain_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without its scope; an IPv4 address mapped into IPv6 is returned as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
