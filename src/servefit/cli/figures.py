"""``servefit figures``: the meaning of the columns of all tables, and their places in JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.cli.output import Format, FormatOption, emit, warn
from servefit.report.table import Table

if TYPE_CHECKING:
    from servefit.search.figures.contract import Figure


def figures(form: FormatOption = Format.TABLE) -> None:
    """List the figures of tests and recommendations: the columns of tables, and fields of JSON documents.

    Example: servefit figures --format json
    """
    from servefit.search.figures.outside import outside_figures
    from servefit.search.figures.registry import built_in_figures

    outside = outside_figures()
    documents = [
        *(_document(figure, figure.name) for figure in built_in_figures()),
        *(_document(found.declared or found.figure, found.name, found.package, found.problem) for found in outside),
    ]
    shown = ["name", "column", "unit", "digits", "meaning", *(["package"] if outside else [])]
    rows = [[document[name] for name in shown] for document in documents]
    emit(Table(columns=tuple(shown), rows=rows), {"schema": 1, "figures": documents}, form)
    for found in outside:
        if found.problem is not None:
            warn(found.problem)


def _document(figure: Figure, name: str, package: str | None = None, problem: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "column": figure.title,
        "unit": figure.unit,
        "digits": figure.digits,
        "meaning": figure.meaning,
        "package": package,
        "problem": problem,
    }
