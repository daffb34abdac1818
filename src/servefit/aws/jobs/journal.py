"""The journal of a job, line by line, which the SDK shows while it waits. A line is JSON, with its time.

The server writes in it and so does the process of the job, each line at once.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec


class _Line(msgspec.Struct, frozen=True):
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal in a file, which need not be there yet."""

    path: Path

    def write(self, text: str) -> None:
        """Add a line."""
        line = msgspec.json.encode(_Line(at_ms=time.time_ns() // 1_000_000, text=text)) + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def length(self) -> int:
        """Return the number of lines."""
        return len(self._lines())

    def read(self, start: int = 0, most: int = 10_000) -> tuple[list[tuple[int, str]], int]:
        """Return time, in milliseconds since 1970, and text of at most so many lines from that number on, and the
        number of the line after them. Half a line, such as of a process that was killed on a full disk, is left
        out."""
        lines = self._lines()[start : start + most]
        entries = []
        for line in lines:
            with suppress(msgspec.DecodeError):
                entry = msgspec.json.decode(line, type=_Line)
                entries.append((entry.at_ms, entry.text))
        return entries, start + len(lines)

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
