"""The terminal that output goes to: its width, the characters that it takes, and text wrapped for it.

Text in a pipe or a file is not wrapped, as with git, cargo and kubectl: programs read it by lines, and whoever reads it
later has another width. Tables are laid out in ``tables``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from typing import TextIO

from servefit.showing import one_line

USUAL_WIDTH = 80
"""Columns of a terminal that does not tell how wide it is."""

MIN_WIDTH = 20
"""Columns that text is wrapped to at the least: below, words are longer than lines. Chosen, not measured."""

_UNITS = (
    r"%|us|ms|s|min|h|B|[KMGT]i?B|M|M/s|/s|requests/s|million|billion|W|J|GHz|MHz|vCPU-s|v?CPUs?|workers?|cents?|[A-Z]{3}|"
    r"percent"
)
_GLUED = re.compile(
    rf"(?<=\d) (?=(?:{_UNITS})(?![\w/]))"  # 59 us
    r"| (?=x \S)|(?<= x) (?=\S)"  # 2 x 1
    r"|(?<=\d) (?=an? (?:hour|minute|second|million))|(?<= an) (?=hour)|(?<= a) (?=minute|second|million)"
    r"|(?<=[<>]=) (?=\d)|(?<=~) (?=\d)|(?<=batch) (?=\d)"  # <= 10 ms, batch 8
    r"|(?<=p\d\d) (?=[\d<>])|(?<=p\d\d\.\d) (?=[\d<>])"  # p95 4 ms, p99.9 <= 4 ms
)
"""Spaces that no line ends at: within a number with its unit, and between a figure and what it counts."""

_GLUE = "\0"


def prepare_output() -> None:
    """Make sure that no character stops a command: those that an output cannot take are written as escapes.

    File names and the texts of packages may have any character, while a terminal may have none beyond ASCII.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        if stream.isatty() and _is_told_ascii():
            stream.reconfigure(encoding="ascii", errors="backslashreplace")  # type: ignore[union-attr]
        # In the C locale Python writes undecodable bytes of file names as they were.
        elif stream.errors == "strict" or not _takes_all(stream):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _is_told_ascii() -> bool:
    """Return whether the environment names the locale C, and no encoding.

    Python takes this locale for UTF-8, since it is also that of environments that name none [PEP 538, PEP 540]. Where
    it is named, as for systemd, there is nothing beyond ASCII.
    """
    if os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8"):
        return False
    # Python itself sets LC_CTYPE, unless LC_ALL is set.
    named = os.environ.get("LC_ALL") or os.environ.get("LANG")
    return named in ("C", "POSIX")


def shown_line(text: str, stream: TextIO) -> str:
    """Return ``text``, whoever wrote it, as one line that ``stream`` takes: without control characters, and with
    escapes for what it has no characters for."""
    text, encoding = one_line(text), stream.encoding or "utf-8"
    return text if _takes_all(stream) else text.encode(encoding, "backslashreplace").decode(encoding)


def _takes_all(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().replace("-", "").startswith("utf")


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal behind ``stream``; None if it is a pipe or a file.

    The variable COLUMNS overrides what the terminal says, as everywhere.
    """
    if not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        width = int(columns)
    else:
        try:
            width = os.get_terminal_size(stream.fileno()).columns
        except OSError:
            width = 0
    return max(MIN_WIDTH, width or USUAL_WIDTH)


def columns_of(text: str) -> int:
    """Return how many columns ``text`` takes in a terminal: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def wrapped(text: str, width: int | None, *, indent: str = "") -> Iterator[str]:
    """Yield ``text`` in lines of at most ``width`` columns, broken between words.

    A number stays with its unit. A word that is longer than a line has one to itself, whole: the terminal goes on with
    it on the next line, and it can still be copied. Only text in wide characters, which has no spaces, is broken
    within.

    Args:
        text: The text; its own line ends are kept.
        width: The columns of a line; None for lines of any length.
        indent: Stands before every line but the first of each.
    """
    for line in text.split("\n"):
        if width is None or columns_of(line) <= width:
            yield line
        else:
            yield from _filled(line, width, indent)


def _filled(line: str, width: int, indent: str) -> Iterator[str]:
    filled, empty = "", True
    room = width - len(indent)
    for space, piece in _pieces(_GLUED.sub(_GLUE, line), room):
        if not empty and columns_of(filled) + len(space) + columns_of(piece) > width:
            yield filled
            filled, empty = indent, True
        filled, empty = filled + ("" if empty else space) + piece, False
    yield filled


def _pieces(line: str, room: int) -> Iterator[tuple[str, str]]:
    """Yield what a line may be broken between, each with the space in front of it."""
    for chunk in line.split():
        if columns_of(chunk.replace(_GLUE, " ")) <= room:
            yield " ", chunk.replace(_GLUE, " ")
            continue
        for word in chunk.split(_GLUE):
            if columns_of(word) <= room:
                yield " ", word
            else:
                parts = re.findall(r"[\x00-\u10ff]+|.", word)
                yield " ", parts[0]
                yield from (("", part) for part in parts[1:])


def longest_piece(text: str) -> int:
    """Return the columns of the widest part of ``text`` that is not broken by choice."""
    chunks = _GLUED.sub(_GLUE, text).split()
    return max((columns_of(chunk) for chunk in chunks), default=0)
