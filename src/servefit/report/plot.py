"""A plot as figures under names, however it will be drawn.

Every plot comes with the table of its figures, for those who cannot see it and for those who want the digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from servefit.report.table import Table

Value: TypeAlias = float | int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis with its title: a logarithmic one has no zero, and a ``whole`` one has ticks at whole numbers alone."""

    title: str
    log: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points that belong together, under one ``name`` in the legend; ``labels`` say what each is.

    ``low`` and ``high`` are the ends of the intervals of ``y``, None where there are none. ``symbol`` tells kinds of
    points apart where colours do not; series with the same ``colour`` share one.
    """

    name: str
    x: Sequence[Value]
    y: Sequence[Value]
    labels: Sequence[str] = ()
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    drawn_as: Literal["points", "line", "steps", "bars"] = "points"
    symbol: Literal["filled", "hollow", "star"] = "filled"
    colour: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """A straight line that points are seen against: at one value of an axis, or where both axes say the same."""

    along: Literal["x", "y", "diagonal"]
    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """``name`` identifies it in the page, ``caption`` says what there is to see."""

    name: str
    title: str
    caption: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    table: Table
    guides: tuple[Guide, ...] = ()
    horizontal: bool = False

    @property
    def has_points(self) -> bool:
        return any(len(series.x) > 0 for series in self.series)
