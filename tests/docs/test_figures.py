"""The page on figures lists what is declared."""

from __future__ import annotations

from tests.docs.pages import ROOT

from servefit.report.table import Table, markdown_lines
from servefit.search.figures.registry import built_in_figures


def test_the_page_lists_every_figure_as_it_is_declared() -> None:
    declared = Table(
        columns=("name", "column", "unit", "digits", "meaning"),
        rows=[(figure.name, figure.title, figure.unit, figure.digits, figure.meaning) for figure in built_in_figures()],
    )
    page = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    listed = [line for line in page.splitlines() if line.startswith("|")]
    assert listed == list(markdown_lines(declared)), "servefit figures --format markdown prints the table"
