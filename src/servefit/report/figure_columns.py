"""Figures as the columns of tables: those that a table always has, and to their right those that are known here, and
those of other packages.

What a figure is, and how it is read, is declared in ``search.figures``; this only lays them side by side.
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

_ROOM_OF_A_NAME = 24
"""Of the name of a figure in a title that a number is added to: both are within the room of a title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Figures side by side; ``hidden`` are the names of those that are not known in this table, whatever was
    measured."""

    figures: tuple[Figure, ...]
    hidden: frozenset[str] = frozenset()

    @property
    def titles(self) -> tuple[str, ...]:
        """Return the heads of the columns."""
        return tuple(one.title for one in self.figures)

    @property
    def digits(self) -> tuple[int, ...]:
        """Return how many significant digits each column is shown with."""
        return tuple(DIGITS if one.digits is None else one.digits for one in self.figures)

    def cells(self, subject: Subject) -> tuple[Value, ...]:
        """Return the row of ``subject``."""
        return tuple(None if one.name in self.hidden else one.cell(subject) for one in self.figures)

    def table(self, title: str, subjects: Sequence[Subject]) -> Table:
        """Return a table with a row for each of ``subjects``."""
        return Table(title=title, columns=self.titles, rows=list(map(self.cells, subjects)), digits=self.digits)


def columns_for(usual: Sequence[Figure], subjects: Sequence[Subject], *, hidden: Collection[str] = ()) -> Columns:
    """Return the columns of a table about ``subjects``.

    Args:
        usual: The figures that it always has, in their order.
        subjects: What its rows are about.
        hidden: Names of figures that are not known in this table, whatever was measured.

    Returns:
        The usual figures, and those to their right.

    Example:
        ``columns_for(figures(["id", "samples"]), job.recommendations).table("Samples", job.recommendations)``
    """
    added = added_columns(usual, subjects, beside=[one.title for one in usual])
    return Columns(figures=(*usual, *added.figures), hidden=frozenset(hidden))


def added_columns(
    usual: Collection[Figure], subjects: Sequence[Subject], *, beside: Collection[str], of_trials: bool = False
) -> Columns:
    """Return the columns to the right of the ``usual`` ones: figures of servefit that are shown where they are known,
    and are, then those of other packages.

    Args:
        usual: The figures that the table always has.
        subjects: What its rows are about.
        beside: The titles of all columns that it always has.
        of_trials: Its rows are single tests, so figures that take a recommendation are left out.
    """
    shown = {one.name for one in usual}
    offered = (
        *(one for one in built_in_figures() if one.only_where_known and one.name not in shown),
        *(one.figure for one in outside_figures()),
    )
    fitting = (one for one in offered if one.reads_trials or not of_trials)
    known = (one for one in fitting if not one.only_where_known or _is_known(one, subjects))
    return Columns(figures=tuple(_titled_apart(known, {*beside})))


def _is_known(figure: Figure, subjects: Sequence[Subject]) -> bool:
    return any(figure.of(one) is not None for one in subjects)


def _titled_apart(figures: Iterable[Figure], taken: set[str]) -> Iterator[Figure]:
    """Give ``figures``; one whose title is taken gets its name as title, and where that is taken too, a number."""
    for one in figures:
        numbered = (f"{one.name[:_ROOM_OF_A_NAME]} {number}" for number in count(2))
        title = next(title for title in chain((one.title, one.name), numbered) if title not in taken)
        taken.add(title)
        yield one if title == one.title else replace(one, title=title)
