"""Properties of the payload readers on any input."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tests.example_counts import examples

from servefit.backends.model import Signature, Task
from servefit.backends.payload.reading import read_payload
from servefit.errors import ModelError

FINITE_OR_MISSING = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.just(math.nan)
MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FINITE_OR_MISSING)


def signature(features: int) -> Signature:
    return Signature(task=Task.REGRESSION, features=features, outputs=1)


def as_csv(rows: np.ndarray, delimiter: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([["" if math.isnan(cell) else str(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def cells(rows: np.ndarray) -> list[list[float | None]]:
    return [[None if math.isnan(cell) else cell for cell in row] for row in rows.tolist()]


def as_json(rows: np.ndarray) -> bytes:
    return json.dumps(cells(rows)).encode()


def as_json_lines(rows: np.ndarray) -> bytes:
    return "\n".join(json.dumps({"features": row}) for row in cells(rows)).encode()


def as_open_inference(rows: np.ndarray) -> bytes:
    flat = [cell for row in cells(rows) for cell in row]
    return json.dumps({"inputs": [{"name": "x", "shape": list(rows.shape), "data": flat}]}).encode()


def as_npy(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def as_npz(rows: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, rows=rows)
    return stream.getvalue()


WRITERS = {
    "comma": lambda rows: as_csv(rows, ","),
    "semicolon": lambda rows: as_csv(rows, ";"),
    "tab": lambda rows: as_csv(rows, "\t"),
    "json": as_json,
    "json lines": as_json_lines,
    "open inference": as_open_inference,
    "npy": as_npy,
    "npz": as_npz,
}


def read_bytes(content: bytes, features: int) -> np.ndarray:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return read_payload(Path(file.name), signature(features)).rows


@pytest.mark.integration
@pytest.mark.parametrize("form", WRITERS)
@given(rows=MATRICES)
@settings(max_examples=examples(12, drawn=60), deadline=None)
def test_every_float32_comes_back_bit_for_bit(form: str, rows: np.ndarray) -> None:
    found = read_bytes(WRITERS[form](rows), rows.shape[1])
    missing = np.isnan(rows)
    assert found.shape == rows.shape
    np.testing.assert_array_equal(np.isnan(found), missing)
    np.testing.assert_array_equal(found.view(np.uint32)[~missing], rows.view(np.uint32)[~missing])


@pytest.mark.integration
@given(
    content=st.binary(max_size=300),
    prefix=st.sampled_from([b"", b"\x93NUMPY\x01\0", b"PK\x03\x04", b"\x1f\x8b\x08", b"[", b"{"]),
)
@settings(max_examples=examples(60, drawn=300), deadline=None)
def test_junk_is_read_or_refused_and_nothing_else(content: bytes, prefix: bytes) -> None:
    read_or_refuse(prefix + content)


@pytest.mark.integration
@given(rows=MATRICES, form=st.sampled_from(sorted(WRITERS)), edits=st.data())
@settings(max_examples=examples(40, drawn=200), deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(rows: np.ndarray, form: str, edits: st.DataObject) -> None:
    content = bytearray(WRITERS[form](rows))
    for _ in range(edits.draw(st.integers(1, 4))):
        content[edits.draw(st.integers(0, len(content) - 1))] = edits.draw(st.integers(0, 255))
    read_or_refuse(bytes(content[: edits.draw(st.integers(0, len(content)))]))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "inputs", "data", "features", "shape", "columns", "a"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@pytest.mark.integration
@given(document=st.lists(JSON_VALUES, max_size=3) | st.dictionaries(st.sampled_from(["inputs", "data"]), JSON_VALUES))
@settings(max_examples=examples(60, drawn=300), deadline=None)
def test_json_of_any_shape_is_read_or_refused_and_nothing_else(document: object) -> None:
    read_or_refuse(json.dumps(document).encode())


@given(content=st.text(alphabet="ab1,;\t\n\r\"' -", max_size=40))
@settings(max_examples=examples(60, drawn=300), deadline=None)
def test_text_that_resembles_csv_is_read_or_refused_and_nothing_else(content: str) -> None:
    read_or_refuse(content.encode())


def read_or_refuse(content: bytes) -> None:
    refusal = ""
    rows = np.empty((0, 3), dtype=np.float32)
    try:
        rows = read_bytes(content, 3)
    except ModelError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert bool(refusal) != bool(len(rows))
    assert rows.shape[1] == 3
    assert not np.isinf(rows).any()
