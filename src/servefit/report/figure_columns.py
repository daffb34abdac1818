"""Figures as the columns of tables: first the figures that a table always has, then those that are only shown where
they are known, then those of other packages.

``search.figures`` declares the figures and how they are read; this module only arranges them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import TYPE_CHECKING

from servefit.quantities import DIGITS
from servefit.report.table import Table
from servefit.search.figures.outside import outside_figures
from servefit.search.figures.registry import built_in_figures

if TYPE_CHECKING:
    from servefit.search.figures.contract import Figure, Subject, Value
    from servefit.search.results.recommendation import Trial

_ROOM_OF_A_NAME = 24
"""Letters of a figure's name in a title that a number is added to. Chosen so that the title does not exceed the
maximum length of titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureColumns:
    """Figures side by side. ``hidden`` are the names of the figures that are shown as unknown in this table, even if
    they were measured."""

    figures: tuple[Figure, ...]
    hidden: frozenset[str] = frozenset()

    @property
    def titles(self) -> tuple[str, ...]:
        """The heads of the columns."""
        return tuple(figure.title for figure in self.figures)

    @property
    def digits(self) -> tuple[int, ...]:
        """The number of significant digits that each column is shown with."""
        return tuple(DIGITS if figure.digits is None else figure.digits for figure in self.figures)

    def cells(self, subject: Subject | None) -> tuple[Value, ...]:
        """Return the row of ``subject``; if it is None, a row of unknown figures."""
        return tuple(
            None if subject is None or figure.name in self.hidden else figure.cell(subject) for figure in self.figures
        )

    def table(self, title: str, subjects: Sequence[Subject]) -> Table:
        """Return a table with a row for each of ``subjects``."""
        return Table(title=title, columns=self.titles, rows=list(map(self.cells, subjects)), digits=self.digits)


def columns_for(usual: Sequence[Figure], subjects: Sequence[Subject], *, hidden: Collection[str] = ()) -> FigureColumns:
    """Return the columns of a table about ``subjects``.

    Args:
        usual: The figures that the table always has, in their order.
        subjects: The tests or recommendations of its rows.
        hidden: Names of figures that are shown as unknown, even if they were measured.

    Returns:
        The usual figures, and the figures to their right.

    Example:
        ``columns_for(figures(["id", "samples"]), job.recommendations).table("Samples", job.recommendations)``
    """
    added = added_columns(usual, subjects, beside=[figure.title for figure in usual])
    return FigureColumns(figures=(*usual, *added.figures), hidden=frozenset(hidden))


def table_of_tests(
    usual: Sequence[Figure],
    rows: Sequence[tuple[Sequence[object], Trial | None, Sequence[object]]],
    *,
    before: tuple[str, ...],
    after: tuple[str, ...],
    title: str | None = None,
) -> Table:
    """Return a table of single tests, with other columns on both sides of the usual figures. Figures that are only
    shown where they are known are to the right of all others.

    Args:
        usual: The figures that the table always has, in their order.
        rows: For each row the cells of the columns ``before``, the test (None if the row is not about a test, and has
            no figures), and the cells of the columns ``after``.
        before: The heads of the columns to the left of the usual figures.
        after: The heads of the columns to the right of the usual figures.
        title: The title of the table.
    """
    shown, trials = FigureColumns(figures=tuple(usual)), [trial for _, trial, _ in rows if trial is not None]
    added = added_columns(usual, trials, beside=(*before, *shown.titles, *after), of_trials=True)
    return Table(
        title=title,
        columns=(*before, *shown.titles, *after, *added.titles),
        rows=[(*left, *shown.cells(trial), *right, *added.cells(trial)) for left, trial, right in rows],
        digits=(*(DIGITS,) * len(before), *shown.digits, *(DIGITS,) * len(after), *added.digits),
    )


def added_columns(
    usual: Collection[Figure], subjects: Sequence[Subject], *, beside: Collection[str], of_trials: bool = False
) -> FigureColumns:
    """Return the columns to the right of the ``usual`` columns: known figures of servefit that are
    ``only_where_known``, then the figures of other packages.

    Args:
        usual: The figures that the table always has.
        subjects: The tests or recommendations of its rows.
        beside: The titles of all columns that it always has.
        of_trials: Whether the rows are single tests; figures that take a recommendation are then left out.
    """
    shown = {figure.name for figure in usual}
    offered = (
        *(figure for figure in built_in_figures() if figure.only_where_known and figure.name not in shown),
        *(outside.figure for outside in outside_figures()),
    )
    fitting = (figure for figure in offered if figure.reads_trials or not of_trials)
    added = (figure for figure in fitting if not figure.only_where_known or _is_known(figure, subjects))
    return FigureColumns(figures=tuple(_titled_apart(added, {*beside})))


def _is_known(figure: Figure, subjects: Sequence[Subject]) -> bool:
    return any(figure.of(subject) is not None for subject in subjects)


def _titled_apart(figures: Iterable[Figure], taken: set[str]) -> Iterator[Figure]:
    """Yield ``figures`` with unique titles: if a title is taken, the figure's name is its title, with a number if the
    name is taken too."""
    for figure in figures:
        numbered = (f"{figure.name[:_ROOM_OF_A_NAME]} {number}" for number in count(2))
        title = next(title for title in chain((figure.title, figure.name), numbered) if title not in taken)
        taken.add(title)
        yield figure if title == figure.title else replace(figure, title=title)
