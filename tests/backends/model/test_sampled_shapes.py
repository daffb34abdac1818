"""The shapes of inputs, taken from a sample of requests."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servefit.backends.model.sampled_shapes import sampled_shapes
from servefit.errors import PayloadMismatch


def told(sample: Any) -> dict[str, str]:
    return {name: str(shape) for name, shape in sampled_shapes(sample).items()}


def text(length: int, rows: int = 2) -> dict[str, Any]:
    return {"ids": np.zeros((rows, length), np.int64), "mask": np.ones((rows, length), np.float32)}


def test_arrays_of_a_file_tell_datatypes_and_sizes(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **text(5))
    assert told(tmp_path / "rows.npz") == {"ids": "int64[rows,5]", "mask": "float32[rows,5]"}
    np.savez_compressed(tmp_path / "rows.npz", **text(5))
    assert told(str(tmp_path / "rows.npz")) == told(text(5))


def test_an_array_alone_is_the_first_input(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((2, 3, 4)))
    np.savez(tmp_path / "rows.npz", whatever=np.zeros((2, 3, 4)))
    for sample in (tmp_path / "rows.npy", tmp_path / "rows.npz", np.zeros((2, 3, 4))):
        assert told(sample) == {"arr_0": "float32[rows,3,4]"}


@pytest.mark.integration
def test_sizes_that_differ_are_free_and_equal_ones_have_one_name(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "rows.tar.gz", "w:gz") as archive:
        for length in (3, 8):
            content = io.BytesIO()
            np.savez(content, **text(length))
            entry = tarfile.TarInfo(f"{length}.npz")
            entry.size = content.tell()
            content.seek(0)
            archive.addfile(entry, content)
    expected = {"ids": "int64[rows,size_1]", "mask": "float32[rows,size_1]"}
    assert told(tmp_path / "rows.tar.gz") == expected
    assert told([{name: each[0] for name, each in text(length).items()} for length in (3, 8)]) == expected


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PK\x03\x04 cut off", b"\x93NUMPY", b"\x1f\x8b", b""])
def test_what_tells_no_shapes_is_left_to_the_payload(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(content)
    assert told(tmp_path / "rows") == {}


@pytest.mark.parametrize("sample", [None, [[1, 2]], "nowhere", {"x": np.float32(1)}, {"x": np.array(["a"])}])
def test_what_is_no_arrays_of_rows_tells_nothing(sample: Any) -> None:
    assert told(sample) == {}


def test_an_empty_row_is_refused() -> None:
    with pytest.raises(PayloadMismatch, match="rows with values in 'ids'"):
        sampled_shapes(text(0))
