"""Payloads for servers whose model is not known: rows of any width, and JSON objects unchanged."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.backends.payload.json_rows import objects_of
from servefit.backends.payload.reading import payload_of
from servefit.backends.payload.synthetic import random_payload
from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", "1,2,3\n4,,6\n"),
        ("named.csv", "b,a,c\n1,2,3\n4,NA,6\n"),
        ("rows.json", "[[1, 2, 3], [4, null, 6]]"),
        ("rows.jsonl", '{"x": 1, "y": 2, "z": 3}\n{"x": 4, "y": null, "z": 6}\n'),
    ],
)
def test_rows_are_as_wide_as_they_are_and_stay_in_order(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    payload = payload_of(path)
    np.testing.assert_array_equal(payload.rows, [[1, 2, 3], [4, np.nan, 6]])
    assert payload.rows.dtype == np.float32
    assert payload.source == name


def test_arrays_need_no_model_either(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(4.0))
    np.savez(tmp_path / "many.npz", X=np.eye(2))
    assert payload_of(tmp_path / "one.npy").rows.tolist() == [[0, 1, 2, 3]]
    assert payload_of(tmp_path / "many.npz").rows.tolist() == [[1, 0], [0, 1]]
    assert payload_of([[1, 2], [3, 4]]).rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("1,2\n3\n", "2 columns in row 2"), ("1,inf\n", "a finite number in row 1, column 2"), ("", "at least one row")],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "payload.csv"
    path.write_text(content)
    with pytest.raises(PayloadMismatch, match=expected):
        payload_of(path)


@pytest.mark.integration
def test_files_of_an_archive_have_to_be_equally_wide(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "payload.tar.gz", "w:gz") as tar:
        for name, content in (("a.csv", b"1,2\n"), ("b.csv", b"1,2,3\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(PayloadMismatch, match=r"b\.csv: expected 2 columns, as in the first file, got 3"):
        payload_of(tmp_path / "payload.tar.gz")


def test_random_rows_are_the_same_for_the_same_seed() -> None:
    first, again, reseeded = (random_payload(5, rows=20, seed=seed) for seed in (1, 1, 2))
    assert first.rows.shape == (20, 5)
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, reseeded.rows)
    assert first.synthetic


@pytest.mark.parametrize(
    ("content", "objects"),
    [
        ('{"a": "x"}', [{"a": "x"}]),
        ('\ufeff[{"a": 1}, {"b": [2]}]', [{"a": 1}, {"b": [2]}]),
        ('{"a": 1}\n{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        ("[[1, 2]]", []),
        ('[{"a": 1}, 2]', []),
        ("1,2\n", []),
        ("", []),
        ("[" * 100_000, []),
    ],
)
def test_the_json_objects_of_a_payload_are_taken_as_they_stand(
    tmp_path: Path, content: str, objects: list[Any]
) -> None:
    path = tmp_path / "payload"
    path.write_text(content)
    assert list(objects_of(path)) == objects


def test_objects_in_memory_are_taken_too_and_what_is_not_there_is_left_to_others(tmp_path: Path) -> None:
    assert objects_of({"a": 1}) == ({"a": 1},)
    assert objects_of([{"a": 1}]) == ({"a": 1},)
    assert objects_of(np.eye(2)) == objects_of(tmp_path / "gone") == objects_of(tmp_path) == ()
    (tmp_path / "many.jsonl").write_text((json.dumps({"a": 1}) + "\n") * 10_001)
    assert len(objects_of(tmp_path / "many.jsonl")) == 10_000


def test_json_that_breaks_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"a": 1}\n{"a": ')
    with pytest.raises(PayloadMismatch, match="breaks off in line 2"):
        objects_of(tmp_path / "payload.json")
