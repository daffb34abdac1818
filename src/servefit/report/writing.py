"""Writes reports to files, in the form of the file's suffix or in a given form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.report.exports import to_csv, to_json, to_markdown
from servefit.report.local_paths import with_local_paths
from servefit.report.page import to_html
from servefit.state import write_atomically

if TYPE_CHECKING:
    from servefit.report.contents import Report, Section
    from servefit.report.table import Table

FORMS: dict[str, Callable[[Report], str]] = {
    "html": to_html,
    "json": to_json,
    "csv": to_csv,
    "markdown": to_markdown,
}
_ENDINGS = {".html": "html", ".htm": "html", ".json": "json", ".csv": "csv", ".md": "markdown", ".markdown": "markdown"}


def form_of(path: Path) -> str:
    """Return the form for the suffix of ``path``. Raises SpecError."""
    form = _ENDINGS.get(path.suffix.lower())
    if form is None:
        raise SpecError(
            "output", str(path), "does not say in which form", remedy="let it end in .html, .json, .csv or .md"
        )
    return form


def report_text(report: Report, form: str) -> str:
    """Return ``report`` in one of FORMS. Raises SpecError."""
    if form not in FORMS:
        raise SpecError.unknown("form", form, list(FORMS))
    return FORMS[form](_with_local_paths(report))


def write_report(report: Report, path: Path, form: str | None = None) -> None:
    """Write ``report`` to ``path``, in ``form``, or in that of its suffix if ``form`` is None. Raises
    SpecError, and StateError if the file cannot be written."""
    text = report_text(report, form or form_of(path))
    write_atomically(path, text.encode(), variable=None)


def _with_local_paths(report: Report) -> Report:
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
