"""The output of commands: the same figures as a table, JSON, CSV or Markdown.

Results go to stdout, and nothing else does; notes and warnings go to stderr. How tables are drawn is in ``tables``, how
sentences are wrapped in ``terminal``.
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

from servefit.cli.signatures import option
from servefit.cli.terminal import shown_line, width_of, wrapped
from servefit.errors import StateError
from servefit.option_panels import OUTPUT
from servefit.report.table import Table, markdown_lines, readable, write_csv
from servefit.showing import printable

_INDENT = "  "
"""Stands before the further lines of a warning or a note, so that the next one is seen to begin."""


class OutputFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"


FormatOption = Annotated[OutputFormat, option("How to print the result.", OUTPUT, None, "--format")]
WideOption = Annotated[bool, option("All columns, as the other formats have them.", OUTPUT)]


def emit(
    table: Table,
    document: Mapping[str, Any] | Sequence[Any],
    form: OutputFormat,
    *,
    brief: Table | None = None,
) -> None:
    """Print ``document`` as JSON, or ``table`` in any other form. ``brief`` is the table that people are shown instead
    of it: without the columns that matter less. Raises StateError where stdout takes no more."""
    with _printing():
        _emit(table, document, form, brief)


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


def _emit(table: Table, document: Mapping[str, Any] | Sequence[Any], form: OutputFormat, brief: Table | None) -> None:
    match form:
        case OutputFormat.JSON:
            sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")
        case OutputFormat.CSV:
            write_csv(table, sys.stdout)
        case OutputFormat.MARKDOWN:
            sys.stdout.writelines(f"{line}\n" for line in markdown_lines(readable(table)))
        case OutputFormat.TABLE:
            from servefit.cli.tables import print_table

            print_table(table if brief is None else brief)


def print_line(*lines: str) -> None:
    """Print sentences that belong to the result, a line each, to stdout. Raises StateError as ``emit`` does."""
    with _printing():
        for line in lines:
            sys.stdout.writelines(f"{part}\n" for part in wrapped(shown_line(line, sys.stdout), width_of(sys.stdout)))


def print_text(text: str) -> None:
    """Print text of several lines that is the result, to stdout. Raises StateError as ``emit`` does."""
    with _printing():
        sys.stdout.write(printable(text))


def print_note(line: str) -> None:
    """Print a line for the person, not for a program, to stderr."""
    lines = wrapped(shown_line(line, sys.stderr), width_of(sys.stderr), indent=_INDENT)
    sys.stderr.write("".join(f"{part}\n" for part in lines))


def warn(line: str) -> None:
    """Print a warning to stderr."""
    print_note(f"warning: {line}")
