"""A report as JSON, CSV and Markdown: the figures of the page, for programs, spreadsheets and pull requests."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from servefit.report.table import markdown_lines, markdown_text, write_csv_rows
from servefit.showing import printable

if TYPE_CHECKING:
    from servefit.report.contents import Report, Section
    from servefit.report.table import Table

SCHEMA = 1
"""Version of the layout of the JSON document, for programs that read it."""


def to_json(report: Report) -> str:
    """Return the report as JSON: the job's own document under ``job``, and every table by its name."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "job": report.document,
        "answer": report.answer,
        "reasons": list(report.reasons),
        "warnings": list(report.warnings),
        "tables": {table_name(table): _records(table) for table in report.tables},
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """Return the tables as CSV with one line for each figure, since tables differ in their columns: the table, the
    number of the row, the column, the value."""
    figures = (
        (table_name(table), nth, column, cell)
        for table in report.tables
        for nth, row in enumerate(table.rows, start=1)
        for column, cell in zip(table.columns, row, strict=True)
        if cell is not None
    )
    written = io.StringIO()
    write_csv_rows((("table", "row", "column", "value"), *figures), written)
    return written.getvalue()


def to_markdown(report: Report) -> str:
    """Return the page as Markdown, with all its tables, but only the timeline of the recommendation's test."""
    lines = [f"# servefit: {markdown_text(report.job)}", "", *_paragraphs((report.answer, *report.reasons))]
    if report.warnings:
        lines += ["## Warnings", "", *(f"- {markdown_text(warning)}" for warning in report.warnings), ""]
    if report.command is not None:
        lines += _fenced(report.command, "sh")
    for card in report.cards:
        facts = (f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in card.facts)
        lines += [f"**{markdown_text(card.title)}**", "", *facts, ""]
    if report.glance.plots:
        lines += [f"## {report.glance.title}", "", *_section_lines(report.glance)]
    for section in report.sections:
        lines += [f"## {markdown_text(section.title)}", "", *_section_lines(section)]
        if section.name == "timeline":
            for timeline in report.timelines:
                if timeline.step == report.shown_step:
                    lines += _table_lines(timeline.table)
    return "\n".join(lines).rstrip() + "\n"


def _section_lines(section: Section) -> list[str]:
    lines = [*_paragraphs(section.text)]
    if section.code is not None:
        lines += _fenced(section.code.rstrip(), "yaml")
    for plot in section.plots:
        lines += [*_table_lines(plot.table), *_paragraphs((plot.caption,))]
    for table in section.tables:
        lines += _table_lines(table)
    return lines


def _table_lines(table: Table) -> list[str]:
    return [f"**{markdown_text(table.title or '')}**", "", *markdown_lines(table), ""]


def _fenced(code: str, language: str) -> list[str]:
    """Return the lines of ``code``, between fences that are longer than any within."""
    fence = "`" * max((3, *(len(run) + 1 for run in re.findall("`+", code))))
    return [f"{fence}{language}", printable(code), fence, ""]


def _paragraphs(texts: tuple[str, ...]) -> list[str]:
    return [line for text in texts for line in (markdown_text(text), "")]


def table_name(table: Table) -> str:
    """Return the title of a table as a name for programs."""
    return re.sub(r"[^a-z0-9]+", "_", (table.title or "").lower()).strip("_")


def _records(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]
