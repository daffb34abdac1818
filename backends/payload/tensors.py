"""Rows from named tensors, for networks: images, and what has sizes of its own, such as sentences of any length. What a
tensor may hold is checked in ``table``, as for all other payloads.

A document may be ``{"inputs": [{"name", "shape", "data"}]}`` (Open Inference Protocol) or ``{"inputs": {name:
values}}`` (TensorFlow Serving), whose first dimension is the rows; ``{"instances": [...]}``, a list, or one object a
line, where each item is one row: ``{name: values}``, or the values alone where the model has one input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.model.packing import join, shape_in
from servefit.backends.model.types import Signature, Task
from servefit.backends.model.width import MAX_FEATURES
from servefit.backends.payload.columns import arrays_of_cells, cells_of, checked_names, column_of
from servefit.backends.payload.exact import MAX_WHOLE, array_of, objects, plain
from servefit.backends.payload.json_forms import form_of, is_row
from servefit.backends.payload.json_rows import too_deep
from servefit.backends.payload.parts import check_inputs, one_for_each
from servefit.backends.payload.table import MAX_DIMENSIONS, MAX_ROWS, PayloadTable, no_rows, rows_for
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Input


MAX_VALUES = 2**26
"""Of all rows together, each as wide as the widest: half a gigabyte. One long row beside many short ones makes many
values of few."""


def rows_of_arrays(arrays: Mapping[str, np.ndarray], signature: Signature, source: str) -> np.ndarray:
    """Return packed rows of one array of numbers for each input, (rows, *shape), which all rows share.

    Raises PayloadMismatch for other names than the model has, shapes that do not fit it or one another, and values that
    an input does not take.
    """
    check_inputs(list(arrays), signature.inputs, source)
    count = len(next(iter(arrays.values()))) if all(array.ndim for array in arrays.values()) else 0
    sizes: dict[str, int] = {}
    for one in signature.inputs:
        array = arrays[one.name]
        if signature.has_columns and array.ndim and array.size == len(array):
            array = array.reshape(-1, *one.fixed_shape)
        if array.ndim and len(array) != count:
            expected = f"as many rows in {one.name!r:.60} as in {next(iter(arrays))!r:.60} ({count})"
            raise PayloadMismatch(source, expected=expected, got=str(len(array)))
        _find_sizes(one, array.shape[1:] if array.ndim else (), sizes, source)
    if not count:
        raise no_rows(source)
    blocks = []
    for one in signature.inputs:
        shape = shape_in(one.shape, sizes)
        values = arrays[one.name].reshape(count, prod(shape))
        blocks.append(_block(values, one, source, signature))
    rows = signature.packing.pack(blocks, sizes, signature.row_datatype)
    if rows.shape[1] > MAX_FEATURES:  # texts have no size of their own
        raise PayloadMismatch(source, expected=f"at most {MAX_FEATURES} bytes of texts a row", got=str(rows.shape[1]))
    for place, block, one in zip(signature.packing.places(sizes), blocks, signature.inputs, strict=True):
        # As floats, a whole number and what it was rounded to are the same.
        if one.is_whole and (rounded := rows[:, place.start : place.stop].astype(np.int64) != block).any():
            expected = f"whole numbers in {one.name!r:.60} that {signature.row_datatype}, the datatype of rows, holds"
            raise PayloadMismatch(source, expected=expected, got=str(block[rounded][0]))
    return rows


def holds_tensors(document: Any, signature: Signature) -> bool:
    """Return whether a JSON document for a network of fixed sizes has tensors by name, or nested lists in place of rows
    of numbers, and is for ``rows_of_document``. All else is read as it is for tables."""
    if not signature.output_tensors:
        return False
    first = document
    if isinstance(document, dict):
        if isinstance(document.get("inputs"), dict) or _has_all_inputs(document, signature):
            return True
        first = document.get("instances", document)
        if first is document and {"data", "inputs", "features"} & document.keys():
            return False
    if isinstance(first, list):
        first = first[0] if first else None
    if isinstance(first, dict):
        return first.keys() != {"features"} and any(isinstance(value, list) for value in first.values())
    return isinstance(first, list) and any(isinstance(value, list) for value in first)


def _form_of_rows(document: Mapping[str, Any], signature: Signature, source: str) -> str | None:
    """Return the key under which an object has a list of rows; None for one that is a row itself."""
    if signature.has_columns:
        return form_of(document, signature.column_names, source)
    is_list = isinstance(document.get("instances"), list) and not _has_all_inputs(document, signature)
    return "instances" if is_list else None


def _has_all_inputs(document: Mapping[str, Any], signature: Signature) -> bool:
    """Return whether an object has a value for each of a network's several inputs: then it is a request by name,
    whatever else its keys mean."""
    return len(signature.inputs) > 1 and all(one.name in document for one in signature.inputs)


def rows_of_document(
    document: Any, signature: Signature, source: str, *, most_rows: int = MAX_ROWS, booleans: bool = True
) -> tuple[np.ndarray, int]:
    """Return the packed rows of a JSON document, ``most_rows`` at most, and how many it has. Raises PayloadMismatch,
    and RecursionError."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    names = {one.name for one in signature.inputs}
    if isinstance(inputs, list) and inputs and all(isinstance(item, dict) and "data" in item for item in inputs):
        rows = _rows_of_protocol(inputs, signature, source, booleans)
        return rows[:most_rows], len(rows)
    is_cells = isinstance(document, dict) and signature.has_columns and is_row(document, signature.column_names)
    if isinstance(inputs, dict) and "inputs" not in names and not is_cells:
        arrays = {
            name: _array(values, f"{source}: {name:.60}", name, signature, booleans) for name, values in inputs.items()
        }
        rows = rows_of_arrays(arrays, signature, source)
        return rows[:most_rows], len(rows)
    if signature.has_columns and (listed := cells_of(document, signature, source)) is not None:
        cells, names_of_cells = listed
        arrays = arrays_of_cells(cells[:most_rows], names_of_cells, signature, source)
        return rows_of_arrays(arrays, signature, source), len(cells)
    items = document
    if isinstance(document, dict):
        form = _form_of_rows(document, signature, source)
        items = [document] if form is None else document[form]
    if not isinstance(items, list):
        raise PayloadMismatch(source, expected="a list or an object", got=f"{document!r:.60}")
    if not items:
        raise no_rows(source)
    requests = [
        _arrays_of(item, signature, f"{source}, row {number}", booleans)
        for number, item in enumerate(items[:most_rows], 1)
    ]
    return rows_of_requests(requests, signature, source), len(items)


