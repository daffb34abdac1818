"""Tables: rows of figures under named columns, for people, spreadsheets and programs.

Other modules fill tables, and print or draw them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, TextIO

from servefit.quantities import DIGITS, between_text, digits_within, duration_text, is_wide, number_text
from servefit.showing import one_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells under ``columns``. A cell is a value, not text: CSV has all its digits, people see it rounded to
    the significant ``digits`` of its column (empty: three in all columns). If the first column is called "figure", it
    names the figure of its row. ``numeric`` are the columns whose texts are figures with their units, for people."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    title: str | None = None
    digits: tuple[int, ...] = ()
    numeric: tuple[str, ...] = ()

    def text(self, cell: Any, column: int) -> str:
        """Return ``cell``, of the column with number ``column``, as text for people."""
        return cell_text(cell, digits=self.digits[column]) if self.digits else cell_text(cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A cell: a figure with its 95 % interval, None if that is not known. Its text has four digits."""

    value: float
    interval: tuple[float, float] | None = None

    @property
    def numbers(self) -> tuple[float, ...]:
        return (self.value, *(self.interval or ()))

    def __str__(self) -> str:
        within = "" if self.interval is None else f"  ({self.interval[0]:.4g} to {self.interval[1]:.4g})"
        return f"{self.value:.4g}{within}"


def without_column(table: Table, name: str) -> Table:
    """Return ``table`` without the column of that name."""
    nth = table.columns.index(name)
    digits = table.digits and (*table.digits[:nth], *table.digits[nth + 1 :])
    rows = [(*row[:nth], *row[nth + 1 :]) for row in table.rows]
    return replace(table, columns=(*table.columns[:nth], *table.columns[nth + 1 :]), rows=rows, digits=digits)


def readable(table: Table) -> Table:
    """Return ``table`` with texts as cells, and latencies in a unit that fits: all columns of milliseconds share the
    unit that fits most of their cells; in a list of figures, each figure has its own unit."""
    if table.columns[:1] == ("figure",):
        return replace(table, rows=[_figure_row(*row) for row in table.rows])
    times = [nth for nth, name in enumerate(table.columns) if name.endswith(" ms")]
    unit, scale = _fitting_unit([row[nth] for row in table.rows for nth in times])
    return replace(
        table,
        columns=tuple(
            f"{name.removesuffix('ms')}{unit}" if nth in times else name for nth, name in enumerate(table.columns)
        ),
        rows=[
            tuple(table.text(_scaled(cell, scale) if nth in times else cell, nth) for nth, cell in enumerate(row))
            for row in table.rows
        ],
    )


def _fitting_unit(times_ms: Sequence[Any]) -> tuple[str, float]:
    """Return the unit in which most of ``times_ms`` are from one to a thousand, and the factor to multiply them by."""
    numbers = [time_ms for time_ms in times_ms if is_number(time_ms)]
    middle = median(numbers) if numbers else 1.0
    if middle < 1:
        return "us", 1000.0
    return ("s", 0.001) if middle >= 1000 else ("ms", 1.0)


def _scaled(cell: Any, by: float) -> Any:
    return cell * by if is_number(cell) and by != 1 else cell


def _figure_row(name: str, value: Any, *more: Any) -> tuple[str, ...]:
    """Return a row of a list of figures as texts. The unit of a time is in its value, not in its name."""
    plain, _, unit = name.rpartition(" ")
    unit_s = {"ms": 1e-3, "us": 1e-6}.get(unit)
    parts, interval = (value.numbers, value.interval) if isinstance(value, Estimate) else ((value,), None)
    name = name if unit_s is None else plain
    wide = interval is not None and is_wide(interval)
    texts = [_figure_text(part, unit_s, None if wide else interval) for part in parts]
    shown = texts[0] if len(texts) == 1 else f"{texts[0]} ({texts[1]} to {texts[2]})"
    if wide:
        shown = between_text(texts[1], texts[2])
    return (name, shown, *map(cell_text, more))


def _figure_text(part: Any, unit_s: float | None, interval: tuple[float, float] | None) -> str:
    """Return a figure, or an end of its interval, as text: to the last digit that the interval supports."""
    if not is_number(part):
        return cell_text(part)
    digits = digits_within(part, interval)
    return cell_text(part, digits) if unit_s is None else duration_text(part * unit_s, digits=digits)


def is_number(cell: Any) -> bool:
    """Return whether a cell is a number, which a bool is not."""
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def cell_text(cell: Any, digits: int = DIGITS) -> str:
    """Return a cell as text for people: a number with ``digits``, yes or no, and a dash for an unknown value."""
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return number_text(cell, digits=digits) if isinstance(cell, (int, float)) else _text(cell)


def _text(cell: Any) -> str:
    # The text of an estimate is ours, and aligned.
    return str(cell) if isinstance(cell, Estimate) else one_line(str(cell))


_FORMULA = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")
"""The beginnings of cells that spreadsheets compute or run, also as wide characters [OWASP, CSV Injection]. White space
does not begin a cell here."""


def write_csv(table: Table, to: TextIO) -> None:
    """Write ``table`` as CSV with all digits; unknown cells are empty."""
    write_csv_rows((table.columns, *table.rows), to)


def write_csv_rows(rows: Iterable[Iterable[Any]], to: TextIO) -> None:
    """Write ``rows`` of cells as CSV: numbers as they are, and texts so that no spreadsheet takes one for a formula."""
    csv.writer(to, lineterminator="\n").writerows(map(_csv_cell, row) for row in rows)


def _csv_cell(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, (int, float)):
        return cell
    text = _text(cell)
    return f"'{text}" if _FORMULA.match(text) and not _is_numeric(text) else text


def _is_numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def markdown_lines(table: Table) -> Iterator[str]:
    """Yield the lines of a table in GitHub's Markdown, without its title."""
    for line in (table.columns, ["---"] * len(table.columns), *table.rows):
        texts = (table.text(cell, nth) for nth, cell in enumerate(line))
        yield "| " + " | ".join(markdown_text(text).replace("|", "\\|") for text in texts) + " |"


def markdown_text(text: str) -> str:
    """Return ``text`` as one line of Markdown, escaped so that it is not read as HTML or as a picture."""
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", one_line(text))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain).replace("![", "!\\[")
