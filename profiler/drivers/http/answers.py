"""Tells whole answers from the bytes of one connection: how they ended, and what the server said of its own time.

Every head of an answer is parsed by httptools when it first occurs. Heads repeat, all but for the Server-Timing header,
which is cut out: so one that was seen before is looked up, which takes a microsecond where parsing takes five. Only
heads of successful answers with a length, on connections that stay open, are remembered.
"""

from __future__ import annotations

import httptools

_END = b"\r\n\r\n"
_LINE_END = b"\r\n"
_TIMING = b"server-timing"
_MAX_HEADS = 4096
"""Heads with a date are new every second: then they are forgotten about once an hour, and take a megabyte or so."""

_FIRST_FINAL = 200  # what comes before it only announces an answer

MALFORMED = "malformed answer"


class Heads:
    """The heads of answers that all connections of a client know: the bytes of a head without its Server-Timing,
    which begins with ``timing``, and the length of the body that belongs to it."""

    def __init__(self) -> None:
        self.lengths: dict[bytes, int] = {}
        self.timing = _LINE_END + _TIMING + b":"

    def learn(self, head: bytes, length: int, timing_name: bytes | None) -> None:
        """Remember a head, whose Server-Timing header is spelt ``timing_name``."""
        if timing_name is not None:
            self.timing = _LINE_END + timing_name + b":"
        if len(self.lengths) >= _MAX_HEADS:
            self.lengths.clear()
        self.lengths[split_timing(head, self.timing)[0]] = length


def split_timing(head: bytes, timing: bytes) -> tuple[bytes, bytes]:
    """Return the head without its Server-Timing header, and the content of that, empty where there is none."""
    at = head.find(timing)
    if at < 0:
        return head, b""
    end = head.find(_LINE_END, at + 2)
    if end < 0:
        end = len(head)
    return head[:at] + head[end:], head[at + len(timing) : end]


class AnswerReader:
    """Reads the answers of one connection, one at a time.

    After :meth:`feed` has given True the answer is whole: ``error`` is None for a success and else its kind, ``timing``
    the content of its Server-Timing header, and ``stays_open`` whether the connection can be used again. ``has_begun``
    says that part of an answer is there.
    """

    def __init__(self, heads: Heads) -> None:
        self.error: str | None = None
        self.timing = b""
        self.stays_open = True
        self.has_begun = False
        self._heads = heads
        self._lengths = heads.lengths
        self._parsing = _Parsing()

    def feed(self, content: bytes) -> bool:
        """Read what has come; return whether the answer is whole, or broken, now."""
        if not self.has_begun:
            # The same as split_timing, without its calls: this is what every request pays for.
            timing = self._heads.timing
            end = content.find(_END)
            at = content.find(timing, 0, end)
            if at < 0:
                said = b""
                length = self._lengths.get(content[:end])
            else:
                after = content.find(_LINE_END, at + 2)
                said = content[at + len(timing) : after]
                length = self._lengths.get(content[:at] + content[after:end])
            if length is not None and len(content) == end + 4 + length:
                self.timing, self.error, self.stays_open = said, None, True
                return True
            self.has_begun = True
            self._parsing = _Parsing()
        return self._parsing.feed(content) and self._done()

    def end(self) -> bool:
        """Note that the server has closed the connection; return whether that ends an answer that has no other end."""
        return self.has_begun and self._parsing.ends_with_connection and self._done()

    def _done(self) -> bool:
        parsing = self._parsing
        self.has_begun = False
        self.error, self.timing, self.stays_open = parsing.error, parsing.timing, parsing.keeps_alive
        if parsing.error is None and parsing.is_plain and parsing.keeps_alive and parsing.length is not None:
            head, end, body = parsing.first.partition(_END)
            if end and len(body) == parsing.length:
                self._heads.learn(head, parsing.length, parsing.timing_name)
        return True


class _Parsing:
    """An answer on its way through httptools. ``first`` is the first part of it that came, ``length`` its
    Content-Length, ``ends_with_connection`` whether it says nowhere how long it is, and ``is_plain`` that nothing was
    announced before it."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.first = b""
        self.length: int | None = None
        self.timing = b""
        self.timing_name: bytes | None = None
        self.is_plain = True
        self.keeps_alive = False
        self.ends_with_connection = False
        self._chunked = False
        self._answers = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, content: bytes) -> bool:
        """Parse what has come; return whether the answer is whole now, or can never be."""
        self.first = self.first or content
        try:
            self._parser.feed_data(content)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.error, self.keeps_alive = MALFORMED, False
            return True
        if self._answers > 1:
            self.error, self.keeps_alive = MALFORMED, False
        return self._answers > 0

    # What httptools calls:

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"content-length":
            self.length = int(value)
        elif lower == b"transfer-encoding":
            self._chunked = True
        elif lower == _TIMING:
            self.timing_name, self.timing = name, value

    def on_headers_complete(self) -> None:
        open_end = self.length is None and not self._chunked
        self.ends_with_connection = open_end and not self._parser.should_keep_alive()
        self.error = _error_of(self._parser.get_status_code())

    def on_message_complete(self) -> None:
        self.ends_with_connection = False
        if self._parser.get_status_code() >= _FIRST_FINAL:
            self._answers += 1
            self.keeps_alive = self._parser.should_keep_alive()
        else:
            self.is_plain = False
            self.length = None


def _error_of(status: int) -> str | None:
    return None if 200 <= status < 300 else f"status {status}"