def rows_of_documents(
    documents: Sequence[Any], signature: Signature, source: str, *, most_rows: int = MAX_ROWS, booleans: bool = True
) -> tuple[np.ndarray, int]:
    """Return the same for several documents, such as those of the lines of a file. Raises PayloadMismatch."""
    parts: list[np.ndarray] = []
    total = 0
    for number, document in enumerate(documents, 1):
        where = source if len(documents) == 1 else f"{source}, line {number}"
        try:
            rows, count = rows_of_document(document, signature, where, most_rows=most_rows, booleans=booleans)
        except RecursionError as error:
            raise too_deep(where) from error
        total += count
        if sum(map(len, parts)) < most_rows:
            parts.append(rows)
    if not parts:
        raise no_rows(source)
    _check_values(sum(map(len, parts)), max(rows.shape[1] for rows in parts), source)
    return join(parts)[:most_rows], total


def rows_of_requests(requests: Sequence[Mapping[str, np.ndarray]], signature: Signature, source: str) -> np.ndarray:
    """Return a packed row for each request, whose tensors have no dimension for rows. Those of the same shapes are
    checked together. Raises PayloadMismatch as :func:`rows_of_arrays`, and where rows would take too much memory."""
    if not requests:
        raise no_rows(source)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for nth, arrays in enumerate(requests):
        # Whole numbers and floats stay apart: together they would be floats.
        key = tuple((name, array.shape, array.dtype.kind) for name, array in arrays.items())
        alike.setdefault(key, []).append(nth)
    widest = max(sum(array.size for array in requests[which[0]].values()) for which in alike.values())
    _check_values(len(requests), widest, source)
    parts, order = [], []
    for which in alike.values():
        stacked = {name: np.stack([requests[nth][name] for nth in which]) for name in requests[which[0]]}
        where = f"{source}, row {which[0] + 1}" if len(which) == 1 else source
        parts.append(rows_of_arrays(stacked, signature, where))
        order += which
    joined = join(parts)
    rows = np.empty_like(joined)
    rows[order] = joined
    return rows


