"""The output of commands: the same figures as a table, JSON, CSV or Markdown.

Results go to stdout, and nothing else does; notes and warnings go to stderr.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from servefit.errors import StateError
from servefit.option_panels import OUTPUT
from servefit.report.table import Table, is_number, markdown_lines, readable, write_csv

_PIPE_WIDTH = 240
"""Columns of a table in a pipe, which has no width to fit into: so wide that nothing is folded."""


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.", rich_help_panel=OUTPUT)]


def emit(table: Table, document: Mapping[str, Any] | Sequence[Any], form: Format) -> None:
    """Print ``document`` as JSON, or ``table`` in any other form. Raises StateError where stdout takes no more."""
    with _printing():
        _emit(table, document, form)


@contextmanager
def _printing() -> Iterator[None]:
    """Flush the block's output at its end, and turn a full disk or a closed stdout into StateError.

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
            write_csv(table, sys.stdout)
        case Format.MARKDOWN:
            sys.stdout.writelines(f"{line}\n" for line in markdown_lines(readable(table)))
        case Format.TABLE:
            _print_table(table)


def _print_table(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    # In a list of figures text stands among numbers.
    numeric = [
        table.columns[0] not in ("figure", "property") and any(is_number(row[nth]) for row in table.rows)
        for nth in range(len(table.columns))
    ]
    shown = readable(table)
    for column, figures in zip(shown.columns, numeric, strict=True):
        drawn.add_column(column, justify="right" if figures else "left", overflow="fold")
    for row in shown.rows:
        drawn.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(drawn)


def print_line(line: str) -> None:
    """Print a line of text that belongs to the result, to stdout. Raises StateError as ``emit`` does."""
    with _printing():
        sys.stdout.write(line + "\n")


def print_text(text: str) -> None:
    """Print text that is the result, unchanged, to stdout. Raises StateError as ``emit`` does."""
    with _printing():
        sys.stdout.write(text)


def print_note(line: str) -> None:
    """Print a line for the person, not for a program, to stderr."""
    sys.stderr.write(f"{line}\n")


def warn(line: str) -> None:
    """Print a warning to stderr."""
    print_note(f"warning: {line}")
