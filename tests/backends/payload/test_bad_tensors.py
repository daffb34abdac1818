"""Payloads for networks that nobody can have meant: refused with the place of what is wrong."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.model import Input, Signature, Task
from servefit.backends.model.types import Size
from servefit.backends.payload.reading import payload_of
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("query", "document")
PAIRS = Signature(
    task=Task.TENSOR,
    features=0,
    outputs=1,
    accepts_missing=False,
    inputs=tuple(Input(name=name, datatype="int64", shape=(f"{name}s",), start=0, stop=0) for name in NAMES),
    sizes=tuple(Size(name=f"{name}s", usual=1) for name in NAMES),
).of_sizes({})


def npz(path: Path, *arrays: tuple[str, np.ndarray]) -> Path:
    """An NPZ file of these arrays, two of which may have one name."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names that are there twice
        for name, values in arrays:
            content = io.BytesIO()
            np.save(content, values)
            archive.writestr(f"{name}.npy", content.getvalue())
    return path


def test_an_array_that_a_file_holds_twice_is_refused(tmp_path: Path) -> None:
    """NumPy takes the last one, whatever the first one was."""
    ids = np.ones((2, 3), np.int64)
    path = npz(tmp_path / "payload.npz", ("query", ids), ("document", ids), ("query", 2 * ids))
    with pytest.raises(PayloadMismatch, match="expected each array once, got 'query' twice"):
        payload_of(path, PAIRS)


@pytest.mark.parametrize("written", ["NPZ", "JSON", "Python"])
def test_nan_is_no_whole_number(written: str, tmp_path: Path) -> None:
    feeds = {"query": np.array([[1.0, np.nan]]), "document": np.array([[1.0]])}
    source: Any = feeds
    if written == "NPZ":
        source = npz(tmp_path / "payload.npz", *feeds.items())
    elif written == "JSON":
        source = tmp_path / "payload.json"
        source.write_text(json.dumps([{name: values[0].tolist() for name, values in feeds.items()}]))
    with pytest.raises(PayloadMismatch, match=r"query.*(whole|missing).*row 1|NaN|nan"):
        payload_of(source, PAIRS)


def test_sequences_without_a_value_are_refused_in_arrays_too(tmp_path: Path) -> None:
    empty, ids = np.ones((2, 0), np.int64), np.ones((2, 3), np.int64)
    path = npz(tmp_path / "payload.npz", ("query", ids), ("document", empty))
    with pytest.raises(PayloadMismatch, match="at least one value in 'document', got none"):
        payload_of(path, PAIRS)


@pytest.mark.parametrize(
    "content",
    [b'[{"query": [1], "document": [1], "\xff": [1]}]', b'{"query": [1], "document": [1]}\n{"query": [1], "\xe9": 1}'],
)
def test_bytes_that_are_no_text_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "payload.json"
    path.write_bytes(content)
    with pytest.raises(PayloadMismatch, match="bytes that are not UTF-8 text"):
        payload_of(path, PAIRS)


@pytest.mark.integration
@pytest.mark.thorough
def test_ten_thousand_shapes_are_kept_and_told(tmp_path: Path) -> None:
    lines = [json.dumps({"query": [1] * (1 + nth % 100), "document": [2] * (1 + nth // 100)}) for nth in range(10_000)]
    path = tmp_path / "payload.jsonl"
    path.write_text("\n".join(lines))
    payload = payload_of(path, PAIRS)
    assert len({tuple(row) for row in payload.rows[:, :2].tolist()}) == 10_000
    assert list(map(str, payload.sizes)) == ["querys 1 to 100, median 50", "documents 1 to 100, median 50"]


@pytest.mark.parametrize("number", [2**53 + 1, -(2**53) - 1, 2**62 + 1])
def test_whole_numbers_beside_floats_in_lists_are_not_rounded(number: int) -> None:
    """NumPy makes floats of all of them."""
    sources: tuple[object, ...] = (
        {"query": [[number, 1.0]], "document": [[1]]},
        [{"query": [number, 1.0], "document": [1]}],
    )
    for source in sources:
        assert payload_of(source, PAIRS).rows[0, 2] == number
