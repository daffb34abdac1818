"""One HTTP/1.1 connection: requests are answered in the order in which they came, however many are sent ahead.

``reading`` makes requests of bytes, ``replying`` bytes of replies, and ``connections`` has the clock that ends what
takes too long.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol, cast

from servefit.serving.messages import PendingReply, Refused, Reply, Request
from servefit.serving.reading import RequestReader
from servefit.serving.replying import CONTINUE, MAX_JOINED_BYTES, RETRY_AFTER, refusal

if TYPE_CHECKING:
    from servefit.serving.admission import AdmissionControl
    from servefit.serving.config import Limits
    from servefit.serving.counters import WorkerCounters
    from servefit.serving.reading import HeadCache
    from servefit.serving.replying import ReplyWriter
    from servefit.serving.time_slices import TimeSlices

MAX_EXCHANGES = 64
"""A connection with so many requests that wait for their answers is not read from."""

_SHORT_BYTES = 2048
"""A read of no more bytes is parsed at once, whatever it is."""

_PIECE_BYTES = 8192
"""Whatever it is, reading it takes less than 25 ms, and mostly less than 1."""


class Responder(Protocol):
    """Has requests answered, now or later."""

    def respond(self, request: Request, pending: PendingReply) -> None: ...

    def respond_to_check(self, request: Request, pending: PendingReply) -> None:
        """Do the same for a client that there is no room for, beyond what must always work."""
        ...


class ConnectionOwner(Protocol):
    """The owner of all connections: it has what they share, and is told when one came or went."""

    draining: bool

    @property
    def responder(self) -> Responder: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def counters(self) -> WorkerCounters: ...
    @property
    def reply_writer(self) -> ReplyWriter: ...
    @property
    def heads(self) -> HeadCache: ...
    @property
    def time_slices(self) -> TimeSlices: ...
    @property
    def admission(self) -> AdmissionControl[Connection]: ...
    @property
    def time(self) -> Callable[[], float]:
        """The event loop's clock, in seconds."""
        ...

    def add(self, connection: Connection) -> None: ...
    def remove(self, connection: Connection) -> None: ...
    def hold(self, more_head_bytes: int, more_body_bytes: int) -> bool:
        """Count bytes of requests that are being received; False when they have become too many."""
        ...


class Exchange:
    """A request that was read, and its reply while that waits for others. ``last`` says that the connection ends with
    it, ``has_connection_header`` that the client sent one and is to be told that it does not, ``head_only`` that it
    wants no body."""

    __slots__ = ("_connection", "began_ns", "gone", "has_connection_header", "head_only", "last", "out")

    def __init__(self, connection: Connection, last: bool, has_connection_header: bool, head_only: bool) -> None:
        self._connection = connection
        self.began_ns = monotonic_ns()
        self.last = last
        self.has_connection_header = has_connection_header
        self.head_only = head_only
        self.gone = False
        self.out: tuple[Reply, bytes] | None = None

    def answer(self, reply: Reply, timing: bytes = b"") -> None:
        """Send ``reply``, with the header line ``timing``. Only the first answer is sent."""
        if not self.gone:
            self.gone = True
            self._connection.answered(self, reply, timing)


