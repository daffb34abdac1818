"""The sample payload as the rest of servefit sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.showing import shown

if TYPE_CHECKING:
    import numpy as np


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Rows to send: a C-contiguous array (rows, features) of the datatype that the model's rows have (see
    ``Signature.row_datatype``), NaN meaning missing.

    ``source`` is the file's name, or "synthetic payload". ``truncated_from`` is the number of rows in the file where
    only the first ones were kept. ``unused_columns`` are those of the file that the model does not have.
    """

    rows: np.ndarray
    source: str
    synthetic: bool = False
    truncated_from: int | None = None
    unused_columns: tuple[str, ...] = ()

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
