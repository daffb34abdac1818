"""Reads a report without a browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(slots=True)
class Cell:
    """``value`` is the number that the cell sorts by, None for text."""

    value: float | None
    text: str = ""


@dataclass(slots=True)
class HtmlTable:
    columns: list[str] = field(default_factory=list)
    rows: list[list[Cell]] = field(default_factory=list)


class Page(HTMLParser):
    """The tables of a page by name, its documents of JSON by id, and the text of each of its sections."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, HtmlTable] = {}
        self.documents: dict[str, str] = {}
        self.sections: dict[str, str] = {}
        self._table = HtmlTable()
        self._inside: list[str] = []
        self._section = self._document = ""

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_text())
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        match tag:
            case "section":
                self._section = facts.get("id") or ""
            case "script":
                self._document = (facts.get("id") or "") if facts.get("type") == "application/json" else ""
            case "table":
                self._table = self.tables[facts["data-table"] or ""] = HtmlTable()
            case "th":
                self._table.columns.append("")
            case "tr":
                self._table.rows.append([])
            case "td":
                value = facts.get("data-value")
                self._table.rows[-1].append(Cell(None if value is None else float(value)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass
        if tag == "thead":
            self._table.rows.clear()

    def handle_data(self, data: str) -> None:
        if "script" in self._inside:
            if self._document:
                self.documents[self._document] = self.documents.get(self._document, "") + data
            return
        if "td" in self._inside:
            self._table.rows[-1][-1].text += data
        elif "th" in self._inside:
            self._table.columns[-1] += data
        self.sections[self._section] = self.sections.get(self._section, "") + data