class Connection(asyncio.Protocol):
    """Speaks on a socket, for ``connections``, which also look at the times below, in seconds of the event loop's
    clock; 0 where something is not the case."""

    def __init__(self, connections: ConnectionOwner, accepted: socket.socket) -> None:
        self._connections = connections
        self._respond: Callable[[Request, Exchange], None] = connections.responder.respond
        self._counters = connections.counters
        self._reply_writer = connections.reply_writer
        self._socket = accepted
        self._transport = cast("asyncio.Transport", None)
        self._reader: RequestReader | None = RequestReader(self, connections.limits, connections.heads)
        self._exchanges: deque[Exchange] = deque()
        self._held = (0, 0)
        self._unread = b""
        self._feeding = False
        self._reads = True
        self._owes_continue = False
        self.active = True
        """A request, or anything after the last answer, came since it was last checked."""
        self.quiet_since_s = 0.0
        """The time when nothing had come for the first time."""
        self.partial_since_s = 0.0
        """The time when a request began that is not complete."""
        self.stalled_since_s = 0.0
        """The time when the client stopped reading its answers."""
        self.ending_since_s = 0.0
        """The time when the last answer was sent."""

    @property
    def has_requests(self) -> bool:
        """True while requests wait for their answers."""
        return bool(self._exchanges)

    @property
    def idle_since_s(self) -> float | None:
        """The time since which it has been quiet, as far as it was checked, infinity where it was not; None while a
        request or an answer is on its way."""
        if self._exchanges or self._unread or self.partial_since_s or self.stalled_since_s or self.ending_since_s:
            return None
        return math.inf if self.active else self.quiet_since_s

    @property
    def unsent_bytes(self) -> int:
        """The bytes of answers that wait for the client to read what came before."""
        return self._transport.get_write_buffer_size()

    def has_unread(self) -> bool:
        """Return whether something has come that the event loop has not read yet."""
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, _: BaseException | None) -> None:
        self._respond = self._connections.responder.respond  # which may have been a method of its own
        self._stop_reading()
        self._forget_exchanges()
        self._connections.remove(self)

    def eof_received(self) -> bool:
        # A client that is gone cannot be told from one that only stopped sending. Requests that nobody waits for must
        # not take the predictor's time, so both are gone.
        return False

    def pause_writing(self) -> None:
        self.stalled_since_s = self._connections.time()
        self._read(False)

    def resume_writing(self) -> None:
        self.stalled_since_s = 0.0
        self._read_on()

    def data_received(self, data: bytes) -> None:
        if len(data) <= _SHORT_BYTES and not self._unread:
            self._feed(data)
        elif self._unread:
            self._unread += data
        elif self._reader is not None:
            self._unread = data
            while self._unread and not self._connections.time_slices.is_over():
                self._feed_piece()
            self._postpone_rest()

    def _feed_piece(self) -> None:
        """Read what is known to be of a body, or a piece."""
        rest_bytes = 0 if self._reader is None else self._reader.rest_bytes
        end = max(rest_bytes, _PIECE_BYTES)
        piece, self._unread = self._unread[:end], self._unread[end:]
        self._feed(piece)

    def _postpone_rest(self) -> None:
        """Read the rest of what has come when others had their turns, and nothing more until then."""
        self._read_on()
        if self._unread:
            self._connections.time_slices.postpone(self._feed_next_piece)
        if self._unread or any(self._held):
            self._hold_or_refuse()

    def _feed_next_piece(self) -> None:
        try:
            self._feed_piece()
        except BaseException:
            self.abort()
            raise
        self._postpone_rest()

    def _feed(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            self.active = True
            return
        self._feeding = True
        reader.feed(data)
        self._feeding = False
        if reader.begun:
            self._wait_for_rest()
        if self._exchanges and self._exchanges[0].out is not None:
            self._send_those_ready()

    # Called by the reader

    def on_request(self, request: Request, *, keep_alive: bool, has_connection_header: bool) -> None:
        self.active = True
        if self.partial_since_s:
            self.partial_since_s = 0.0
            self._hold()
        self._owes_continue = False
        # By position: keywords would add a tenth to the time that a short request takes in this class.
        exchange = Exchange(self, not keep_alive, has_connection_header, request.method == b"HEAD")
        self._exchanges.append(exchange)
        self._respond(request, exchange)
        if len(self._exchanges) >= MAX_EXCHANGES:
            self._read(False)

    def refuse(self, refused: Refused) -> None:
        self._stop_reading()
        exchange = Exchange(self, last=True, has_connection_header=False, head_only=False)
        self._exchanges.append(exchange)
        exchange.answer(refusal(refused))

    def wait_for_body(self) -> None:
        self._owes_continue = True
        if not self._exchanges:
            self._continue()

    def answer_one_check(self) -> None:
        """Have only what must always work answered, once; anything else is refused."""
        self._respond = self._respond_to_check

    def _respond_to_check(self, request: Request, exchange: Exchange) -> None:
        connections = self._connections
        if connections.admission.promote(self):
            self._respond = connections.responder.respond
            self._respond(request, exchange)
            return
        exchange.last = True
        self._stop_reading()
        connections.responder.respond_to_check(request, exchange)

    # Answers

    def answered(self, exchange: Exchange, reply: Reply, timing: bytes) -> None:
        """Send the reply to ``exchange`` once those before it are sent, and what came together with it is read."""
        counters = self._counters
        counters.replied(reply.status)
        if timing:
            counters.answered(monotonic_ns() - exchange.began_ns)
        exchanges = self._exchanges
        if self._feeding or exchanges[0] is not exchange:
            exchange.out = (reply, timing)
            return
        exchanges.popleft()
        self._send(exchange, reply, timing)
        if exchanges or not self._reads:
            self._send_those_ready()

    def close(self) -> None:
        """Close when what was written is sent."""
        self._stop_reading()
        self._forget_exchanges()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._stop_reading()
        self._forget_exchanges()
        self._transport.abort()

    def _send_those_ready(self) -> None:
        exchanges = self._exchanges
        while exchanges and (out := exchanges[0].out) is not None:
            self._send(exchanges.popleft(), *out)
        self._read_on()

    def _send(self, exchange: Exchange, reply: Reply, timing: bytes) -> None:
        last = exchange.last or (self._connections.draining and self._is_idle())
        self._transport.write(
            self._reply_writer.encode(
                reply,
                timing,
                last=last,
                has_connection_header=exchange.has_connection_header,
                head_only=exchange.head_only,
            )
        )
        if len(reply.body) > MAX_JOINED_BYTES and not exchange.head_only:
            self._transport.write(reply.body)
        if last:
            self._end()
        elif self._owes_continue and not self._exchanges:
            self._continue()

    def _end(self) -> None:
        """Close once the last answer is out. A socket that is closed while it holds unread bytes takes back what was
        sent, so what the client still sends is read, and dropped, until it closes too or time is up."""
        self._stop_reading()
        self.ending_since_s = self._connections.time()
        self._transport.write_eof()
        self._read(True)

    def _continue(self) -> None:
        self._owes_continue = False
        self._transport.write(CONTINUE)

    def _is_idle(self) -> bool:
        """Return whether nothing is left of what the client has sent."""
        return not self._exchanges and not self._unread and (self._reader is None or not self._reader.begun)

    def _wait_for_rest(self) -> None:
        """Note when a request began that is not complete."""
        if not self.partial_since_s:
            self.partial_since_s = self._connections.time()
        self._hold_or_refuse()

    def _hold_or_refuse(self) -> None:
        if not self._hold():
            self._counters.rejected()
            self.refuse(Refused(503, "too much is being received, try again later", headers=RETRY_AFTER))

    def _hold(self) -> bool:
        """Account for the bytes of an unfinished request, and of what waits to be read; False when all connections
        together hold too many."""
        reader, (head_before, body_before) = self._reader, self._held
        head_bytes, body_bytes = (0, 0) if reader is None else (reader.head_bytes, reader.body_bytes)
        self._held = (head_bytes, body_bytes + len(self._unread))
        return self._connections.hold(head_bytes - head_before, self._held[1] - body_before)

    def _read_on(self) -> None:
        """Read, unless enough waits: to be read, for an answer, or for the client to take it."""
        self._read(not self._unread and not self.stalled_since_s and len(self._exchanges) < MAX_EXCHANGES)

    def _read(self, reads: bool) -> None:
        if reads is self._reads or self._transport.is_closing():
            return
        self._reads = reads
        if reads:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _stop_reading(self) -> None:
        """Drop what comes from now on, and what has come of an unfinished request."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None  # the two refer to each other
        self._unread = b""
        self.partial_since_s = 0.0
        self._owes_continue = False
        self._hold()

    def _forget_exchanges(self) -> None:
        for exchange in self._exchanges:
            exchange.gone = True
        self._exchanges.clear()
