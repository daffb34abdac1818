"""What a command prints: the same figures as a table, JSON, CSV or Markdown.

Results go to stdout and nothing else does; whatever is said along the way goes to stderr.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from servefit.errors import StateError


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under ``columns``. A cell is a value, not text: CSV keeps its digits, people see it rounded."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    title: str | None = None


def emit(table: Table, document: Mapping[str, Any] | Sequence[Any], form: Format) -> None:
    """Print ``document`` as JSON, or ``table`` in any other form. Raises StateError where stdout takes no more."""
    with _printing():
        _emit(table, document, form)


@contextmanager
def _printing() -> Iterator[None]:
    """Print the block's output now, and say a full disk or a closed stdout in one line.

    A reader that has seen enough (``| head``) is left to typer, which ends the command quietly.
    """
    if sys.stdout is None:
        raise StateError(Path("standard output"), "it is closed", variable=None)
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        # What is left in the buffer would fail again when Python flushes it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise StateError(Path("standard output"), error.strerror or str(error), variable=None) from error


def _emit(table: Table, document: Mapping[str, Any] | Sequence[Any], form: Format) -> None:
    match form:
        case Format.JSON:
            sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        case Format.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows(["" if cell is None else cell for cell in row] for row in table.rows)
        case Format.MARKDOWN:
            for line in (table.columns, ["---"] * len(table.columns), *table.rows):
                sys.stdout.write("| " + " | ".join(cell_text(cell).replace("|", "\\|") for cell in line) + " |\n")
        case Format.TABLE:
            _print_table(table)


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
    return str(cell)


def _four_digits(number: float) -> str:
    text = f"{number:.4g}"
    _, _, exponent = text.partition("e-")
    # Prices of a million inferences are read beside others, and an exponent is easily missed.
    return f"{number:.{int(exponent) + 3}f}".rstrip("0") if exponent else text


def _print_table(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    numeric = [
        any(isinstance(row[nth], (int, float)) and not isinstance(row[nth], bool) for row in table.rows)
        for nth in range(len(table.columns))
    ]
    for column, is_number in zip(table.columns, numeric, strict=True):
        drawn.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(cell_text(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        # A pipe has no width to fit into: wide enough that nothing is folded.
        console.width = 240
    console.print(drawn)


def say(line: str) -> None:
    """A line of text that belongs to the result, printed to stdout. Raises StateError as ``emit`` does."""
    with _printing():
        sys.stdout.write(line + "\n")


def warn(line: str) -> None:
    """A line for the person, not for a program: to stderr."""
    sys.stderr.write(f"warning: {line}\n")
