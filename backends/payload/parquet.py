"""Columns of a Parquet file, which pyarrow reads in a child process: files of others may be made to do harm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.payload.columns import Columns
from servefit.backends.payload.exact import objects
from servefit.backends.payload.table import MAX_COLUMNS, MAX_ROWS, check_width, left_out, no_rows, unused_names
from servefit.errors import OutOfMemory, PayloadMismatch, TimedOut, WorkerCrashed
from servefit.isolation import call_isolated

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"PAR1"

_TIMEOUT_S, _MEMORY_BYTES = 60.0, 8 * 2**30
"""Of reading MAX_ROWS rows. Chosen, not measured."""


def read_parquet(path: Path, source: str, feature_names: Sequence[str]) -> Columns:
    """Return the first MAX_ROWS rows of a Parquet file, each column as Python's own objects, None where one is missing.
    Columns that are none of the model's are not read. Raises PayloadMismatch."""
    if find_spec("pyarrow") is None:
        remedy = "pip install 'servefit[parquet]', or read it with pandas.read_parquet and save it with to_csv"
        raise PayloadMismatch(source, expected="a payload", got="a Parquet file", remedy=remedy)
    try:
        names, columns, unused, total_rows = call_isolated(
            "servefit.backends.payload.parquet:columns_in",
            *(str(path), source, tuple(feature_names)),
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
    return Columns(arrays=dict(zip(names, columns, strict=True)), total_rows=total_rows, unused=unused)


def columns_in(
    path: str, source: str, feature_names: Sequence[str]
) -> tuple[list[str], list[np.ndarray], tuple[str, ...], int]:
    """Return the names of columns, the columns, the names of those that are left out, and the number of rows. Runs in
    the child process. Raises PayloadMismatch."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            every = [field.name for field in file.schema_arrow]
            unused = left_out(every, feature_names)
            names = [name for nth, name in enumerate(every) if nth not in unused]
            doubled = next((name for name, count in Counter(names).items() if count > 1), None)
            if doubled is not None:
                raise PayloadMismatch(source, expected="columns of different names", got=f"{doubled!r:.60} twice")
            check_width(source, len(names), MAX_COLUMNS)
            parts: dict[str, list[Any]] = {name: [] for name in names}
            for batch in file.iter_batches(batch_size=MAX_ROWS, columns=names):
                for name, part in parts.items():
                    part += batch.column(name).to_pylist()[: MAX_ROWS - len(part)]
                if not names or len(parts[names[0]]) >= MAX_ROWS:
                    break
            columns = [objects(part) for part in parts.values()]
            return names, columns, unused_names(every, feature_names), file.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        got = f"a Parquet file that does not load: {reason:.100}"
        raise PayloadMismatch(source, expected="a Parquet file", got=got) from error
