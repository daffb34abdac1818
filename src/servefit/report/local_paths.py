"""Paths in reports: as they lie from the current folder, or else by the name of the file. A report is handed on, and
says nothing of the folders of whoever made it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servefit.report.contents import Report, Section
    from servefit.report.table import Table

_ABSOLUTE = re.compile(r"(?<![\w./:~-])/(?:[\w.+@~-]+/)+[\w.+@~-]*")
"""An absolute path in a sentence: two names at least, so that it is not "/ping", and not within an address or a share,
as in "requests/s". One with spaces is not known where it ends."""


def local_path(path: str) -> str:
    """Return a path as it lies from the current folder: relative if it is below, else the name of the file alone."""
    given = Path(path)
    if not given.is_absolute():
        return path
    here = Path.cwd()
    return str(given.relative_to(here)) if given.is_relative_to(here) else given.name


def with_local_paths(text: str) -> str:
    """Return a sentence with its absolute paths as :func:`local_path` has them."""
    return _ABSOLUTE.sub(lambda found: local_path(found[0]), text)


def report_with_local_paths(report: Report) -> Report:
    """Return ``report`` with no absolute path in its sentences and tables; its JSON document stays what it is."""
    return replace(
        report,
        answer=with_local_paths(report.answer),
        reasons=_sentences(report.reasons),
        warnings=_sentences(report.warnings),
        glance=_section(report.glance),
        sections=tuple(map(_section, report.sections)),
    )


def _section(section: Section) -> Section:
    return replace(
        section,
        text=_sentences(section.text),
        plots=tuple(replace(plot, table=_table(plot.table)) for plot in section.plots),
        tables=tuple(map(_table, section.tables)),
    )


def _sentences(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(with_local_paths, texts))


def _table(table: Table) -> Table:
    return replace(table, rows=[tuple(map(_cell, row)) for row in table.rows])


def _cell(cell: Any) -> Any:
    return with_local_paths(cell) if isinstance(cell, str) else cell