def _check_values(rows: int, widest: int, source: str) -> None:
    """Raise PayloadMismatch where so many ``rows``, each as wide as the widest, take too much memory."""
    if rows * widest > MAX_VALUES:
        raise PayloadMismatch(
            source,
            expected=f"at most {MAX_VALUES} values, with all rows as long as the longest",
            got=f"{rows} rows of up to {widest}",
            remedy="send long requests apart from short ones",
        )


def _arrays_of(item: Any, signature: Signature, source: str, booleans: bool) -> dict[str, np.ndarray]:
    """Return the tensors of an object, whose values have no dimension for rows."""
    values = item if isinstance(item, dict) else {signature.inputs[0].name: item}
    if not isinstance(item, dict) and len(signature.inputs) > 1:
        expected = f"an object with {one_for_each('inputs', [one.name for one in signature.inputs])}"
        raise PayloadMismatch(source, expected=expected, got=f"{item!r:.60}")
    if signature.has_columns:  # as tables, they may have others too
        values = {name: values[name] for name in checked_names(list(values), signature, source)}
    check_inputs(list(values), signature.inputs, source)
    return {name: _array(value, f"{source}: {name:.60}", name, signature, booleans) for name, value in values.items()}


def _rows_of_protocol(
    tensors: Sequence[Mapping[str, Any]], signature: Signature, source: str, booleans: bool
) -> np.ndarray:
    arrays: dict[str, np.ndarray] = {}
    called = [str(tensor.get("name")) for tensor in tensors]
    check_inputs(called, signature.inputs, source)
    for name, tensor in zip(called, tensors, strict=True):
        shape = tensor.get("shape")
        if (
            not isinstance(shape, list)
            or not 0 < len(shape) < MAX_DIMENSIONS
            or not all(type(size) is int and 0 < size <= MAX_FEATURES for size in shape)
        ):
            raise PayloadMismatch(source, expected=f"a shape of whole numbers for {name!r:.60}", got=f"{shape!r:.60}")
        values = _array(tensor["data"], f"{source}: {name:.60}", name, signature, booleans)
        if prod(shape) != values.size:
            expected = f"the values that shape {shape!s:.100} holds in {name!r:.60}"
            raise PayloadMismatch(source, expected=expected, got=str(values.size))
        arrays[name] = values.reshape(shape)
    return rows_of_arrays(arrays, signature, source)


