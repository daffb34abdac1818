"""A server that runs on this machine without being ours: which processes listen at an address, and what they do."""

from __future__ import annotations

import ipaddress
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from servefit.profiler.drivers.http.resolution import plain_ip
from servefit.profiler.drivers.http.servers import UNKNOWN_USERS, Processes
from servefit.profiler.machine.telemetry import watching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.drivers.http.address import Address
    from servefit.profiler.machine.telemetry import Telemetry


class LocalServer:
    """The server whose processes ``listening`` accept its connections; their descendants are part of it.

    ``name`` is what the first of them is called, ``cpus`` are those that any of its threads may use.
    """

    configuration = None
    envelope = None
    load_s = None
    usual_users = UNKNOWN_USERS

    def __init__(self, name: str, listening: tuple[int, ...], cpus: frozenset[int]) -> None:
        self.name = name
        self.listening = listening
        self.cpus = cpus

    def check(self) -> None:
        """Raise nothing: that it lives is told by its answers alone."""

    @property
    def pids(self) -> tuple[int, ...]:
        """Its processes that live."""
        return _family(self.listening)

    @contextmanager
    def watch(self, others: tuple[int, ...]) -> Iterator[Telemetry | None]:
        pids = self.pids
        if not pids:
            yield None
            return
        with watching(pids, lambda _: 0, others=others) as telemetry:
            yield telemetry

    def calls_by_size(self) -> None:
        """Return nothing: it need not be one of ours."""

    def processes(self) -> Processes:
        """Return nothing of note: how it is meant to be is not known, and its memory is in what was watched."""
        return Processes(threads=(), threads_outside=0, peak_memory_bytes=0)


def local_server(address: Address) -> LocalServer | None:
    """Find the server that listens at ``address``, which is on this machine; None where its processes cannot be seen.

    Processes of other users show themselves to root alone, and those in other containers may not do so at all.
    """
    import psutil

    wanted = plain_ip(address.connects_to[0])
    listening: dict[int, str] = {}
    for opened in psutil.net_connections(kind="tcp"):
        if opened.status != psutil.CONN_LISTEN or not opened.laddr or opened.pid is None:
            continue
        if opened.laddr.port == address.port and _takes(opened.laddr.ip, wanted):
            with suppress(psutil.Error):
                listening[opened.pid] = psutil.Process(opened.pid).name()
    pids = tuple(sorted(listening))
    cpus = frozenset(cpu for pid in _family(pids) for cpu in _cpus(pid))
    return LocalServer(listening[pids[0]], pids, cpus) if cpus else None


def _takes(ip: str, wanted: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether who listens at ``ip`` takes connections to ``wanted``."""
    listening = plain_ip(ip)
    return listening.is_unspecified or wanted.is_unspecified or listening == wanted


def _family(pids: tuple[int, ...]) -> tuple[int, ...]:
    """Return the live ones of the processes, with their descendants."""
    import psutil

    family: set[int] = set()
    for pid in pids:
        with suppress(psutil.Error):
            # If this process serves, its children are the load clients.
            children = [] if pid == os.getpid() else psutil.Process(pid).children(recursive=True)
            family.update((pid, *(child.pid for child in children)))
    return tuple(sorted(family))


def _cpus(pid: int) -> set[int]:
    """Return the CPUs that the threads of a process may run on; none for one that has ended."""
    cpus: set[int] = set()
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                cpus |= os.sched_getaffinity(int(task.name))
    return cpus
