"""Every payload format is read correctly."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.model import Format, Model, Signature, Task
from servefit.backends.payload.reading import payload_for, read_payload

if TYPE_CHECKING:
    from pathlib import Path

NAN = float("nan")


def signature(features: int = 3, names: tuple[str, ...] = (), **options: Any) -> Signature:
    return Signature(task=Task.BINARY, features=features, outputs=1, feature_names=names, **options)


NAMED = signature(names=("a", "b", "c"))


def read(path: Path, content: str | bytes, model: Signature = NAMED) -> list[list[float]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    rows = read_payload(path, model).rows
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    found: list[list[float]] = rows.tolist()
    return found


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3\n4,5,6\n",
        "1;2;3\r\n4;5;6\r\n",
        "1\t2\t3\n4\t5\t6",
        '"1","2","3"\n"4","5","6"\n',
        "\ufeff1,2,3\n\n4,5,6\n\n",
        " 1 , 2 , 3 \n4,5,6",
        "a,b,c\n1,2,3\n4,5,6\n",
        "c,b,a\n3,2,1\n6,5,4\n",
        "id,c,target,b,a\n0,3,1,2,1\n1,6,0,5,4\n",
        "x,y,z\n1,2,3\n4,5,6\n",
    ],
)
def test_csv_in_its_dialects(content: str, tmp_path: Path) -> None:
    assert read(tmp_path / "payload.csv", content) == [[1, 2, 3], [4, 5, 6]]


def test_csv_has_many_words_for_missing(tmp_path: Path) -> None:
    rows = read(tmp_path / "payload.csv", "1,,NaN\nNA,null,2\n")
    np.testing.assert_array_equal(rows, [[1, NAN, NAN], [NAN, NAN, 2]])


def test_a_header_of_numbers_is_a_header_if_the_model_has_those_names(tmp_path: Path) -> None:
    assert read(tmp_path / "payload.csv", "1,0\n7,8\n", signature(2, ("0", "1"))) == [[8, 7]]


@pytest.mark.parametrize(
    "document",
    [
        [[1, 2, 3], [4, 5, 6]],
        {"instances": [[1, 2, 3], [4, 5, 6]]},
        {"instances": [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}]},
        {"data": [[1, 2, 3], [4, 5, 6]]},
        {"columns": ["c", "b", "a"], "data": [[3, 2, 1], [6, 5, 4]]},
        {"inputs": [[1, 2, 3], [4, 5, 6]]},
        {"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}]},
        {"inputs": [{"name": n, "shape": [2, 1], "data": [d, d + 3]} for n, d in (("c", 3), ("a", 1), ("b", 2))]},
        [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}],
        {"dataframe_split": {"index": [0, 1], "columns": ["c", "b", "a"], "data": [[3, 2, 1], [6, 5, 4]]}},
        {"dataframe_records": [{"c": 3, "b": 2, "a": 1}, {"a": 4, "b": 5, "c": 6}]},
    ],
)
def test_json_in_the_shapes_of_model_servers(document: Any, tmp_path: Path) -> None:
    assert read(tmp_path / "payload.json", json.dumps(document)) == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "content", ["[1, 2, 3]", '{"features": [1, 2, 3]}', '{"a": 1, "b": 2, "c": 3}', "[true, 2.0, 3e0]"]
)
def test_one_row_of_json(content: str, tmp_path: Path) -> None:
    assert read(tmp_path / "payload.json", content) == [[1, 2, 3]]


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2, 3]\n[4, 5, 6]\n",
        '{"features": [1, 2, 3]}\n\n{"features": [4, 5, 6]}',
        '{"a": 1, "b": 2, "c": 3}\n{"a": 4, "b": 5, "c": 6}\n',
        '{"a": 1, "b": 2, "c": 3}\n{"c": 6, "id": "x", "a": 4, "b": 5}\n',
    ],
)
def test_json_lines(content: str, tmp_path: Path) -> None:
    assert read(tmp_path / "payload.jsonl", content) == [[1, 2, 3], [4, 5, 6]]


def test_null_is_missing(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path / "payload.json", "[[1, null, 3]]"), [[1, NAN, 3]])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "float16", ">f4"])
def test_numpy_arrays_of_any_number(dtype: str, tmp_path: Path) -> None:
    rows = np.arange(6).reshape(2, 3).astype(dtype)
    for name, save in (("payload.npy", np.save), ("payload.npz", np.savez)):
        save(tmp_path / name, rows)
        assert read_payload(tmp_path / name, NAMED).rows.tolist() == rows.tolist()


def test_the_array_called_x_is_the_payload(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "payload.npz", X=np.eye(3), y=np.ones(3))
    assert read_payload(tmp_path / "payload.npz", NAMED).rows.tolist() == np.eye(3).tolist()


def test_one_dimension_is_a_row_or_the_column_of_a_model_with_one_feature(tmp_path: Path) -> None:
    np.save(tmp_path / "payload.npy", np.arange(3))
    assert read_payload(tmp_path / "payload.npy", NAMED).rows.shape == (1, 3)
    assert read_payload(tmp_path / "payload.npy", signature(1)).rows.shape == (3, 1)


@pytest.mark.integration
def test_an_archive_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    members = {"b/2.json": b"[[4, 5, 6]]", "b/10.csv": b"1,2,3\n", "._b": b"junk"}
    with tarfile.open(tmp_path / "payload.tar.gz", "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert read_payload(tmp_path / "payload.tar.gz", NAMED).rows.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    assert read(tmp_path / "payload.csv", "[[1, 2, 3]]") == [[1, 2, 3]]
    assert read(tmp_path / "payload.json", "1,2,3") == [[1, 2, 3]]


def test_only_the_first_ten_thousand_rows_are_kept(tmp_path: Path) -> None:
    wanted = np.arange(10_050, dtype=np.float32).reshape(-1, 1)
    np.save(tmp_path / "payload.npy", wanted)
    (tmp_path / "payload.csv").write_text("\n".join(str(value) for value in wanted[:, 0]))
    (tmp_path / "payload.json").write_text(json.dumps(wanted.tolist()))
    for name in ("payload.npy", "payload.csv", "payload.json"):
        payload = read_payload(tmp_path / name, signature(1))
        np.testing.assert_array_equal(payload.rows, wanted[:10_000])
        assert payload.truncated_from == 10_050
        assert payload.source == name


class Frame:
    """A table as pandas has it, as far as the reader looks."""

    columns = ("c", "b", "a")

    def to_numpy(self) -> np.ndarray:
        return np.array([[3, 2, None], [6, 5, 4]], dtype=object)


def test_payload_for_takes_arrays_tables_lists_and_paths(tmp_path: Path) -> None:
    model = Model(source="model", file=tmp_path, format=Format.XGBOOST_JSON, digest="", size_bytes=0, signature=NAMED)
    (tmp_path / "payload.csv").write_text("1,2,3\n")
    assert payload_for(model, tmp_path / "payload.csv").rows.tolist() == [[1, 2, 3]]
    assert payload_for(model, np.array([[1, 2, 3]])).rows.tolist() == [[1, 2, 3]]
    assert payload_for(model, [[1, 2, 3]]).rows.tolist() == [[1, 2, 3]]
    np.testing.assert_array_equal(payload_for(model, Frame()).rows, [[NAN, 2, 3], [4, 5, 6]])
    synthetic = payload_for(model, seed=3)
    assert synthetic.synthetic
    assert synthetic.source == "synthetic payload"
    assert synthetic.rows.shape == (1000, 3)
    np.testing.assert_array_equal(synthetic.rows, payload_for(model, seed=3).rows)
