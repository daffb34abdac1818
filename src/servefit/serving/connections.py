"""All connections of a worker: taken from the supervisor, looked at every now and then, and ended when it stops.

There is one look at all of them a second, in place of a timer for each, so times are kept to within that.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from servefit.serving.connection import Connection
from servefit.serving.memory import Received
from servefit.serving.messages import Refused
from servefit.serving.places import Places
from servefit.serving.replying import Replies
from servefit.serving.turns import Turns
from servefit.serving.watching import EVERY_S, LOOKS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Task

    from servefit.serving.config import Limits
    from servefit.serving.connection import Responder
    from servefit.serving.counters import WorkerCounters
    from servefit.serving.reading import Heads


QUIET_S = 1.0
"""While a worker stops, a connection that nothing came on for so long is closed. Clients that are quicker than this
lose no request that they had sent on a kept connection before they could know."""

_LOOK_EVERY_DRAINING_S = 0.1
_PROGRESS_BYTES = 65_536


class Connections:
    """Has every whole request answered by ``responder``, and ends connections that exceed ``limits``. Each look at them
    is a sign of life of the worker."""

    def __init__(self, responder: Responder, limits: Limits, counters: WorkerCounters, loop: AbstractEventLoop) -> None:
        self.responder = responder
        self.limits = limits
        self.counters = counters
        self.replies = Replies()
        self.heads: Heads = {}
        self.turns = Turns(loop)
        self.draining = False
        self.time = loop.time
        self.places: Places[Connection] = Places(limits.connections, loop.time)
        self._loop = loop
        self._attaching: set[Task[None]] = set()
        self._heads = Received()
        self._bodies = Received()
        self._idle_timeout_s = limits.idle_timeout_s
        patience_s = min(limits.read_timeout_s, limits.idle_timeout_s, limits.call_timeout_s)
        self._look_every_s = min(EVERY_S, patience_s / LOOKS)
        self._unsent_bytes: dict[Connection, int] = {}
        loop.call_later(self._look_every_s, self._look)

    def __len__(self) -> int:
        return len(self.places) + len(self._attaching)

    def has_unanswered(self) -> bool:
        """Whether a client waits for an answer, or for the rest of one, or has not been heard yet."""
        return bool(self._attaching) or any(one.waits or one.unsent_bytes for one in self.places.all())

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
        self.places.take(connection)

    def remove(self, connection: Connection) -> None:
        self.places.leave(connection)
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
        for connection in self.places.all():
            connection.active = True
        self._idle_timeout_s = min(QUIET_S, self._idle_timeout_s)
        self._look_every_s = min(self._look_every_s, _LOOK_EVERY_DRAINING_S)
        self._look()

    def _look(self) -> None:
        self._loop.call_later(self._look_every_s, self._look)
        self.counters.beat()
        self.replies.forget()
        self._heads.tidy()
        self._bodies.tidy()
        now_s = self.time()
        for connection in self.places.all():
            self._look_at(connection, now_s)

    def _look_at(self, connection: Connection, now_s: float) -> None:
        if connection.active:
            connection.active = False
            connection.quiet_since_s = now_s
        patience_s, quiet_s = self.limits.read_timeout_s, now_s - connection.quiet_since_s
        if connection.stalled_since_s:
            self._look_at_stalled(connection, now_s)
        elif connection.ending_since_s:
            if quiet_s > QUIET_S or now_s - connection.ending_since_s > patience_s:
                connection.abort()
        elif connection.partial_since_s:
            if now_s - connection.partial_since_s > patience_s:
                connection.refuse(Refused(408, f"request: it was not there within {patience_s:g} s"))
        elif connection.waits:
            connection.active = True
        elif quiet_s > self._idle_timeout_s and not connection.has_unread():
            connection.close()

    def _look_at_stalled(self, connection: Connection, now_s: float) -> None:
        """Close a connection whose client does not read its answers, or hardly does."""
        unsent_bytes = connection.unsent_bytes
        before_bytes = self._unsent_bytes.setdefault(connection, unsent_bytes)
        if unsent_bytes < before_bytes - _PROGRESS_BYTES:
            connection.stalled_since_s = now_s
            self._unsent_bytes[connection] = unsent_bytes
        elif now_s - connection.stalled_since_s > self.limits.read_timeout_s:
            connection.abort()
