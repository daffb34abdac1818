"""What a command prints: the same figures as a table, JSON, CSV or Markdown.

Results go to stdout and nothing else does; whatever is said along the way goes to stderr.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer


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
    """Print ``document`` as JSON, or ``table`` in any other form."""
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
    sys.stdout.flush()


def cell_text(cell: Any) -> str:
    """A cell as a person reads it: four significant digits, yes and no, a dash for what is not known."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return str(cell)


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
    """A line of text that belongs to the result, printed to stdout."""
    sys.stdout.write(line + "\n")


def warn(line: str) -> None:
    """A line for the person, not for a program: to stderr."""
    sys.stderr.write(f"warning: {line}\n")
