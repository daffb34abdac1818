"""Data frames of pandas, polars and pyarrow, column by column: a column keeps its datatype, and those that nobody asks
for are not read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.backends.payload.exact import objects, plain
from servefit.backends.payload.table import MAX_ROWS, PayloadTable, left_out, table_of_columns, unused_names

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class FrameColumns:
    """The columns of a data frame of ``total_rows``: ``read`` gives the first rows of one by its position, as numbers,
    or as Python's own objects, None where one is missing."""

    names: tuple[str, ...]
    total_rows: int
    read: Callable[[int], np.ndarray]


def frame_columns(source: Any) -> FrameColumns | None:
    """Return the columns of a data frame; None for anything else.

    Example:
        >>> import pandas
        >>> columns = frame_columns(pandas.DataFrame({"age": [30, 41], "city": ["Rome", None]}))
        >>> columns.names, columns.read(1).tolist()
        (('age', 'city'), ['Rome', None])
    """
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        head = source.iloc[:MAX_ROWS]
        return FrameColumns(_names(source.columns), len(source), lambda nth: _of_pandas(head.iloc[:, nth]))
    if hasattr(source, "to_series") and hasattr(source, "columns"):
        first = source.head(MAX_ROWS)
        return FrameColumns(_names(source.columns), len(source), lambda nth: objects(first.to_series(nth).to_list()))
    if hasattr(source, "column_names") and hasattr(source, "num_rows"):
        rows = source.slice(0, MAX_ROWS)
        return FrameColumns(
            _names(source.column_names), source.num_rows, lambda nth: objects(rows.column(nth).to_pylist())
        )
    return None


def _names(labels: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(label) for label in labels)


def _of_pandas(series: Any) -> np.ndarray:
    values = series.to_numpy()
    if values.dtype.kind in "biuf":
        return plain(values)
    cells = zip(series.astype(object).tolist(), series.isna(), strict=True)
    return objects([None if is_missing else cell for cell, is_missing in cells])


def table_of_frame(
    frame: FrameColumns, feature_names: Sequence[str], source: str
) -> tuple[PayloadTable, tuple[str, ...]]:
    """Return the columns of numbers of ``frame`` side by side, and the names of those that are none of the model's,
    which are left out and may hold anything. Raises PayloadMismatch."""
    unused = left_out(frame.names, feature_names)
    kept = [nth for nth in range(len(frame.names)) if nth not in unused]
    names = [frame.names[nth] for nth in kept]
    table = table_of_columns(names, (frame.read(nth) for nth in kept), frame.total_rows, source)
    return table, unused_names(frame.names, feature_names)
