"""Columns of a Parquet file, which pyarrow reads in a child process: files of others may be made to do harm."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from servefit.backends.payload.columns import Columns
from servefit.backends.payload.exact import joined, objects, of_objects
from servefit.backends.payload.table import MAX_COLUMNS, MAX_ROWS, PayloadTable, check_width, left_out, no_rows
from servefit.errors import OutOfMemory, PayloadMismatch, TimedOut, WorkerCrashed
from servefit.isolation import call_isolated

MAGIC = b"PAR1"

_TIMEOUT_S, _MEMORY_BYTES = 60.0, 8 * 2**30
"""Of reading MAX_ROWS rows. Chosen, not measured."""


def read_parquet(path: Path, source: str) -> Columns:
    """Return the first MAX_ROWS rows of a Parquet file, each column as Python's own objects, None where one is missing.
    Raises PayloadMismatch."""
    if find_spec("pyarrow") is None:
        remedy = "pip install 'servefit[parquet]', or read it with pandas.read_parquet and save it with to_csv"
        raise PayloadMismatch(source, expected="a payload", got="a Parquet file", remedy=remedy)
    try:
        names, columns, total_rows = call_isolated(
            "servefit.backends.payload.parquet:columns_in",
            *(str(path), source),
            timeout_s=_TIMEOUT_S,
            memory_bytes=_MEMORY_BYTES,
        )
    except TimedOut as error:
        raise error.called(f"reading {source}") from error
    except (WorkerCrashed, OutOfMemory) as error:
        got = f"a Parquet file that does not load: {error.message}"
        raise PayloadMismatch(source, expected="a Parquet file", got=got[:200]) from error
    if not total_rows:
        raise no_rows(source)
    return Columns(arrays=dict(zip(names, columns, strict=True)), total_rows=total_rows)


def table_of(columns: Columns, source: str, feature_names: Sequence[str]) -> PayloadTable:
    """Return columns of numbers side by side. Columns that are none of the model's may hold anything: they are left
    out. Raises PayloadMismatch for another column of anything else."""
    check_width(source, len(columns.arrays), MAX_COLUMNS)
    numbers = []
    unused = left_out(tuple(columns.arrays), feature_names)
    for nth, (name, column) in enumerate(columns.arrays.items()):
        if nth in unused:
            numbers.append(np.full((len(column), 1), np.nan))
            continue
        try:
            numbers.append(of_objects(column).reshape(-1, 1))
        except (ValueError, TypeError, OverflowError) as error:
            expected = f"numbers in the column {name!r:.60}"
            raise PayloadMismatch(source, expected=expected, got=str(error).splitlines()[0][:100]) from error
    return PayloadTable(values=joined(numbers, axis=1), names=tuple(columns.arrays), total_rows=columns.total_rows)


def columns_in(path: str, source: str) -> tuple[list[str], list[np.ndarray], int]:
    """Return names, columns and the number of rows. Runs in the child process. Raises PayloadMismatch."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = [field.name for field in file.schema_arrow]
            doubled = next((name for name in names if names.count(name) > 1), None)
            if doubled is not None:
                raise PayloadMismatch(source, expected="columns of different names", got=f"{doubled!r:.60} twice")
            check_width(source, len(names), MAX_COLUMNS)
            parts: list[list[Any]] = [[] for _ in names]
            for batch in file.iter_batches(batch_size=MAX_ROWS):
                for part, column in zip(parts, batch.columns, strict=True):
                    part += column.to_pylist()[: MAX_ROWS - len(part)]
                if not parts or len(parts[0]) >= MAX_ROWS:
                    break
            return names, [objects(part) for part in parts], file.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        got = f"a Parquet file that does not load: {reason:.100}"
        raise PayloadMismatch(source, expected="a Parquet file", got=got) from error
