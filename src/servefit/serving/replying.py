"""From replies to the bytes that are sent, and from refusals to replies."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

import msgspec

from servefit.serving.messages import Headers, Refused, Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_JOINED_BYTES = 65_536
"""A longer body is sent after its head, and not copied behind it."""

RETRY_AFTER: Headers = ((b"retry-after", b"1"),)


def refusal(refused: Refused) -> Reply:
    """Return the Open Inference Protocol's form of an error, for every path; botocore looks for it under "message"."""
    body = msgspec.json.encode({"error": refused.reason, "message": refused.reason})
    return Reply(refused.status, body, headers=refused.headers)


class ReplyWriter:
    """Writes replies. What begins many of them is kept; it holds the date, so it is made anew every second."""

    def __init__(self) -> None:
        self._beginnings: dict[tuple[int, bytes], bytes] = {}
        self.renew_date()

    def renew_date(self) -> None:
        """Take the date anew. To be called every second."""
        self._date = formatdate(usegmt=True).encode()
        self._beginnings.clear()

    def encode(self, reply: Reply, timing: bytes, *, last: bool, has_connection_header: bool, head_only: bool) -> bytes:
        """Return the bytes of ``reply``, without a body of more than MAX_JOINED_BYTES, which is to be sent next.

        ``timing`` is one more header line, or nothing; ``last`` says that the connection ends with it,
        ``has_connection_header`` that the client sent one and is to be told that it does not, ``head_only`` that it
        wants no body."""
        beginning = self._beginnings.get((reply.status, reply.content_type)) or self._make_beginning(reply)
        if last:
            timing += b"connection: close\r\n"
        elif has_connection_header:
            timing += b"connection: keep-alive\r\n"
        if reply.headers:
            timing += b"".join([b"%b: %b\r\n" % header for header in reply.headers])
        body = reply.body
        size = len(body)
        joined = b"" if head_only or size > MAX_JOINED_BYTES else body
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (beginning, timing, size, joined)

    def _make_beginning(self, reply: Reply) -> bytes:
        phrase = HTTPStatus(reply.status).phrase.encode()
        beginning = b"HTTP/1.1 %d %b\r\ndate: %b\r\ncontent-type: %b\r\n" % (
            reply.status,
            phrase,
            self._date,
            reply.content_type,
        )
        self._beginnings[reply.status, reply.content_type] = beginning
        return beginning
