"""The curves of a picture: lines with their points, what they are called, and their colors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, TypeAlias

from servefit.aws.services.cloudwatch.widgets.lines import labels

if TYPE_CHECKING:
    from servefit.aws.services.cloudwatch.widgets.lines import Line

    Points: TypeAlias = Sequence[tuple[int, float]]
    """Times in seconds since 1970, ascending, and values."""

_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")

_TEXT_CHARACTERS = 120
"""Longer texts are cut: they would not fit into a picture of 2000 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The points of a line; ``axis`` is left or right."""

    at_s: Sequence[float]
    values: Sequence[float]
    label: str
    color: str
    axis: str


def curves_of(drawn: Sequence[tuple[Line, Points]]) -> list[Curve]:
    """Return the curves of lines."""
    colors = cycle(_COLORS)
    names = labels([line for line, _ in drawn])
    return [
        Curve(
            at_s=[at_s for at_s, _ in points],
            values=[value for _, value in points],
            label=drawable(name),
            color=line.color or next(colors),
            axis=line.axis,
        )
        for (line, points), name in zip(drawn, names, strict=True)
    ]


def drawable(text: str) -> str:
    """Return a text as it can be drawn: on one line, and without half characters, which JSON can spell."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text[:_TEXT_CHARACTERS]).encode(errors="replace").decode()
