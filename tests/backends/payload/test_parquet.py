"""Payloads in Parquet files: tables of numbers, columns of different kinds, and tensors of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from tests.column_pipelines import TABLE, mixed, opened

from servefit.backends.model import Input, Signature, Task
from servefit.backends.model.types import Output, Size
from servefit.backends.payload import parquet
from servefit.backends.payload.reading import payload_for, payload_of, read_payload
from servefit.backends.payload.table import MAX_ROWS
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from pathlib import Path

NAMED = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=("a", "b", "c"))
TEXTS = Signature(
    task=Task.TENSOR,
    features=2,
    outputs=1,
    accepts_missing=False,
    inputs=(Input(name="ids", datatype="int64", shape=("length",), start=1, stop=2),),
    sizes=(Size(name="length", usual=1),),
    output_tensors=(Output(name="y", datatype="float32", shape=(1,), start=0, stop=1),),
)


def written(folder: Path, columns: Any) -> Path:
    path = folder / "payload.parquet"
    pd.DataFrame(columns).to_parquet(path)
    return path


def refusal(path: Path, signature: Signature | None = NAMED) -> PayloadMismatch:
    with pytest.raises(PayloadMismatch) as refused:
        read_payload(path, signature)
    return refused.value


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_columns_are_picked_by_name_and_null_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, {"c": [3, 6], "a": [1.0, None], "other": ["x", None], "b": [True, False]})
    payload = read_payload(path, NAMED)
    np.testing.assert_array_equal(payload.rows, [[1, 1, 3], [np.nan, 0, 6]])
    assert payload.unused_columns == ("other",)
    assert "numbers in the column 'other'" in str(refusal(path, None))


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_columns_that_are_left_out_are_not_read(tmp_path: Path) -> None:
    far, text = pyarrow.array([2**60], pyarrow.timestamp("ms")), pyarrow.array([b"\xff"])
    numbers = [pyarrow.array([float(nth)]) for nth in (3, 1, 2)]
    table = pyarrow.table([*numbers, far, text, text], names=["c", "a", "b", "at", "raw", "raw"])
    pyarrow.parquet.write_table(table, tmp_path / "payload.parquet")
    payload = read_payload(tmp_path / "payload.parquet", NAMED)
    assert (payload.rows.tolist(), payload.unused_columns) == ([[1, 2, 3]], ("at", "raw", "raw"))


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_columns_of_different_kinds_are_as_in_a_data_frame(tmp_path: Path) -> None:
    model = opened(mixed(), tmp_path)
    np.testing.assert_array_equal(payload_for(model, written(tmp_path, TABLE)).rows, payload_for(model, TABLE).rows)


@pytest.mark.integration
def test_lists_are_the_tensors_of_a_network(tmp_path: Path) -> None:
    path = written(tmp_path, {"ids": [[5, 6, 7], [8]]})
    payload = payload_of(path, TEXTS)
    np.testing.assert_array_equal(payload.rows, [[3, 5, 6, 7], [1, 8, 0, 0]])
    assert [(size.least, size.most) for size in payload.sizes] == [(1, 3)]


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_only_the_first_rows_of_a_large_file_are_kept(tmp_path: Path) -> None:
    values = np.arange(MAX_ROWS + 5)
    payload = read_payload(written(tmp_path, dict.fromkeys("abc", values)), NAMED)
    assert payload.rows.shape == (MAX_ROWS, 3)
    assert payload.truncated_from == MAX_ROWS + 5


@pytest.mark.integration
@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"a": ["x"], "b": [1], "c": [2]}, "expected numbers in the column 'a'"),
        ({"a": [1], "b": [1]}, "no column 'c'"),
        ({"a": [], "b": [], "c": []}, "expected at least one row, got none"),
    ],
)
def test_tables_that_do_not_fit_are_refused(columns: dict[str, Any], reason: str, tmp_path: Path) -> None:
    assert reason in str(refusal(written(tmp_path, columns)))


@pytest.mark.integration
@pytest.mark.parametrize("content", [b"PAR1\x15\x04\x15 \x15$L\x15\x04", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "payload.parquet"
    path.write_bytes(content)
    assert "got a Parquet file that does not load" in str(refusal(path))


def test_without_pyarrow_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"a": [1], "b": [2], "c": [3]})
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    assert "pip install 'servefit[parquet]'" in str(refusal(path).remedy)
