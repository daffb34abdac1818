"""Payloads that do not fit are refused with one line that names the place."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from servefit.backends.model import Format, Model, Signature, Task
from servefit.backends.payload.reading import payload_for, read_payload
from servefit.backends.payload.table import MAX_COLUMNS
from servefit.errors import PayloadMismatch

SIGNATURE = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=("a", "b", "c"))
COMPLETE = Signature(task=Task.BINARY, features=3, outputs=1, accepts_missing=False)


def refusal(path: Path, signature: Signature = SIGNATURE) -> str:
    with pytest.raises(PayloadMismatch) as caught:
        read_payload(path, signature)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"payload {path.name}")
    return line


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        ("1,2\n", "expected 3 columns", "got 2"),
        ("1,2,3,4\n", "expected 3 columns", "got 4"),
        ("1,2,3\n1,2\n", "3 columns in row 2", "got 2"),
        ("a,b,c\n1,2,3\n1,2,x\n", "a number in row 2, column 3 (c)", "got 'x'"),
        ("1,2,3\n1,2,1_000\n", "a number in row 2, column 3", "got '1_000'"),
        ("1,two,3\n", "a number in row 1, column 2", "got 'two'"),
        ("a,b,c\n1,2\n", "3 columns in row 1", "got 2"),
        ("a,b\n1,2\n", "the model's 3 feature names", "no column 'c'"),
        ("a,b,b,c\n1,2,3,4\n", "the model's 3 feature names", "'b' twice"),
        ('{"data": [[1, 2, 3, 4]], "columns": ["a", "c", "b", "a"]}', "the model's 3 feature names", "'a' twice"),
        ('{"data": [[1]], "columns": ["a", "b", "c"]}', "3 columns in row 1, as many as there are names", "got 1"),
        ('{"data": [[1, 2, 3, 4]], "columns": ["a", "b", "c"]}', "3 columns in row 1", "got 4"),
        ('{"data": [[1, 2, NaN]], "columns": ["z"]}', "1 column in row 1", "got 3"),
        ("", "at least one row", "none"),
        ("\n\n", "at least one row", "none"),
        ("a,b,c\n", "at least one row", "none"),
        ("1,2,inf\n", "a finite number in row 1, column 3", "got inf"),
        ("1,2,3\n1,-1e39,3\n", "row 2, column 2", "-1e+39, which is beyond float32"),
        ('1,2,"3', "expected CSV", "does not parse"),
        ("a\0b", "CSV, JSON, JSON Lines, NPY or NPZ", "no known format"),
        ("[[1, 2, 3]", "expected JSON", "line 1"),
        ("[1, 2, 3]\n[4, 5", "expected JSON", "line 2"),
        ("[[1, 2, 3], [4, 5]]", "3 columns in row 2", "got 2"),
        ('[[1, 2, "3"]]', "a number in row 1, column 3", "got '3'"),
        ('{"a": 1, "b": 2, "c": {}}', "row 1, column 3 (c)", "got {}"),
        ("[]", "at least one row", "none"),
        ("{}", "3 columns", "got 0"),
        ("[[1, 2, NaN], [1, 2, -Infinity]]", "a finite number in row 2, column 3", "got -inf"),
        ('[{"a": 1}, {"b": 1}]', "the names of row 1 in row 2", "difference in"),
        ("[[1], {}]", "all lists or all objects", "mixture"),
        ('{"inputs": [{"shape": [2, 2], "data": [1]}]}', "shape [2, 2]", "got 1"),
        ('{"inputs": [{"data": [1]}]}', "a shape of whole numbers", "got None"),
        ('{"inputs": [{"shape": [' + "1, " * 32 + '1], "data": [1]}]}', "a shape of at most 32 sizes", "got 33"),
        ('{"inputs": [{"shape": [1, 10000000000000000000], "data": [1]}]}', "a shape of whole numbers", "got [1, 1000"),
        ("[]\n[1, 2, 3", "at least one row", "none"),
        ("[1, 2,\n3]\n[4, 5, 6]", "expected JSON", "line 3: Extra data"),
        ("[" * 100_000, "table of numbers", "nested too deeply"),
        ("[[" + "9" * 400 + ", 1, 2]]", "row 1, column 1", "999"),
        ("[[" + "9" * 9999 + ", 1, 2]]", "expected JSON", "limit"),
        ("[1, 2, 3]\n[" + "9" * 9999 + ", 1, 2]", "expected JSON", "limit"),
    ],
)
def test_text_that_does_not_fit(content: str, expected: str, got: str, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_text(content)
    line = refusal(path)
    assert expected in line
    assert got in line


def test_more_columns_than_any_table_has_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_text("x," * MAX_COLUMNS)
    began_s = time.thread_time()
    assert f"at most {MAX_COLUMNS} columns, got {MAX_COLUMNS + 1}" in refusal(path)
    assert time.thread_time() - began_s < 0.3
    path.write_text("[[1" + ",1" * MAX_COLUMNS + "]]")
    assert f"at most {MAX_COLUMNS} columns, got {MAX_COLUMNS + 1}" in refusal(path)


def test_values_take_no_longer_for_being_nested(tmp_path: Path) -> None:
    def seconds(depth: int) -> float:
        path = tmp_path / "payload"
        data = "[" * depth + "1" + ",1" * 100_000 + "]" * depth
        path.write_text(f'{{"inputs": [{{"shape": [1], "data": {data}}}]}}')
        began_s = time.thread_time()
        assert "the values that shape [1] holds, got 100001" in refusal(path)
        return time.thread_time() - began_s

    seconds(1)
    assert seconds(600) < 30 * seconds(1), "copied at every level, it would be 600 times as long"


def test_missing_values_are_refused_where_the_model_takes_none(tmp_path: Path) -> None:
    path = tmp_path / "payload.csv"
    path.write_text("1,2,3\n4,,6\n")
    assert "no missing values, in row 2, column 2" in refusal(path, COMPLETE)


def test_fractions_are_refused_where_the_model_takes_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "payload.csv"
    path.write_text("0.5,2,3\n4,5,6.5\n")
    whole = Signature(task=Task.TENSOR, features=3, outputs=1, accepts_missing=False, integer_features=(1, 2))
    assert "a whole number in row 2, column 3, got 6.5" in refusal(path, whole)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.csv")
    assert refusal(tmp_path).endswith("expected a regular file, got a folder")


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert refusal(tmp_path / "pipe.csv").endswith("expected a regular file, got a pipe or a device")


@pytest.mark.parametrize(
    "array",
    [np.array([["a", "b", "c"]]), np.ones((1, 3), dtype=complex), np.array([[None, 1, 2]], dtype=object)],
    ids=["text", "complex", "objects"],
)
def test_arrays_of_other_things_are_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "payload.npy", array)
    np.savez(tmp_path / "payload.npz", array)
    refusal(tmp_path / "payload.npy")
    refusal(tmp_path / "payload.npz")


def test_nothing_in_an_array_file_is_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    np.save(tmp_path / "payload.npy", np.array([[Bomb()]], dtype=object))
    np.savez(tmp_path / "payload.npz", np.array([[Bomb()]], dtype=object))
    (tmp_path / "payload.pkl").write_bytes(pickle.dumps(Bomb()))
    for name in ("payload.npy", "payload.npz", "payload.pkl"):
        refusal(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_a_header_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3)})
    (tmp_path / "payload.npy").write_bytes(content.getvalue() + bytes(100))
    assert "does not load" in refusal(tmp_path / "payload.npy")


def test_several_arrays_of_which_none_is_called_x_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "payload.npz", left=np.eye(3), right=np.eye(3))
    assert "left, right" in refusal(tmp_path / "payload.npz")


@pytest.mark.integration
def test_an_error_in_an_archive_names_the_file_in_it(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "payload.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("day1.csv")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"1,2\n"))
    assert "payload.tar.gz:day1.csv: expected 3 columns" in refusal(tmp_path / "payload.tar.gz")


@pytest.mark.integration
def test_an_empty_and_a_broken_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "payload.tar.gz"
    tarfile.open(path, "w:gz").close()
    assert "empty archive" in refusal(path)
    path.write_bytes(path.read_bytes()[:20])
    assert "no complete .tar.gz" in refusal(path)


def test_objects_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    model = Model(
        source="model", file=tmp_path, format=Format.XGBOOST_JSON, digest="", size_bytes=0, signature=SIGNATURE
    )
    for source in ([[1, 2, "x"]], [[1, 2], [3]], {"a": 1}, json, [[1, 2]], np.empty((0, 3))):
        with pytest.raises(PayloadMismatch):
            payload_for(model, source)


@pytest.mark.parametrize(
    ("content", "got", "remedy"),
    [
        (b"ARROW1\0\0\xff\xff\xff\xff", "an Arrow (Feather) file", "pandas.read_feather"),
        (b"\xff\xff\xff\xff\xf8\x02\0\0\x10\0\0\0", "an Arrow stream", "as CSV"),
        (b"ORC\n\x06\x12\x04\x08\x02P\0", "an ORC file", "pandas.read_orc"),
        (b"Obj\x01\x04\x14avro.codec", "an Avro file", "as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls)", "as CSV"),
        (pickle.dumps([1.0]), "a pickle", "pandas.read_pickle"),
    ],
)
def test_a_table_in_another_format_is_called_by_its_name(content: bytes, got: str, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(content)
    line = refusal(path)
    assert f"expected CSV, JSON, JSON Lines, NPY, NPZ or Parquet, got {got}; " in line
    assert remedy in line


def test_an_excel_workbook_is_called_by_its_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "rows.xlsx", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "<workbook/>")
    assert "got an Excel workbook; save the sheet as CSV" in refusal(tmp_path / "rows.xlsx")


def test_a_model_in_place_of_a_payload_is_called_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"{L\0\0\0\0\0\0\0\x07learner{")
    assert "got a model (xgboost-ubjson)" in refusal(tmp_path / "model")


@pytest.mark.parametrize("name", ["count", "PAR1", "GGUF", "ORC", "bs64", "x"])
def test_a_column_may_be_called_as_other_files_begin(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"{name}\n1\n2\n")
    assert read_payload(tmp_path / "rows.csv", None).rows.tolist() == [[1.0], [2.0]]


@pytest.mark.integration
def test_a_compressed_table_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"1,2,3\n"))
    assert "a gzip file that holds no archive; unpack it with gunzip" in refusal(tmp_path / "rows.csv.gz")


def test_a_bomb_of_arrays_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "payload.npz"
    np.savez_compressed(path, X=np.zeros((2, 3)), y=np.zeros(2))
    content = bytearray(path.read_bytes())
    place = content.find(b"PK\x01\x02")
    while place >= 0:  # what the directory of the archive says of the size of each member
        content[place + 24 : place + 28] = b"\xf0\xff\xff\xff"
        place = content.find(b"PK\x01\x02", place + 4)
    path.write_bytes(content)
    with pytest.raises(PayloadMismatch, match="at most 4294967296 bytes, got 85899345"):
        read_payload(path, SIGNATURE)
