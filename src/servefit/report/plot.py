"""A plot as data, independent of the library that draws it.

Every plot has the table of its figures, for readers who cannot see it or need the digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

from servefit.report.table import Table

Value: TypeAlias = float | int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis with its title. A logarithmic axis has no zero, and a ``whole`` axis has ticks only at whole numbers."""

    title: str
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points with a common ``name`` in the legend, and a label for each in ``labels``.

    ``low`` and ``high`` are the ends of the intervals of ``y``, None for points without an interval. ``symbol``
    distinguishes kinds of points of the same colour; series with the same ``colour`` share a colour. ``predicted``
    figures were not measured, and are drawn so that they are not taken for measured ones. Points that are ``joined`` in
    "stairs" say that the value of a point holds down to the x of the one before.
    """

    name: str
    x: Sequence[Value]
    y: Sequence[Value]
    labels: Sequence[str] = ()
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    drawn_as: Literal["points", "line", "steps", "bars"] = "points"
    joined: Literal["straight", "stairs"] | None = None
    symbol: Literal["filled", "hollow", "star"] = "filled"
    colour: str | None = None
    predicted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of x that is marked over the whole height, from ``low`` to ``high``."""

    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLine:
    """A straight reference line: at a value of an axis, or through the points with equal values on both axes. ``kind``
    says whether it is a limit, which must not be crossed, or only marks a value."""

    along: Literal["x", "y", "diagonal"]
    at: float
    label: str
    kind: Literal["limit", "mark"] = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot: ``name`` identifies it in the page, ``caption`` explains it. A ``small`` one is lower than others, has
    the labels of its bars beside them, and its bar named "recommended" stands out."""

    name: str
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    guides: tuple[ReferenceLine, ...] = ()
    bands: tuple[Band, ...] = ()
    horizontal: bool = False
    small: bool = False

    @classmethod
    def of_bars(
        cls, bars: Mapping[str, float], *, name: str, title: str, caption: str, unit: str, table_of: tuple[str, str]
    ) -> Self:
        """Return the plot of ``bars``, one below the other, in their ``unit``. ``table_of`` is the title of its table,
        and what the bars are of."""
        table_title, what = table_of
        return cls(
            name=name,
            title=title,
            caption=caption,
            x=Axis(title=unit),
            y=Axis(title=""),
            horizontal=True,
            series=(Series(name=table_title.lower(), x=list(bars.values()), y=list(bars), drawn_as="bars"),),
            table=Table(title=table_title, columns=(what, unit), rows=list(bars.items())),
        )

    @property
    def has_points(self) -> bool:
        return any(len(series.x) > 0 for series in self.series)
