"""The sample payload as the rest of servefit sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from servefit.backends.model.texts import TEXT_SIZE
from servefit.showing import shown
from servefit.stored import Stored

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.model import Model, Signature


@shown()
class UsedSizes(Stored, frozen=True, kw_only=True):
    """The sizes of one name that the rows of a payload have."""

    name: str
    least: int
    median: int
    most: int

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.name} {self.least}"
        return f"{self.name} {self.least} to {self.most}, median {self.median}"


def used_sizes(rows: np.ndarray, signature: Signature) -> tuple[UsedSizes, ...]:
    """Return the sizes that packed ``rows`` have; none where rows have none."""
    return tuple(
        UsedSizes(
            name=size.name,
            least=int(column.min()),
            median=int(sorted(column.tolist())[(len(column) - 1) // 2]),
            most=int(column.max()),
        )
        for size, column in zip(signature.sizes, rows[:, : len(signature.sizes)].T, strict=True)
    )


def with_sizes_of(model: Model, payload: Payload) -> Model:
    """Return ``model`` with sizes drawn from ``payload``: those of some rows, from the smallest to the largest."""
    if not payload.sizes or payload.synthetic or model.signature.opaque:
        return model
    names = [size.name for size in payload.sizes if size.name != TEXT_SIZE]
    if not names:
        return model
    distinct = sorted(
        set(map(tuple, payload.rows[:, : len(names)].astype(int).tolist())), key=lambda sizes: (prod(sizes), sizes)
    )
    count = min(_MAX_CLASSES, len(distinct))
    chosen = [distinct[nth * (len(distinct) - 1) // max(1, count - 1)] for nth in range(count)]
    drawn = dict(zip(names, zip(*chosen, strict=True), strict=True))
    return replace(model, signature=model.signature.drawn_with(drawn))


_MAX_CLASSES = 16
"""An endpoint calls its model once for each when it starts. Chosen, not measured."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Rows to send: a C-contiguous array (rows, features) of the datatype that the model's rows have (see
    ``Signature.row_datatype``), NaN meaning missing.

    ``source`` is the file's name, or "synthetic payload". ``truncated_from`` is the number of rows in the file where
    only the first ones were kept. ``unused_columns`` are those of the file that the model does not have. ``sizes`` are
    those that the rows have for themselves: then they are packed, as ``Signature.packing`` says. ``content_type``,
    ``accept`` and ``each_line`` are what was said of requests that are bytes: see ``Bodies``.
    """

    rows: np.ndarray
    source: str
    synthetic: bool = False
    truncated_from: int | None = None
    unused_columns: tuple[str, ...] = ()
    sizes: tuple[UsedSizes, ...] = ()
    content_type: str | None = None
    accept: str | None = None
    each_line: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks on what is sent."""
        return unused_warning(self.source, self.unused_columns)


def unused_warning(source: str, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning of columns that are left out; nothing where there are none."""
    if not columns:
        return ()
    named = ", ".join(" ".join(name.split())[:40] for name in columns[:_MAX_NAMED])
    more = f" and {len(columns) - _MAX_NAMED} others" if len(columns) > _MAX_NAMED else ""
    count = "a column" if len(columns) == 1 else f"{len(columns)} columns"
    return (f"{source} has {count} that the model does not have, left out of every request: {named}{more}",)


_MAX_NAMED = 5
"""Of 40 characters each, so that a warning stays a sentence."""
