"""``servefit figures``: the meaning of the columns of all tables, and their places in JSON documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.cli.output import FormatOption, OutputFormat, WideOption, emit, warn
from servefit.report.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from servefit.search.figures.contract import Figure


def figures(form: FormatOption = OutputFormat.TABLE, wide: WideOption = False) -> None:
    """List the figures of tests and recommendations: the columns of tables, and fields of JSON documents.

    Example: servefit figures --format json
    """
    from servefit.search.figures.outside import outside_figures
    from servefit.search.figures.registry import built_in_figures

    outside = outside_figures()
    documents = [
        *(_document(figure, figure.name) for figure in built_in_figures()),
        *(
            _document(registered.declared or registered.figure, registered.name, registered.package, registered.problem)
            for registered in outside
        ),
    ]
    package = ("package",) if outside else ()
    table = _table(documents, ("name", "column", "unit", "digits", "meaning", *package))
    brief = _table(documents, ("column", "unit", "meaning", *package))
    emit(table, {"schema": 1, "figures": documents}, form, brief=None if wide else brief)
    for registered in outside:
        if registered.problem is not None:
            warn(registered.problem)


def _table(documents: Sequence[Mapping[str, Any]], columns: tuple[str, ...]) -> Table:
    return Table(columns=columns, rows=[[document[name] for name in columns] for document in documents])


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
