"""Tables for a terminal: as wide as it is, with no word or number broken.

A table that is too wide has its texts wrapped at words. If that is not enough, its rows are written below each other,
as lists of figures. In a pipe or a file a table is as wide as its cells.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from servefit.cli.terminal import columns_of, longest_piece, shown_line, width_of, wrapped
from servefit.report.table import Table, is_number, readable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_GAP = 2
"""Columns between two columns of a table."""

_MIN_TEXT_WIDTH = 16
"""Columns that a text in a table is wrapped to at the least, two or three words: with fewer, it is a ladder. Chosen,
not measured."""

_INDENT = "  "

_ALL_COLUMNS = 1_000_000
"""The size that rich is told: what it draws is laid out already. Told no height, it takes a dumb terminal for one of 80
columns."""


def print_table(table: Table) -> None:
    """Print ``table`` to stdout, rounded for people."""
    console = _console()
    for part in _drawn(table, width_of(sys.stdout), plain=console.options.ascii_only):
        console.print(part, soft_wrap=True)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, width=_ALL_COLUMNS, height=_ALL_COLUMNS, highlight=False, markup=False, emoji=False)


def _drawn(table: Table, width: int | None, *, plain: bool) -> Iterator[RenderableType]:
    """Yield what ``table`` is drawn as in a terminal of ``width`` columns, None for as many as it takes."""
    from rich.text import Text

    right = [_is_on_the_right(table, nth) for nth in range(len(table.columns))]
    shown = readable(table)
    heads = [shown_line(head, sys.stdout) for head in shown.columns]
    rows = [[shown_line(cell, sys.stdout) for cell in row] for row in shown.rows]
    if table.title is not None:
        yield from (Text(line, style="italic") for line in wrapped(shown_line(table.title, sys.stdout), width))
        yield ""
    widths = column_widths(heads, rows, right, width)
    if widths is not None:
        yield _grid(heads, rows, right, widths, plain=plain)
    else:
        yield from _lists(heads, rows, width or 0)
    yield ""


def _is_on_the_right(table: Table, nth: int) -> bool:
    """Return whether a column holds figures, which stand below each other by their last digits."""
    # In a list of figures text stands among numbers.
    if table.columns[0] in ("figure", "property"):
        return False
    return table.columns[nth] in table.numeric or any(is_number(row[nth]) for row in table.rows)


def column_widths(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> list[int] | None:
    """Return the widths of the columns of a table, None if it takes more than ``width`` columns.

    Args:
        heads: The heads of its columns, which are wrapped at words.
        rows: Its cells.
        right: Whether the cells of a column are figures, which are not wrapped.
        width: The columns of the terminal; None where there is no limit.
    """
    cells = [[row[nth] for row in rows] for nth in range(len(heads))]
    widest = [max(map(_widest_line, column), default=0) for column in cells]
    natural = [max(_widest_line(head), widest[nth]) for nth, head in enumerate(heads)]
    if width is None:
        return natural
    least = [
        max(longest_piece(head), widest[nth] if right[nth] else _least_text_width(cells[nth]))
        for nth, head in enumerate(heads)
    ]
    room = width - _GAP * (len(heads) - 1)
    if sum(least) > room:
        return None
    # The widest gives way first.
    highest = max(natural, default=0)
    while sum(widths := [max(low, min(full, highest)) for low, full in zip(least, natural, strict=True)]) > room:
        highest -= 1
    return _with_the_rest(widths, natural, room)


def _with_the_rest(widths: list[int], natural: Sequence[int], room: int) -> list[int]:
    """Return ``widths`` with the columns that are left over given to the first that can use them."""
    for nth, full in enumerate(natural):
        widths[nth] += min(full - widths[nth], room - sum(widths))
    return widths


def _least_text_width(cells: Sequence[str]) -> int:
    return max((max(longest_piece(cell), min(_widest_line(cell), _MIN_TEXT_WIDTH)) for cell in cells), default=0)


def _widest_line(text: str) -> int:
    return max(map(columns_of, text.split("\n")))


def _grid(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], widths: Sequence[int], *, plain: bool
) -> RenderableType:
    from rich.box import SIMPLE_HEAD, Box
    from rich.table import Table as RichTable

    lines = Box(str(SIMPLE_HEAD).replace("─", "-"), ascii=True) if plain else SIMPLE_HEAD
    drawn = RichTable(box=lines, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for head, is_right, width in zip(heads, right, widths, strict=True):
        text = "\n".join(wrapped(head, width))
        drawn.add_column(
            text, justify="right" if is_right else "left", vertical="top", width=width, no_wrap=True, overflow="crop"
        )
    for row in rows:
        drawn.add_row(*("\n".join(wrapped(cell, width)) for cell, width in zip(row, widths, strict=True)))
    return drawn


def _lists(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table as lists: a line for each cell behind its head, and a blank line between rows. A
    table of two columns is a list already."""
    if len(heads) == 2:
        yield from _list([row[0] for row in rows], [row[1] for row in rows], width)
        return
    for nth, row in enumerate(rows):
        if nth:
            yield ""
        yield from _list(heads, row, width)


def _list(names: Sequence[str], values: Sequence[str], width: int) -> Iterator[str]:
    left = max(map(columns_of, names), default=0) + _GAP
    is_narrow = width - left < _MIN_TEXT_WIDTH
    for name, value in zip(names, values, strict=True):
        if is_narrow or (longest_piece(value) > width - left):
            yield from wrapped(name, width, indent=_INDENT)
            yield from (_INDENT + line for line in wrapped(value, width - len(_INDENT)))
            continue
        begin = name + " " * (left - columns_of(name))
        for line in wrapped(value, width - left):
            yield (begin + line).rstrip()
            begin = " " * left
