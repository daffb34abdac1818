"""Whether an address is this machine. Load is sent to no other one unless a person has said that this is meant."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from servefit.errors import MeasurementError, SpecError

if TYPE_CHECKING:
    from servefit.profiler.http.address import Address


def check_reach(address: Address, *, allow_remote: bool) -> bool:
    """Whether ``address`` is this machine: all that its name leads to is a loopback, or belongs to an interface here.

    Asks the name service for a name, and sends nothing to the address itself. Raises MeasurementError for a name that
    leads nowhere, and SpecError for another machine, unless ``allow_remote``.
    """
    found = found_addresses(address)
    own = _own_addresses()
    elsewhere = [one for one in found if not (one.is_loopback or one.is_unspecified or one in own)]
    if elsewhere and not allow_remote:
        raise SpecError(
            "url",
            address.url,
            f"is not this machine, but {elsewhere[0]}",
            remedy="say --allow-remote (allow_remote=True) if load may be sent there",
        )
    return not elsewhere


def found_addresses(address: Address) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """What the host of ``address`` leads to, in the order in which it is tried. Raises MeasurementError."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise MeasurementError(
            f"there is no server called {address.host}: {error.strerror}", remedy="correct the URL"
        ) from error
    except UnicodeError as error:  # a name that cannot be one, such as one with an empty part
        raise SpecError("url", address.url, "holds no name of a server") from error
    return tuple(dict.fromkeys(_plain(str(place[0])) for *_, place in found))


def _own_addresses() -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    import psutil

    internet = (socket.AF_INET, socket.AF_INET6)
    return frozenset(
        _plain(one.address) for each in psutil.net_if_addrs().values() for one in each if one.family in internet
    )


def _plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its scope; of an IPv4 address that is written as IPv6, the former."""
    found = ipaddress.ip_address(text.partition("%")[0])
    return (found.ipv4_mapped or found) if isinstance(found, ipaddress.IPv6Address) else found
