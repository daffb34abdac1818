"""Numbers that float32 does not hold are kept exactly for models that take them, and refused for others."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from servefit.backends.model import Input, Signature, Task
from servefit.backends.payload.exact import array_of
from servefit.backends.payload.reading import payload_of
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMITS = np.iinfo(np.int64)


def signature(*inputs: tuple[str, str, int], accepts_missing: bool = False) -> Signature:
    """Of a model with these inputs: name, datatype and number of columns."""
    described: list[Input] = []
    for name, datatype, width in inputs:
        start = described[-1].stop if described else 0
        described.append(Input(name=name, datatype=datatype, shape=(width,), start=start, stop=start + width))
    whole = tuple(
        column
        for model_input in described
        if model_input.is_whole
        for column in range(model_input.start, model_input.stop)
    )
    return Signature(
        task=Task.TENSOR,
        features=described[-1].stop,
        outputs=1,
        accepts_missing=accepts_missing,
        integer_features=whole,
        inputs=tuple(described),
    )


def csv(cells: list[list[Any]]) -> bytes:
    return "\n".join(",".join("" if cell is None else repr(cell) for cell in row) for row in cells).encode()


def npy(cells: list[list[Any]]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array(cells))
    return stream.getvalue()


def npz(cells: list[list[Any]]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, X=np.array(cells))
    return stream.getvalue()


def tensors(cells: list[list[Any]]) -> bytes:
    flat = [cell for row in cells for cell in row]
    tensor = {"name": "x", "shape": [len(cells), len(cells[0])], "datatype": "INT64", "data": flat}
    return json.dumps({"inputs": [tensor]}).encode()


WRITERS: dict[str, Callable[[list[list[Any]]], bytes]] = {
    "csv": csv,
    "quoted csv": lambda cells: "\n".join(";".join(f'"{cell}"' for cell in row) for row in cells).encode(),
    "json": lambda cells: json.dumps({"instances": cells}).encode(),
    "json lines": lambda cells: "\n".join(json.dumps({"features": row}) for row in cells).encode(),
    "json objects": lambda cells: json.dumps([{str(n): cell for n, cell in enumerate(row)} for row in cells]).encode(),
    "open inference": tensors,
    "npy": npy,
    "npz": npz,
}
OBJECTS: dict[str, Callable[[list[list[Any]]], Any]] = {
    "lists": lambda cells: cells,
    "array": np.array,
    "table": pandas.DataFrame,
}


def read(content: Any, model: Signature | None, folder: Path) -> np.ndarray:
    if isinstance(content, bytes):
        path = folder / "payload"
        path.write_bytes(content)
        content = path
    rows = payload_of(content, model).rows
    assert rows.flags.c_contiguous
    return rows


@pytest.mark.parametrize("form", [*WRITERS, *OBJECTS])
@given(rows=arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=4)))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_int64_comes_back_as_it_was(form: str, rows: np.ndarray, tmp_path: Path) -> None:
    content = (WRITERS | OBJECTS)[form](rows.tolist())
    found = read(content, signature(("ids", "int64", rows.shape[1])), tmp_path)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize("form", [*WRITERS, *OBJECTS])
@given(
    rows=arrays(
        np.float64,
        array_shapes(min_dims=2, max_dims=2, max_side=4),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_float64_comes_back_as_it_was(form: str, rows: np.ndarray, tmp_path: Path) -> None:
    content = (WRITERS | OBJECTS)[form](rows.tolist())
    found = read(content, signature(("x", "float64", rows.shape[1])), tmp_path)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, rows)


@pytest.mark.parametrize("form", ["csv", "quoted csv", "json", "json lines", "json objects", "npy", "lists", "table"])
def test_whole_numbers_beside_floats_are_kept_too(form: str, tmp_path: Path) -> None:
    cells = [[2**53 - 1, 0.1], [-(2**53), 2.5]]
    model = signature(("id", "int64", 1), ("x", "float64", 1))
    found = read((WRITERS | OBJECTS)[form](cells), model, tmp_path)
    assert found.dtype == np.float64
    assert found.tolist() == cells


@pytest.mark.parametrize("form", ["csv", "quoted csv", "json", "json lines", "json objects", "lists", "table"])
def test_a_whole_number_beside_floats_that_these_do_not_hold_is_refused_by_name(form: str, tmp_path: Path) -> None:
    model = signature(("id", "int64", 1), ("x", "float32", 1))
    with pytest.raises(
        PayloadMismatch, match=r"float64, .* holds exactly in row 2, column 1 \((id|0)\), got 9007199254740993$"
    ):
        read((WRITERS | OBJECTS)[form]([[1, 0.5], [2**53 + 1, 0.5]]), model, tmp_path)


def test_a_table_of_several_datatypes_is_read_column_by_column(tmp_path: Path) -> None:
    table = pandas.DataFrame({"id": np.array([2**62 + 1, 7]), "x": np.array([0.25, 3])})
    with pytest.raises(PayloadMismatch, match=r"holds exactly in row 1, column 1 \(id\), got 4611686018427387905"):
        read(table, signature(("id", "int64", 1), ("x", "float32", 1)), tmp_path)
    whole = table.assign(x=[3, 4])
    assert read(whole, signature(("ids", "int64", 2)), tmp_path).tolist() == [[2**62 + 1, 3], [7, 4]]


@pytest.mark.parametrize("form", [*WRITERS, *OBJECTS])
def test_a_number_that_int64_does_not_hold_is_refused(form: str, tmp_path: Path) -> None:
    content = (WRITERS | OBJECTS)[form]([[1, 2**63 + 1]])
    with pytest.raises(PayloadMismatch, match="int64, the datatype of rows, holds exactly in row 1, column 2"):
        read(content, signature(("ids", "uint64", 2)), tmp_path)


@pytest.mark.parametrize(
    ("datatype", "cell", "words"),
    [
        ("int8", 300, "a whole number from -128 to 127"),
        ("int8", -129, "a whole number from -128 to 127"),
        ("uint8", -1, "a whole number from 0 to 255"),
        ("uint16", 65536, "a whole number from 0 to 65535"),
        ("int32", 2**31, "a whole number from -2147483648 to 2147483647"),
        ("uint64", -1, "a whole number from 0 to 9223372036854775807"),
        ("bool", 2, "a whole number from 0 to 1"),
        ("int8", 1.5, "a whole number"),
        ("int64", 0.5, "a whole number"),
        ("bool", 0.5, "a whole number"),
        ("float16", 70000, "beyond float16"),
        ("float32", 1e39, "beyond float32"),
        ("float64", float("inf"), "a finite number"),
        ("int64", float("nan"), "takes no missing values"),
    ],
)
@pytest.mark.parametrize("beside", [None, "float64"])
def test_values_that_the_datatype_of_an_input_does_not_hold_are_refused(
    datatype: str, cell: float, words: str, beside: str | None, tmp_path: Path
) -> None:
    model = signature(("x", datatype, 2), *([] if beside is None else [("y", beside, 1)]))
    row = [[0, cell, 0][: model.features]]
    with pytest.raises(PayloadMismatch, match=words):
        read(row, model, tmp_path)
    with pytest.raises(PayloadMismatch, match=words):
        read("\n".join(",".join(map(str, cells)) for cells in row).encode(), model, tmp_path)


def test_the_ends_of_a_datatype_are_in_it(tmp_path: Path) -> None:
    for datatype in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"):
        limits = np.iinfo(datatype)
        ends = [[int(limits.min), int(limits.max)]]
        assert read(ends, signature(("x", datatype, 2)), tmp_path).tolist() == ends
        assert read(csv(ends), signature(("x", datatype, 2)), tmp_path).tolist() == ends
    assert read([[0, 1]], signature(("x", "bool", 2)), tmp_path).tolist() == [[0, 1]]
    assert read([[-65504, 65504]], signature(("x", "float16", 2)), tmp_path).tolist() == [[-65504, 65504]]


@pytest.mark.parametrize("text", ["9007199254740993", "+9007199254740993", "009007199254740993"])
def test_a_large_whole_number_in_csv_is_that_number(text: str, tmp_path: Path) -> None:
    assert read(f"{text},1\n".encode(), signature(("ids", "int64", 2)), tmp_path).tolist() == [[2**53 + 1, 1]]


@pytest.mark.parametrize("text", ["9007199254740993.0", "9.007199254740993e15"])
@pytest.mark.parametrize("form", ["{},1\n", "[[{}, 1]]"])
def test_a_large_float_in_text_does_not_say_which_whole_number_is_meant(text: str, form: str, tmp_path: Path) -> None:
    with pytest.raises(PayloadMismatch, match="a whole number without a point or an exponent in row 1, column 1"):
        read(form.format(text).encode(), signature(("ids", "int64", 2)), tmp_path)
    assert read(form.format("2e3").encode(), signature(("ids", "int64", 2)), tmp_path).tolist() == [[2000, 1]]


def test_a_missing_value_beside_a_large_whole_number_is_a_missing_value() -> None:
    missing, number = array_of([None, 2**53 + 1], (2,))
    assert np.isnan(missing)
    assert number == 2**53 + 1


@pytest.mark.parametrize("form", ["{},1\n", "[[{}, 1]]"])
def test_a_large_whole_number_for_an_input_of_floats_is_the_nearest_float(form: str, tmp_path: Path) -> None:
    text = form.format("137748035085286460").encode()  # so JavaScript writes the float
    assert read(text, signature(("x", "float64", 2)), tmp_path).tolist() == [[137748035085286464.0, 1]]


@pytest.mark.parametrize(
    ("datatypes", "expected"),
    [
        ((), "float32"),
        (("float32",), "float32"),
        (("float16", "int8", "uint16", "bool", "float32"), "float32"),
        (("int32",), "int64"),
        (("uint64", "int8"), "int64"),
        (("float64",), "float64"),
        (("float32", "int32"), "float64"),
    ],
)
def test_rows_have_the_narrowest_datatype_that_holds_all_inputs(datatypes: tuple[str, ...], expected: str) -> None:
    table = Signature(task=Task.BINARY, features=3, outputs=1)
    model = signature(*((f"x{n}", datatype, 1) for n, datatype in enumerate(datatypes))) if datatypes else table
    assert model.row_datatype == expected


@pytest.mark.parametrize(
    ("cells", "datatype"),
    [
        ([[1, 2], [3, 2**24]], "float32"),
        ([[0.5, 2], [3, 4]], "float32"),
        ([[0.1, 2], [3, 4]], "float64"),
        ([[1e30, 2.5]], "float64"),
        ([[1, 2], [3, 2**24 + 1]], "int64"),
        ([[2**62 + 1, -5]], "int64"),
        ([[0.5, 2**24 + 1]], "float64"),
    ],
)
@pytest.mark.parametrize("form", ["csv", "json", "lists"])
def test_without_a_model_no_number_is_rounded(
    form: str, cells: list[list[float]], datatype: str, tmp_path: Path
) -> None:
    found = read((WRITERS | OBJECTS)[form](cells), None, tmp_path)
    assert found.dtype == datatype
    np.testing.assert_array_equal(found, np.array(cells, dtype=datatype))


@pytest.mark.parametrize("cells", ["True,False", "true,false", "TRUE,FALSE"])
def test_booleans_as_pandas_and_r_write_them_are_one_and_zero(cells: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text(f"age,member,left\n30.5,{cells}\n41,False,True\n")
    table = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=("age", "member", "left"))
    assert payload_of(file, table).rows.tolist() == [[30.5, 1, 0], [41, 0, 1]]
    file.write_text(f"{cells}\nFalse,True\n")
    assert payload_of(file, Signature(task=Task.BINARY, features=2, outputs=1)).rows.tolist() == [[1, 0], [0, 1]]
