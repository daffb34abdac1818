"""Rows of figures under names: what people, spreadsheets and programs read alike.

What a table is about is for those who make one; where it goes, for those who print or draw it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

_UNPRINTABLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control sequences of terminals [ECMA-48], and the characters that are no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under ``columns``. A cell is a value, not text: CSV keeps its digits, people see it rounded."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    title: str | None = None


def cell_text(cell: Any) -> str:
    """A cell as a person reads it: four significant digits, yes and no, a dash for what is not known."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else _four_digits(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    return printable(str(cell))


def printable(text: str) -> str:
    """``text`` without what moves a terminal's cursor or changes its colours, and without other control characters."""
    return _UNPRINTABLE.sub("", text)


def _four_digits(number: float) -> str:
    text = f"{number:.4g}"
    _, _, exponent = text.partition("e-")
    # Prices of a million inferences are read beside others, and an exponent is easily missed.
    return f"{number:.{int(exponent) + 3}f}".rstrip("0") if exponent else text


def write_csv(table: Table, to: TextIO) -> None:
    """Every digit; what is not known is empty."""
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)


def markdown_lines(table: Table) -> Iterator[str]:
    """The lines of a table in GitHub's Markdown, without its title."""
    for line in (table.columns, ["---"] * len(table.columns), *table.rows):
        yield "| " + " | ".join(markdown_text(cell_text(cell)).replace("|", "\\|") for cell in line) + " |"


def markdown_text(text: str) -> str:
    """One line in which nothing is taken for HTML, or for a picture."""
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(printable(text).split("\n")))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain).replace("![", "!\\[")
