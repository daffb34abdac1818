"""From what the user gave as a sample to a Payload: a file of any supported format, an array, or nothing.

A format is told by content. Reading it is for one module a format; fitting the rows to the model is for ``table``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.archive import visible_files
from servefit.backends.model.file_kinds import is_text, kind_of
from servefit.backends.model.finding import unpack_bounded
from servefit.backends.model.formats import recognise
from servefit.backends.model.input_shapes import is_by_position
from servefit.backends.model.packing import join
from servefit.backends.model.types import Format
from servefit.backends.payload.arrays import load_npy, load_npz, read_npy, read_npz, table_of_array
from servefit.backends.payload.bodies import Bodies, bodies_payload
from servefit.backends.payload.columns import Columns, columns_of_objects, read_columns
from servefit.backends.payload.delimited import read_delimited
from servefit.backends.payload.exact import EXACT, joined, of_objects
from servefit.backends.payload.frames import frame_columns, table_of_frame
from servefit.backends.payload.json_rows import read_documents, read_json
from servefit.backends.payload.parquet import MAGIC, read_parquet
from servefit.backends.payload.synthetic import synthetic_payload
from servefit.backends.payload.table import MAX_ROWS, PayloadTable, rows_for, table_of_columns, unused_columns
from servefit.backends.payload.tensors import holds_tensors, rows_of_arrays, rows_of_documents, rows_of_requests
from servefit.backends.payload.types import Payload, used_sizes
from servefit.checks import check_whole
from servefit.errors import CorruptModel, PayloadMismatch, SpecError
from servefit.state import temporary_folder

if TYPE_CHECKING:
    from servefit.backends.model import Model, Signature

_TAKEN = "CSV, JSON, JSON Lines, NPY, NPZ or Parquet"


def payload_for(model: Model, source: Any = None, seed: int = 0) -> Payload:
    """Return the payload that ``source`` is: a path, an array or table (anything with ``to_numpy``), rows as nested
    lists, one that was read for this model, or None for a synthetic one drawn from ``seed``; for a script, what
    ``Bodies`` take, or Bodies. Raises PayloadMismatch,
    and SpecError for a seed out of range."""
    check_seed(seed)
    if isinstance(source, Payload):
        return source
    if model.signature.opaque:
        return bodies_payload(source, model.signature)
    if source is None:
        return synthetic_payload(model, seed=seed)
    return payload_of(source, model.signature)


def check_seed(seed: int) -> None:
    """Raise SpecError for a seed out of range."""
    check_whole("seed", seed, least=0, most=2**32 - 1)


def payload_of(source: Any, signature: Signature | None = None) -> Payload:
    """Return the payload that ``source`` is, for a model of that signature; None where no model is known, and rows are
    as wide as they are. Raises PayloadMismatch, and SpecError for bytes to a model that takes rows."""
    if isinstance(source, Bodies):
        raise SpecError(
            "content_type",
            source.content_type,
            "is said of a payload of opaque bytes, and this model takes rows",
            remedy="leave --content-type, --accept and --each-line out, or serve a script with --trust-code",
        )
    if isinstance(source, str | Path):
        return read_payload(source, signature)
    return _payload_of_array(source, signature)


def read_payload(path: str | Path, signature: Signature | None) -> Payload:
    """Read the first 10,000 rows of a CSV, JSON, JSON Lines, NPY, NPZ or Parquet file, or of a ``.tar.gz`` of them.

    Raises PayloadMismatch, naming the row and the column where there is one to name.
    """
    path = Path(path)
    return _read(path, path.name or str(path), signature)


def _read(path: Path, source: str, signature: Signature | None) -> Payload:
    try:
        if path.exists() and not path.is_file():
            # A pipe can be read once, and the format is told by a first look.
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise PayloadMismatch(source, expected="a regular file", got=kind)
        if _head(path).startswith(b"\x1f\x8b"):
            return _read_archive(path, source, signature)
        if _head(path).startswith(MAGIC) and not is_text(_head(path)):
            return _of_parquet(read_parquet(path, source, _names(signature)), signature, source)
        if signature is not None and signature.sizes:
            if signature.has_columns and (columns := _read_columns(path, source, signature)) is not None:
                return _of_columns(columns, signature, source)
            rows, total_rows = _read_tensors(path, source, signature)
            return _packed(rows, total_rows, signature, source)
        if signature is not None and signature.output_tensors and _is_json(_head(path)):
            documents = read_documents(path, source, _names(signature))
            if documents and holds_tensors(documents[0], signature):
                return _packed(*rows_of_documents(documents, signature, source), signature, source)
        table = _read_table(path, source, signature)
    except OSError as error:
        raise PayloadMismatch(source, expected="a readable file", got=(error.strerror or str(error)).lower()) from error
    return _payload(table, signature, source)


def _of_parquet(columns: Columns, signature: Signature | None, source: str) -> Payload:
    """Return a payload of the columns of a Parquet file: a table, or tensors, each cell a list, of a network."""
    if signature is None or not signature.sizes:
        arrays = columns.arrays
        table = table_of_columns(list(arrays), arrays.values(), columns.total_rows, source)
        return replace(_payload(table, signature, source), unused_columns=columns.unused)
    if signature.has_columns:
        converted = columns_of_objects(columns.arrays, signature, source)
        whole = replace(converted, total_rows=columns.total_rows, unused=columns.unused)
        return _of_columns(whole, signature, source)
    count = len(next(iter(columns.arrays.values())))
    return _packed(_rows_of_cells(columns.arrays, count, signature, source), columns.total_rows, signature, source)


def _rows_of_cells(columns: Mapping[str, np.ndarray], count: int, signature: Signature, source: str) -> np.ndarray:
    try:
        requests = [{name: np.asarray(column[nth]) for name, column in columns.items()} for nth in range(count)]
    except ValueError as error:  # lists side by side that differ in length
        raise PayloadMismatch(source, expected="tensors of numbers", got=str(error).splitlines()[0]) from error
    return rows_of_requests(requests, signature, source)


def _payload(table: PayloadTable, signature: Signature | None, source: str) -> Payload:
    rows = rows_for(table, signature, source)
    return Payload(
        rows=rows,
        source=source,
        truncated_from=table.total_rows if table.total_rows > len(rows) else None,
        unused_columns=unused_columns(table, signature),
    )


def _packed(rows: np.ndarray, total_rows: int, signature: Signature, source: str) -> Payload:
    """Return a payload of rows that have sizes of their own."""
    truncated_from = total_rows if total_rows > len(rows) else None
    return Payload(rows=rows, source=source, truncated_from=truncated_from, sizes=used_sizes(rows, signature))


def _of_columns(columns: Columns, signature: Signature, source: str) -> Payload:
    """Return a payload of the columns of a table, for a model whose columns are of different kinds."""
    rows = rows_of_arrays(columns.arrays, signature, source)
    return replace(_packed(rows, columns.total_rows, signature, source), unused_columns=columns.unused)


def _read_columns(path: Path, source: str, signature: Signature) -> Columns | None:
    """Return the columns of a table in a file; None for a file of another form."""
    head = _head(path)
    _refuse_foreign(path, head, source)
    if head.startswith((b"\x93NUMPY", b"PK")) or _is_json(head):
        return None
    return read_columns(path, signature, source)


def _read_tensors(path: Path, source: str, signature: Signature) -> tuple[np.ndarray, int]:
    """Return the packed rows of a file for a model whose requests have sizes of their own, and how many it has."""
    head = _head(path)
    if head.startswith(b"\x93NUMPY"):
        return _rows_of_arrays(load_npy(path, source), signature, source)
    _refuse_foreign(path, head, source)
    if head.startswith(b"PK"):
        return _rows_of_arrays(load_npz(path, source), signature, source)
    if _is_json(head):
        return rows_of_documents(read_documents(path, source, _names(signature)), signature, source)
    named = ", ".join(size.name for size in signature.sizes)
    expected = f"NPZ, NPY, JSON or JSON Lines, which tell the sizes of a request ({named})"
    try:
        read_delimited(path, source, ())
    except PayloadMismatch:
        got = "a file of something else"
    else:
        got = "a table, which has one width"
    raise PayloadMismatch(source, expected=expected, got=got)


def _rows_of_arrays(
    arrays: np.ndarray | Mapping[str, np.ndarray], signature: Signature, source: str
) -> tuple[np.ndarray, int]:
    """Return the packed rows of one array for each input: of any name where there is one, as a table has none, and in
    their order where they have none of their own."""
    if isinstance(arrays, np.ndarray):
        arrays = {"rows": arrays}
    if len(arrays) == len(signature.inputs) and (len(arrays) == 1 or is_by_position(arrays)):
        arrays = {one.name: array for one, array in zip(signature.inputs, arrays.values(), strict=True)}
    total_rows = max((len(array) for array in arrays.values() if array.ndim), default=0)
    kept = {name: array[:MAX_ROWS] if array.ndim else array for name, array in arrays.items()}
    return rows_of_arrays(kept, signature, source), total_rows


def _read_table(path: Path, source: str, signature: Signature | None) -> PayloadTable:
    head = _head(path)
    if head.startswith(b"\x93NUMPY"):
        return read_npy(path, source, signature)
    _refuse_foreign(path, head, source)
    if head.startswith(b"PK"):
        return read_npz(path, source, signature)
    if _is_json(head):
        return read_json(path, source, _names(signature))
    return read_delimited(path, source, _names(signature))


def _names(signature: Signature | None) -> tuple[str, ...]:
    return () if signature is None else signature.column_names


def _is_json(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _refuse_foreign(path: Path, head: bytes, source: str) -> None:
    """Raise PayloadMismatch if the file is no payload, such as a table of an unsupported format."""
    # A text pickle and a table whose first column is called "count" may begin alike.
    format_of_model = None if is_text(head) else recognise(head)
    if format_of_model is Format.PICKLE:
        remedy = "if it is a table, read it with pandas.read_pickle and save it with to_csv(..., index=False)"
        raise PayloadMismatch(source, expected=_TAKEN, got="a pickle", remedy=remedy)
    if format_of_model is not None:
        raise PayloadMismatch(source, expected=_TAKEN, got=f"a model ({format_of_model})")
    kind = kind_of(path, head)
    # The reader of NPZ files refuses any other ZIP archive.
    if kind is not None and (kind.to_serve or kind.to_send or kind.format or not head.startswith(b"PK")):
        raise PayloadMismatch(source, expected=_TAKEN, got=kind.what, remedy=kind.to_send)


def _read_archive(path: Path, source: str, signature: Signature | None) -> Payload:
    """Return the rows of every file in a ``.tar.gz``, in the order of their names."""
    with temporary_folder("payload") as folder:
        try:
            unpack_bounded(path, folder)
        except CorruptModel as error:
            raise PayloadMismatch(
                source, expected="a .tar.gz of payload files", got=error.reason, remedy=error.remedy
            ) from error
        files = visible_files(folder)
        if not files:
            raise PayloadMismatch(source, expected="at least one file", got="an empty archive")
        parts: list[Payload] = []
        sized = signature is not None and bool(signature.sizes)
        for file in files:
            name = f"{source}:{file.relative_to(folder)}"
            if _head(file).startswith(b"\x1f\x8b"):
                raise PayloadMismatch(name, expected=_TAKEN, got="an archive in an archive")
            part = _read(file, name, signature)
            if parts and not sized and part.rows.shape[1] != parts[0].rows.shape[1]:
                expected = f"{parts[0].rows.shape[1]} columns, as in the first file"
                raise PayloadMismatch(name, expected=expected, got=str(part.rows.shape[1]))
            parts.append(part)
    together = [part.rows for part in parts]
    rows = (join(together) if sized else joined(together, axis=0))[:MAX_ROWS]
    total_rows = sum(part.truncated_from or len(part.rows) for part in parts)
    return Payload(
        rows=rows
        if signature is not None
        else rows_for(PayloadTable(values=rows, total_rows=total_rows), None, source),
        source=source,
        truncated_from=total_rows if total_rows > len(rows) else None,
        unused_columns=tuple(dict.fromkeys(name for part in parts for name in part.unused_columns)),
        sizes=() if signature is None else used_sizes(rows, signature),
    )


def _payload_of_array(source: Any, signature: Signature | None) -> Payload:
    if signature is not None and signature.has_columns:
        return _of_columns(columns_of_objects(source, signature, "array"), signature, "array")
    if signature is not None and (signature.sizes or (signature.output_tensors and _has_names(source))):
        return _packed(*_rows_of_objects(source, signature), signature, "array")
    if (frame := frame_columns(source)) is not None:
        table, unused = table_of_frame(frame, _names(signature), "array")
        return replace(_payload(table, signature, "array"), unused_columns=unused)
    try:
        array = np.asarray(source.to_numpy() if hasattr(source, "to_numpy") else source)
        if array.dtype.kind == "f" and array is not source and (np.abs(array) >= EXACT).any():
            # Integers beside floats, which NumPy makes floats of.
            array = np.asarray(source, dtype=object)
        if array.dtype == object:
            array = of_objects(array)
    except (ValueError, TypeError, OverflowError) as error:
        raise PayloadMismatch("array", expected="rows of numbers", got=str(error).splitlines()[0]) from error
    names = [str(name) for name in getattr(source, "columns", ())] or None  # of a table of another library
    return _payload(table_of_array(array, "array", signature, names), signature, "array")


def _has_names(source: Any) -> bool:
    """Return whether it is a mapping of arrays, or a list of mappings."""
    if isinstance(source, Sequence) and not isinstance(source, str) and source:
        source = source[0]
    return isinstance(source, Mapping)


def _exact(values: Any) -> np.ndarray:
    """Return what Python has as an array: large whole numbers beside floats as they are, which NumPy would round."""
    array = np.asarray(values)
    if array.dtype.kind != "f" or isinstance(values, np.ndarray) or not (np.abs(array) >= EXACT).any():
        return array
    return np.asarray(values, dtype=object)


def _rows_of_objects(source: Any, signature: Signature) -> tuple[np.ndarray, int]:
    """Return the packed rows of what Python has: an array for each input by name, one array for a model of one input,
    or a list of requests, each of which is a mapping of name to values without a dimension for rows."""
    try:
        if isinstance(source, Mapping):
            return _rows_of_arrays({str(name): _exact(one) for name, one in source.items()}, signature, "array")
        if isinstance(source, Sequence) and not isinstance(source, str):
            requests = [dict(one) if isinstance(one, Mapping) else {signature.inputs[0].name: one} for one in source]
            arrays = [{str(name): _exact(values) for name, values in one.items()} for one in requests[:MAX_ROWS]]
            return rows_of_requests(arrays, signature, "array"), len(requests)
        return _rows_of_arrays(np.asarray(source), signature, "array")
    except (ValueError, TypeError, OverflowError) as error:
        raise PayloadMismatch("array", expected="tensors of numbers", got=str(error).splitlines()[0]) from error


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(1024)
