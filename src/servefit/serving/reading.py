"""From the bytes of a connection to whole requests, on httptools, the parser of Node.js.

What is too long, or is no HTTP/1.1, is refused; ``heads`` has what else a head must be. What a request asks is the
endpoint's business, and when it comes too slowly that of ``connections``.

Clients send the same head again and again. A head that the parser has read is not read once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import httptools
import msgspec

from servefit.serving.heads import refuse_improper, refuse_trailer
from servefit.serving.messages import Refused, Request

if TYPE_CHECKING:
    from servefit.serving.config import Limits

_CHUNK_OVERHEAD = 8
"""Bytes that chunks may be wrapped in for each byte of the body: a chunk of one byte takes five, and some spare."""

_SEPARATORS = 4
"""Bytes in a line of a head beside name and value: a colon, a space, CRLF."""

_LINE_COST = 160
"""Bytes that keeping a line takes beside its own: two objects of 33, and an entry in a dictionary of some 90."""

_END = b"\r\n\r\n"
_MAX_COPIED_BYTES = 2**20
"""A longer body that came in parts is handed on as it was put together. Copying 25 MiB takes 15 ms."""

_MAX_CACHED_HEAD_BYTES = 1024
_MAX_CACHED_HEADS = 1024
"""So that the cache of a worker takes some megabytes at most. Clients send some hundred bytes, and mostly the same
ones."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """A head as the parser read it, up to its empty line, of a connection that is kept."""

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    has_connection_header: bool
    body_bytes: int


HeadCache: TypeAlias = dict[bytes, Head]
"""The heads that the connections of a worker have seen."""


class Receiver(Protocol):
    """The receiver of what a reader reads."""

    def on_request(self, request: Request, *, keep_alive: bool, has_connection_header: bool) -> None:
        """Take a whole request. ``keep_alive`` says that the connection may be kept after its answer,
        ``has_connection_header`` that the client said something about that."""
        ...

    def refuse(self, refused: Refused) -> None:
        """Refuse what came: it is no request, and what follows cannot be read."""
        ...

    def wait_for_body(self) -> None:
        """Tell the client to continue: it waits for that before it sends the body."""
        ...


class RequestReader:
    """Reads until it has refused something, or a request was the last one of its connection.

    ``begun`` says that some of a request has come, and not all of it; of its body, ``body_bytes``, and what else is
    kept of it takes some ``head_bytes``. Of what follows, ``rest_bytes`` are of its body too, as far as that is known.
    """

    def __init__(self, receiver: Receiver, limits: Limits, cached_heads: HeadCache) -> None:
        self._receiver = receiver
        self._cached_heads = cached_heads
        self._chunk = b""
        self._most_body_bytes = limits.body_bytes
        self._most_head_bytes = limits.head_bytes
        self._most_lines = limits.head_lines
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._in_body = False
        self._over = False
        self._raw_bytes = 0
        self._fed_body_bytes = 0
        self._lines = 0
        self._lines_bytes = 0
        self._unfinished_line_bytes = 0
        self._length = 0
        self.begun = False
        self.body_bytes = 0

    @property
    def head_bytes(self) -> int:
        return self._lines_bytes + self._unfinished_line_bytes + _LINE_COST * self._lines

    @property
    def rest_bytes(self) -> int:
        return self._length - self.body_bytes if self.begun else 0

    def feed(self, data: bytes) -> None:
        """Read ``data``, telling the receiver what is found as it is found."""
        if self._over:
            return
        self._chunk = b""
        if not self.begun:
            end = data.find(_END) + len(_END)
            head = self._cached_heads.get(data[:end])
            if head is not None and len(data) - end == head.body_bytes:
                self._receiver.on_request(
                    Request(head.method, head.path, head.headers, data[end:]),
                    keep_alive=True,
                    has_connection_header=head.has_connection_header,
                )
                return
            self._chunk = data
        self._raw_bytes += len(data)
        self._fed_body_bytes = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError as error:
            # A mistake in this package; the event loop reports it and closes the connection.
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            self._refuse(400, f"request: it is not HTTP/1.1: {error}")
        self._chunk = b""
        if self.begun:
            self._bound_unfinished(data)
        else:
            self._raw_bytes = 0

    def close(self) -> None:
        """Read nothing any more."""
        self._over = True
        # The two refer to each other, and the parser keeps what has come of a line.
        self._parser = cast("httptools.HttpRequestParser", None)
        self._forget()

    def _forget(self) -> None:
        """Let go of what has come of a request."""
        self._url, self._headers, self._body = b"", {}, b""
        self._in_body = False
        self._raw_bytes = self.body_bytes = 0
        self._lines = self._lines_bytes = self._unfinished_line_bytes = 0
        self.begun = False

    def _bound_unfinished(self, data: bytes) -> None:
        """Bound what has come of a request, of which ``data`` came last, and which is not complete. Nobody else bounds
        the lines of a head while they come, nor what chunks of a body are wrapped in."""
        rest_bytes = len(data) - self._fed_body_bytes
        if rest_bytes:
            line_end = data.rfind(b"\n") + 1
            if line_end:
                self._count_target()
            before_bytes = 0 if line_end else self._unfinished_line_bytes
            self._unfinished_line_bytes = before_bytes + min(len(data) - line_end, rest_bytes)
        wrapping_bytes = self._raw_bytes - self.body_bytes
        if (
            self._lines_bytes + self._unfinished_line_bytes > self._most_head_bytes
            or wrapping_bytes > self._most_head_bytes + _CHUNK_OVERHEAD * self.body_bytes
        ):
            self._refuse_head()

    # Called by the parser, in the order of the bytes

    def on_message_begin(self) -> None:
        self.begun = not self._over
        self._length = 0

    def on_url(self, url: bytes) -> None:
        if not self._over:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._over:
            return
        self._count_target()
        self._lines += 1
        self._lines_bytes += len(name) + len(value) + _SEPARATORS
        if self._lines_bytes > self._most_head_bytes or self._lines > self._most_lines:
            self._refuse_head()
            return
        if self._in_body:
            try:
                refuse_trailer(name)
            except Refused as refused:
                self._refuse(refused.status, refused.reason)
            return
        name, headers = name.lower(), self._headers
        headers[name] = value if name not in headers else b"%b, %b" % (headers[name], value)

    def on_headers_complete(self) -> None:
        headers = self._headers
        if self._over:
            return
        self._in_body = True
        self._count_target()
        if self._lines_bytes > self._most_head_bytes:
            self._refuse_head()
            return
        try:
            refuse_improper(self._parser.get_http_version(), headers)
        except Refused as refused:
            self._refuse(refused.status, refused.reason)
            return
        length = headers.get(b"content-length")
        self._length = 0 if length is None else int(length)
        if length is not None and int(length) > self._most_body_bytes:
            self._refuse_length(int(length))
        elif b"expect" in headers and not self._parser.should_upgrade() and self._parser.get_http_version() != "1.0":
            if headers[b"expect"].lower() == b"100-continue":
                self._receiver.wait_for_body()
            else:
                self._refuse(417, "expect: only 100-continue is met")

    def on_body(self, body: bytes) -> None:
        if self._over:
            return
        self._fed_body_bytes += len(body)
        self.body_bytes += len(body)
        if self.body_bytes > self._most_body_bytes:
            self._refuse_length(self.body_bytes)
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        if self._over:
            return
        parser, headers = self._parser, self._headers
        method = parser.get_method()
        if (b"upgrade" in headers or method == b"CONNECT") and parser.should_upgrade():
            return
        url, body, keep_alive = self._url, self._body, parser.should_keep_alive()
        self._forget()
        self._over = not keep_alive
        path = url if url[:1] == b"/" and b"?" not in url else _path(url)
        has_connection_header = b"connection" in headers
        if keep_alive and self._chunk:
            self._cache(Head(method, path, headers, has_connection_header, len(body)))
        if isinstance(body, bytearray) and len(body) <= _MAX_COPIED_BYTES:
            body = bytes(body)
        self._receiver.on_request(
            Request(method, path, headers, cast("bytes", body)),
            keep_alive=keep_alive,
            has_connection_header=has_connection_header,
        )

    def _cache(self, head: Head) -> None:
        """Keep ``head``, unless more than it and its body came at once: it is not known then where it ends."""
        end = self._chunk.find(_END) + len(_END)
        if len(self._chunk) - end != head.body_bytes or end > _MAX_CACHED_HEAD_BYTES:
            return
        if head.body_bytes != int(head.headers.get(b"content-length", 0)) or b"expect" in head.headers:
            return
        if len(self._cached_heads) >= _MAX_CACHED_HEADS:
            self._cached_heads.clear()
        self._cached_heads[self._chunk[:end]] = head

    def _decline_upgrade(self, rest: bytes) -> None:
        """Answer in this protocol a client that offers to speak another, as if it had not offered: the parser stops
        there, without the body."""
        if self._over:
            return
        parser = self._parser
        if parser.get_method() == b"CONNECT":
            self._refuse(405, "method: CONNECT is for proxies")
            return
        headers = {name: value for name, value in self._headers.items() if name != b"upgrade"}
        options = [option.strip() for option in headers.pop(b"connection", b"").split(b",")]
        if rest_of_options := [option for option in options if option.lower() not in (b"", b"upgrade")]:
            headers[b"connection"] = b", ".join(rest_of_options)
        lines = [b"%b: %b\r\n" % header for header in headers.items()]
        version = parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (parser.get_method(), self._url, version, b"".join(lines))
        self._parser = httptools.HttpRequestParser(self)
        self._forget()
        self.feed(head + rest)

    def _count_target(self) -> None:
        """Count the first line, once it is complete."""
        if not self._lines:
            self._lines_bytes = len(self._url)

    def _refuse_head(self) -> None:
        self._refuse(431, f"headers: they are longer than {self._most_head_bytes} bytes or {self._most_lines} lines")

    def _refuse_length(self, length: int) -> None:
        self._refuse(413, f"body: it may have {self._most_body_bytes} bytes, this one has {length} or more")

    def _refuse(self, status: int, reason: str) -> None:
        if not self._over:
            self.close()
            self._receiver.refuse(Refused(status, reason))


def _path(url: bytes) -> bytes:
    """Return the path of a request's target. A request to a proxy has scheme and host in it."""
    scheme, separator, rest = url.partition(b"://")
    if separator and scheme.isalpha():
        url = b"/" + rest.partition(b"/")[2]
    return url.partition(b"?")[0]