def _find_sizes(one: Input, shape: Sequence[int], sizes: dict[str, int], source: str) -> None:
    """Add the sizes of ``shape``, that of an input in one row, to ``sizes``. Raises PayloadMismatch."""
    fits = len(shape) == len(one.shape) and all(
        not isinstance(wanted, int) or wanted == size for wanted, size in zip(one.shape, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(["n", *map(str, one.shape)])
        got = ", ".join(["n", *map(str, shape[:MAX_DIMENSIONS])])
        raise PayloadMismatch(source, expected=f"{one.name!r:.60} of the shape ({expected})", got=f"({got})")
    for wanted, size in zip(one.shape, shape, strict=True):
        if size == 0:
            raise PayloadMismatch(source, expected=f"at least one value in {one.name!r:.60}", got="none")
        if isinstance(wanted, str) and sizes.setdefault(wanted, size) != size:
            earlier = f"{sizes[wanted]} for {wanted!r:.60} in {one.name!r:.60} too"
            raise PayloadMismatch(source, expected=earlier, got=str(size))
    if prod(shape) > MAX_FEATURES:
        raise PayloadMismatch(source, expected=f"at most {MAX_FEATURES} values a row", got=str(prod(shape)))


def _block(values: np.ndarray, one: Input, source: str, signature: Signature) -> np.ndarray:
    """Return the values of one input, (rows, values of a row), checked, and of the datatype that its rows have."""
    in_columns = signature.has_columns
    accepts_missing = in_columns and (signature.accepts_missing or one.takes_missing)
    if one.is_text or in_columns:
        values = column_of(values, one, source, accepts_missing=accepts_missing)
    if one.is_text:
        return values
    width = values.shape[1]
    alone = Signature(
        task=Task.TENSOR,
        features=width,
        outputs=1,
        accepts_missing=accepts_missing,
        integer_features=tuple(range(width)) if one.is_whole else (),
        inputs=(replace(one, shape=(width,), start=0, stop=width),),
    )
    table = PayloadTable(values=_numbers(values, source, one.name), total_rows=len(values))
    return rows_for(table, alone, f"{source}: {one.name:.60}")


def _numbers(values: np.ndarray, source: str, name: str) -> np.ndarray:
    if values.dtype.kind in "biuf":
        return plain(values)
    if values.dtype.kind != "O":
        raise PayloadMismatch(source, expected=f"numbers in {name!r:.60}", got=f"an array of {values.dtype}"[:100])
    for value in values.flat:
        if isinstance(value, str | bytes | dict):  # NumPy reads a text as the number that it tells, or raises
            raise PayloadMismatch(source, expected=f"numbers in {name!r:.60}", got=f"{value!r:.60}")
    return values


def _array(values: Any, source: str, name: str, signature: Signature, booleans: bool) -> np.ndarray:
    """Return nested lists of numbers, or of texts if the input called ``name`` takes those, as an array. ``true`` and
    ``false`` are numbers if ``booleans`` is true or the input takes them. Raises PayloadMismatch if lists of one level
    differ in length, or for a value of another kind."""
    shape: list[int] = []
    level = values
    while isinstance(level, list):
        shape.append(len(level))
        if len(shape) >= MAX_DIMENSIONS:
            raise PayloadMismatch(source, expected=f"fewer than {MAX_DIMENSIONS} lists in one another", got="more")
        level = level[0] if level else None
    cells: list[Any] = []
    _put(values, shape, cells, source)
    one = next((model_input for model_input in signature.inputs if model_input.name == name), None)
    if signature.has_columns or (one is not None and one.is_text):
        return objects(cells, shape)  # what is in them is for ``columns`` to check
    booleans = booleans or (one is not None and one.datatype == "bool")
    for cell in cells:
        if cell is None or not isinstance(cell, int | float) or (isinstance(cell, bool) and not booleans):
            raise PayloadMismatch(source, expected="numbers", got=f"{cell!r:.60}")
        if type(cell) is int and not -MAX_WHOLE < cell < MAX_WHOLE:
            raise PayloadMismatch(source, expected="numbers within 64 bits", got=f"{cell!r:.60}")
    return array_of(cells, (len(cells),)).reshape(shape) if cells else np.zeros(shape)


def _put(values: Any, shape: Sequence[int], cells: list[Any], source: str) -> None:
    """Put the values of nested lists of that ``shape`` into ``cells``."""
    if not shape:
        if isinstance(values, list):
            raise PayloadMismatch(source, expected="lists of one depth", got="a list beside a number")
        cells.append(values)
        return
    if not isinstance(values, list):
        raise PayloadMismatch(source, expected="lists of one depth", got=f"{values!r:.60} beside a list")
    if len(values) != shape[0]:
        expected = f"lists of one length ({shape[0]}) side by side"
        raise PayloadMismatch(source, expected=expected, got=str(len(values)))
    if len(shape) == 1 and not any(isinstance(value, list) for value in values):
        cells.extend(values)
        return
    for value in values:
        _put(value, shape[1:], cells, source)
