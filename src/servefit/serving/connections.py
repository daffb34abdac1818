"""All connections of a worker: taken from the supervisor, checked every now and then, and ended when it stops.

All of them are checked once a second, in place of a timer for each, so times are kept to within that.
"""

from __future__ import annotations

import ctypes
import socket
from typing import TYPE_CHECKING

from servefit.serving.admission import AdmissionControl
from servefit.serving.connection import Connection
from servefit.serving.hang_detection import CHECKS_PER_TIMEOUT, HEARTBEAT_INTERVAL_S
from servefit.serving.messages import Refused
from servefit.serving.replying import ReplyWriter
from servefit.serving.time_slices import TimeSlices

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    from servefit.serving.config import Limits
    from servefit.serving.connection import Responder
    from servefit.serving.counters import WorkerCounters
    from servefit.serving.reading import HeadCache

QUIET_S = 1.0
"""While a worker stops, a connection that nothing came on for so long is closed. Clients that are quicker than this
lose no request that they had sent on a kept connection before they could know."""

_DRAINING_CHECK_INTERVAL_S = 0.1
"""A tenth of QUIET_S, so that it is kept to within that."""

_PROGRESS_BYTES = 65_536
"""A client that reads less than this within a time-out, some 6 KiB a second, hardly reads. Chosen, not measured."""

_WORTH_IT_BYTES = 2**20
"""Looking for memory to give back takes a millisecond or so: less is not worth it."""


class Connections:
    """Has every whole request answered by ``responder``, and ends connections that exceed ``limits``. Each check is a
    sign of life of the worker."""

    def __init__(self, responder: Responder, limits: Limits, counters: WorkerCounters, loop: AbstractEventLoop) -> None:
        self.responder = responder
        self.limits = limits
        self.counters = counters
        self.reply_writer = ReplyWriter()
        self.heads: HeadCache = {}
        self.time_slices = TimeSlices(loop)
        self.draining = False
        self.time = loop.time
        self.admission: AdmissionControl[Connection] = AdmissionControl(limits.connections, loop.time)
        self._loop = loop
        self._attaching: set[Task[None]] = set()
        self._heads = _ReceivedBytes()
        self._bodies = _ReceivedBytes()
        self._idle_timeout_s = limits.idle_timeout_s
        patience_s = min(limits.read_timeout_s, limits.idle_timeout_s, limits.call_timeout_s)
        self._check_interval_s = min(HEARTBEAT_INTERVAL_S, patience_s / CHECKS_PER_TIMEOUT)
        self._unsent_bytes: dict[Connection, int] = {}
        loop.call_later(self._check_interval_s, self._check_all)

    def __len__(self) -> int:
        return len(self.admission) + len(self._attaching)

    def has_unanswered(self) -> bool:
        """Return whether a client waits for an answer, or for the rest of one, or has not been heard yet."""
        return bool(self._attaching) or any(
            connection.has_requests or connection.unsent_bytes for connection in self.admission.all()
        )

    def take(self, accepted: socket.socket | None) -> None:
        """Speak HTTP on ``accepted``; None is a connection that this process had no descriptor for."""
        if accepted is None:
            self.counters.closed_connection(was_open=False)
            return
        task = self._loop.create_task(self._attach(accepted))
        self._attaching.add(task)
        task.add_done_callback(self._attaching.discard)

    async def _attach(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self, accepted), accepted)
        except OSError:
            # The client has gone already.
            accepted.close()
            self.counters.closed_connection(was_open=False)

    def add(self, connection: Connection) -> None:
        self.counters.opened_connection()
        self.admission.admit(connection)

    def remove(self, connection: Connection) -> None:
        self.admission.remove(connection)
        self._unsent_bytes.pop(connection, None)
        self.counters.closed_connection()

    def hold(self, more_head_bytes: int, more_body_bytes: int) -> bool:
        """Count bytes of requests that are being received; False when they have become too many."""
        self._heads.add(more_head_bytes)
        self._bodies.add(more_body_bytes)
        if more_head_bytes > 0 and self._heads.bytes > self.limits.unfinished_heads_bytes:
            return False
        return more_body_bytes <= 0 or self._bodies.bytes <= self.limits.buffered_bytes

    def drain(self) -> None:
        """Answer what is here and what comes shortly, and close every connection after that."""
        self.draining = True
        for connection in self.admission.all():
            connection.active = True
        self._idle_timeout_s = min(QUIET_S, self._idle_timeout_s)
        self._check_interval_s = min(self._check_interval_s, _DRAINING_CHECK_INTERVAL_S)
        self._check_all()

    def _check_all(self) -> None:
        self._loop.call_later(self._check_interval_s, self._check_all)
        self.counters.heartbeat()
        self.reply_writer.renew_date()
        self._heads.trim()
        self._bodies.trim()
        now_s = self.time()
        for connection in self.admission.all():
            self._check(connection, now_s)

    def _check(self, connection: Connection, now_s: float) -> None:
        if connection.active:
            connection.active = False
            connection.quiet_since_s = now_s
        patience_s, quiet_s = self.limits.read_timeout_s, now_s - connection.quiet_since_s
        if connection.stalled_since_s:
            self._check_stalled(connection, now_s)
        elif connection.ending_since_s:
            if quiet_s > QUIET_S or now_s - connection.ending_since_s > patience_s:
                connection.abort()
        elif connection.partial_since_s:
            if now_s - connection.partial_since_s > patience_s:
                connection.refuse(Refused(408, f"request: it was not there within {patience_s:g} s"))
        elif connection.has_requests:
            connection.active = True
        elif quiet_s > self._idle_timeout_s and not connection.has_unread():
            connection.close()

    def _check_stalled(self, connection: Connection, now_s: float) -> None:
        """Close a connection whose client does not read its answers, or hardly does."""
        unsent_bytes = connection.unsent_bytes
        before_bytes = self._unsent_bytes.setdefault(connection, unsent_bytes)
        if unsent_bytes < before_bytes - _PROGRESS_BYTES:
            connection.stalled_since_s = now_s
            self._unsent_bytes[connection] = unsent_bytes
        elif now_s - connection.stalled_since_s > self.limits.read_timeout_s:
            connection.abort()


class _ReceivedBytes:
    """Counts the bytes held of what clients send, and returns their memory to the system after a burst: the C library
    keeps it."""

    def __init__(self) -> None:
        # Other C libraries than glibc have no such function, and keep less.
        self._give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._most_bytes = 0
        self.bytes = 0

    def add(self, more_bytes: int) -> None:
        self.bytes += more_bytes
        self._most_bytes = max(self._most_bytes, self.bytes)

    def trim(self) -> None:
        """Give memory back if much less is held than before. Call it at intervals."""
        if self._most_bytes - self.bytes > max(_WORTH_IT_BYTES, self._most_bytes // 2):
            self._most_bytes = self.bytes
            if self._give_back is not None:
                self._give_back(0)
