"""A JSON document read piece by piece: the members of an object and the elements of a list one after the other.

A piece that is asked for as a whole has a largest size, so that a document of any length is read in bounded memory.
Pieces are decoded by ``json``; only the way to them is found here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from servefit.profiler.machine.price_lists.types import UnreadablePriceList

CHUNK_CHARACTERS = 2**20
"""As much is read at once. Chosen: many times what a piece has, and little of a machine's memory."""

MAX_PIECE_CHARACTERS = 2**24
"""The largest piece that is decoded as a whole. A product or an offer of a price list has some thousand."""

_SPACE = re.compile(r"[ \t\r\n]*")


class TooLarge(UnreadablePriceList):
    """A piece is larger than is decoded as a whole."""


class JsonStream:
    """The document in ``file``, from its beginning. Methods raise UnreadablePriceList for what is no JSON, or ends too
    early.

    Iterating over :meth:`members` or :meth:`elements`, each value is read by one call of :meth:`value`, :meth:`skip`,
    :meth:`members` or :meth:`elements` before the next.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """Return the first character of what comes next; empty at the end of the document."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._at = self._at if match is None else match.end()
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            self._buffer, self._at = "", 0
            if not self._read_more():
                return ""

    def members(self) -> Iterator[str]:
        """Iterate over the names of the members of the object that comes next."""
        self._take("{")
        if self._took("}"):
            return
        while True:
            if self.peek() != '"':
                raise self._malformed()
            name = self.value()
            self._take(":")
            yield name
            if not self._took(","):
                self._take("}")
                return

    def elements(self) -> Iterator[None]:
        """Iterate over the elements of the list that comes next."""
        self._take("[")
        if self._took("]"):
            return
        while True:
            yield
            if not self._took(","):
                self._take("]")
                return

    def value(self) -> Any:
        """Return the value that comes next, decoded as a whole. Raises TooLarge where it is larger than that."""
        if self.peek() in ("", "\0"):
            raise self._malformed()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if not self._read_more():
                    raise self._malformed() from error
                continue
            except RecursionError as error:
                raise UnreadablePriceList("is nested too deeply for a price list") from error
            # A number that ends where the buffer ends may go on behind it.
            if end == len(self._buffer) and self._buffer[-1] not in '"}]' and self._read_more():
                continue
            self._at = end
            return value

    def skip(self) -> None:
        """Pass over the value that comes next, of any size."""
        opening = self.peek()
        if opening not in ("{", "["):
            self.value()
            return
        for _ in self.members() if opening == "{" else self.elements():
            try:
                self.value()
            except TooLarge:
                self.skip()

    def _took(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self._at += 1
        return True

    def _take(self, character: str) -> None:
        if not self._took(character):
            raise self._malformed()

    def _read_more(self) -> bool:
        """Read on behind what is left of the buffer; False at the end of the file."""
        left = len(self._buffer) - self._at
        if left > MAX_PIECE_CHARACTERS:
            raise TooLarge(f"has a piece of more than {MAX_PIECE_CHARACTERS:,} characters, as no price list has")
        if self._ended:
            return False
        try:
            # A piece that has to be tried again is tried with twice as much.
            read = self._file.read(max(CHUNK_CHARACTERS, left))
        except UnicodeDecodeError as error:
            raise UnreadablePriceList("is not UTF-8 text") from error
        self._ended = not read
        self._buffer, self._at = self._buffer[self._at :] + read, 0
        return bool(read)

    def _malformed(self) -> UnreadablePriceList:
        if self.peek() == "":
            return UnreadablePriceList("is cut off: it ends within its JSON")
        return UnreadablePriceList(f"is no JSON from {self._buffer[self._at : self._at + 20]!r} on")
