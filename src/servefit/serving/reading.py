"""From the bytes of a connection to whole requests, on httptools, the parser of Node.js.

What is too long, or is no HTTP/1.1, is refused. What a request asks is the endpoint's business, and when it comes too
slowly that of ``connections``.

Clients send the same head again and again. A head that the parser has read is not read once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

import httptools
import msgspec

from servefit.serving.messages import Refused, Request

if TYPE_CHECKING:
    from servefit.serving.config import Limits

MOST_HEAD_BYTES = 65_536

_CHUNK_OVERHEAD = 8
_END = b"\r\n\r\n"
_LONGEST_KNOWN = 1024
_MOST_KNOWN = 1024


class Head(msgspec.Struct, frozen=True, gc=False):
    """What the parser made of a head, up to its empty line, of a connection that is kept."""

    method: bytes
    path: bytes
    headers: Mapping[bytes, bytes]
    asked: bool
    body_bytes: int


Heads: TypeAlias = dict[bytes, Head]
"""The heads that the connections of a worker have seen."""


class Receiver(Protocol):
    """What a reader reads for."""

    def took(self, request: Request, kept: bool, asked: bool) -> None:
        """A request is there. ``kept`` says that the connection may be kept after its answer, ``asked`` that the client
        said something about that."""
        ...

    def refuse(self, refused: Refused) -> None:
        """What came is no request, and what follows cannot be read."""
        ...

    def wait_for_body(self) -> None:
        """The client sends the body once it is told to continue."""
        ...


class RequestReader:
    """Reads until it has refused something, or a request was the last one of its connection.

    ``begun`` says that some of a request has come, and not all of it; of its body, ``body_bytes``.
    """

    def __init__(self, receiver: Receiver, limits: Limits, known: Heads) -> None:
        self._receiver = receiver
        self._known = known
        self._chunk = b""
        self._most_body_bytes = limits.body_bytes
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: bytes | bytearray = b""
        self._raw_bytes = 0
        self._over = False
        self.begun = False
        self.body_bytes = 0

    def feed(self, data: bytes) -> None:
        """Read ``data``, telling the receiver what is found as it is found."""
        if self._over:
            return
        self._chunk = b""
        if not self.begun:
            end = data.find(_END) + len(_END)
            head = self._known.get(data[:end])
            if head is not None and len(data) - end == head.body_bytes:
                self._receiver.took(Request(head.method, head.path, head.headers, data[end:]), True, head.asked)
                return
            self._chunk = data
        self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            # A mistake in this package; the event loop reports it and closes the connection.
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            self._refuse(400, f"request: it is not HTTP/1.1: {error}")
        # Nobody else bounds heads and trailers, and what chunks of a body are wrapped in.
        if self._raw_bytes - self.body_bytes > MOST_HEAD_BYTES + _CHUNK_OVERHEAD * self.body_bytes:
            self._refuse(431, f"headers: they are longer than {MOST_HEAD_BYTES} bytes")

    def close(self) -> None:
        """Read nothing any more."""
        self._over = True
        self._headers = {}
        self._body = b""
        self._raw_bytes = self.body_bytes = 0
        self.begun = False

    # What the parser finds, in the order of the bytes

    def on_message_begin(self) -> None:
        self.begun = not self._over

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        headers = self._headers
        if self._over:
            return
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._most_body_bytes:
            self._refuse_length(int(length))
        elif b"expect" in headers and not self._parser.should_upgrade():
            if headers[b"expect"].lower() == b"100-continue":
                self._receiver.wait_for_body()
            else:
                self._refuse(417, "expect: only 100-continue is met")

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        if self._over:
            return
        if self.body_bytes > self._most_body_bytes:
            self._refuse_length(self.body_bytes)
        elif not self._body:
            self._body = body
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += body

    def on_message_complete(self) -> None:
        parser, headers = self._parser, self._headers
        method = parser.get_method()
        if self._over or ((b"upgrade" in headers or method == b"CONNECT") and parser.should_upgrade()):
            return
        url, body, kept = self._url, self._body, parser.should_keep_alive()
        self._url, self._headers, self._body = b"", {}, b""
        self._raw_bytes = self.body_bytes = 0
        self.begun = False
        self._over = not kept
        path = url if url[:1] == b"/" and b"?" not in url else _path(url)
        asked = b"connection" in headers
        if kept and self._chunk:
            self._know(Head(method, path, headers, asked, len(body)))
        request = Request(method, path, headers, body if isinstance(body, bytes) else bytes(body))
        self._receiver.took(request, kept, asked)

    def _know(self, head: Head) -> None:
        """Keep ``head``, unless more than it and its body came at once: it is not known then where it ends."""
        end = self._chunk.find(_END) + len(_END)
        if len(self._chunk) - end != head.body_bytes or end > _LONGEST_KNOWN:
            return
        if head.body_bytes != int(head.headers.get(b"content-length", 0)) or b"expect" in head.headers:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[self._chunk[:end]] = head

    def _stay(self, rest: bytes) -> None:
        """The client offers to speak another protocol, and the parser stops there, without the body. It is answered in
        this one, as if it had not offered."""
        parser = self._parser
        if self._over:
            return
        if parser.get_method() == b"CONNECT":
            self._refuse(405, "method: CONNECT is for proxies")
            return
        lines = [b"%b: %b\r\n" % one for one in self._headers.items() if one[0] not in (b"upgrade", b"connection")]
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (parser.get_method(), self._url, b"".join(lines))
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._headers, self._raw_bytes = b"", {}, 0
        self.feed(head + rest)

    def _refuse_length(self, length: int) -> None:
        self._refuse(413, f"body: it may have {self._most_body_bytes} bytes, this one has {length} or more")

    def _refuse(self, status: int, reason: str) -> None:
        if not self._over:
            self.close()
            self._receiver.refuse(Refused(status, reason))


def _path(url: bytes) -> bytes:
    """The path of a request's target, which proxies are sent with scheme and host."""
    scheme, found, rest = url.partition(b"://")
    if found and scheme.isalpha():
        url = b"/" + rest.partition(b"/")[2]
    return url.partition(b"?")[0]
