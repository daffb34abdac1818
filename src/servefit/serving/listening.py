"""The sockets that an endpoint listens on."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from contextlib import suppress
from ipaddress import ip_address

from servefit.checks import check_whole
from servefit.errors import SpecError

_BACKLOG = 4096
"""As many as a worker keeps; the kernel takes less where net.core.somaxconn is less."""

_SO_ATTACH_FILTER = 26
"""As <asm-generic/socket.h> has it; Python's socket does not."""

# Of a TCP segment: load the byte with the flags; drop it if SYN is set, else let it pass. (linux/filter.h)
_NO_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def bind(host: str, port: int) -> tuple[socket.socket, ...]:
    """Return sockets for every address that ``host`` has, bound to one port and not yet listening. Raises SpecError."""
    check_whole("port", port, least=0, most=65535)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SpecError("host", host, f"is not an address of this machine: {error.strerror}") from error
    bound: list[socket.socket] = []
    failure: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(addresses):
        try:
            bound.append(_bound(family, (address[0], port, *address[2:]), alone=len(addresses) == 1))
        except OSError as error:
            # A name may resolve to an address family that the host lacks.
            failure = error
            if error.errno != errno.EADDRNOTAVAIL:
                break
        else:
            port = bound[0].getsockname()[1]
    else:
        if bound:
            return tuple(bound)
    for listening in bound:
        listening.close()
    reason = "" if failure is None else failure.strerror
    raise SpecError(
        "port", port, f"cannot be listened on at {host}: {reason}", remedy="name another port, or 0 for any"
    )


def _bound(family: socket.AddressFamily, address: tuple[object, ...], *, alone: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it. An answer is one write, and must not wait for others.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not alone)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    bound.setblocking(False)
    return bound


def is_reachable(bound: socket.socket) -> bool:
    """Return whether other machines can reach it."""
    address: str = bound.getsockname()[0]
    return not ip_address(address.partition("%")[0]).is_loopback


def listen(bound: socket.socket) -> None:
    """Take connections from now on."""
    bound.listen(_BACKLOG)


def refuse_more(listening: socket.socket) -> None:
    """Take no new connections. Those that clients have opened already can still be accepted, and none of them is lost
    between the last look at the queue and the end of it."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in _NO_SYN))
    with suppress(OSError):
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
        )
