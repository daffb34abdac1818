"""The messages between a load client and its parent, pickled over one socket; the Setup lies in memory (see
``driving.setup``).

The order is always the same. Client: Started. Then for every run, parent: Prepare, client: Ready, parent: BeginOpen or
BeginClosed, client: Record. Instead of any answer a client may send a ServefitError, after which it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from servefit.profiler.drivers.http.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """``requests`` are whole and rotate. There are ``clients`` clients. ``timeout_s`` is for connecting and for every
    answer."""

    address: Address
    requests: tuple[bytes, ...]
    clients: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The client is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Open ``connections`` connections for a run, and warm the server up with ``users`` users. For an open loop open as
    many more as ``rate_per_s`` is likely to need, but no more than ``most_connections``: a server that is busy with new
    connections answers late, so that more are needed, and so on."""

    connections: int
    users: int
    rate_per_s: float | None = None
    most_connections: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The server is warm: it has ``answered`` so many requests, while others failed with ``errors``."""

    answered: int
    errors: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginOpen:
    """The shared memory holds a schedule: send its arrivals, from ``start_ns`` on, over at most ``connections``.

    ``spin_ns`` is how long before an arrival the client stops sleeping. When more than ``backlog_cap`` requests wait
    for a connection, the run is over.
    """

    start_ns: int
    spin_ns: int
    connections: int
    backlog_cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginClosed:
    """Users join at ``joins_ns``, int64, ascending, all of them: every client has its share, and they stay until
    ``end_ns``. With ``limits_ns`` the run may be stopped, see ``driving.progress``."""

    joins_ns: np.ndarray
    end_ns: int
    limits_ns: tuple[float, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of a client's part in a run.

    ``requests`` is an int64 array (3, n) of scheduled, started and ended in a closed loop (as in ``Samples``); in an
    open one it is None, and they are in the schedule. ``answered`` are then the numbers of the arrivals that were
    answered, in that order. ``queued`` and ``predicted``, in the order of either, are what the server said of its own
    times, in ns, both None where it said nothing. ``lags`` are as in ``Run``, ``connections`` and ``reconnections`` as
    in ``ClientRecord``. ``between_ns`` is the time that users spent between ``returns`` answers and next requests.
    """

    requests: np.ndarray | None
    answered: np.ndarray | None
    queued: np.ndarray | None
    predicted: np.ndarray | None
    lags: np.ndarray
    between_ns: int
    returns: int
    connections: int
    reconnections: int
    errors: Mapping[str, int]
