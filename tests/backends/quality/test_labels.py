"""Labels: how they are read, and what does not fit a payload, a model or a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.backends.payload import Payload
from servefit.backends.quality.labels import fitting_labels, read_labels
from servefit.backends.quality.metrics import metric_named
from servefit.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = Payload(rows=np.zeros((4, 2), dtype=np.float32), source="rows.csv")


@pytest.mark.parametrize(
    "text", ["0\n1\n2\n0\n", "label\n0\n1\n2\n0\n", "id,label\n7,0\n8,1\n9,2\n1,0\n", "0\n1\n\n2\n0"]
)
def test_labels_are_a_column_with_or_without_a_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    assert read_labels(tmp_path / "labels.csv") == (0, 1, 2, 0)


def test_labels_are_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.array([[0], [1]], dtype=np.int64))
    assert read_labels(tmp_path / "labels.npy") == (0, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "has 2 columns, and none of them is called label; give a file of one column"),
        (b"1,2\n", "has 2 columns, and none of them is called label"),
        (b"cat\ndog\n", "has 'cat' in row 1, which is no number; give class numbers from 0"),
        (b"label\n0\ncat\n", "has 'cat' in row 2, which is no number"),
        (b"label\ncat\ndog\n", "has 'cat' in row 1, which is no number"),
        (b"label\n", "is empty; give one label for each row"),
        (b"0\nnan\n", "has no label in row 2"),
        (b"id,label\n1\n", "has '' in row 1, which is no number"),
        (b"\xff\xfe\x00", "is neither CSV nor NPY"),
        (b"\x93NUMPY broken", "cannot be read as an NPY array"),
    ],
)
def test_a_file_that_holds_no_labels_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(SpecError, match=words) as caught:
        read_labels(tmp_path / "labels")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="does not exist"):
        read_labels(tmp_path / "labels.csv")
    with pytest.raises(SpecError, match="is no file"):
        read_labels(tmp_path)


@pytest.mark.parametrize(
    ("labels", "metric", "classes", "words"),
    [
        ((0, 1, 1), "accuracy", 2, "has 3 labels, and rows.csv has 4 rows; give one label for each row"),
        ((0, 1, 0.5, 1), "accuracy", 2, "has the label 0.5 in row 3, which is no class number"),
        ((0, -1, 0, 1), "f1", 2, "has the label -1 in row 2, which is no class number"),
        ((0, 1, 2, 1), "auc", None, "has the class 2, and the model has 2"),
        ((0, 1, 2, 1), "accuracy", 2, "has the class 2, and the model has 2"),
        ((0, 1, 1e30, 1), "accuracy", 2, r"has the class 1e\+30, and the model has 2"),
        ((0, 1, 1e30, 1), "accuracy", None, r"has the class 1e\+30, which is no class number"),
        ((1, 2, 3, 3), "recall@2", 3, "has the class 3, and the model has 3; number classes from 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: tuple[float, ...], metric: str, classes: int | None, words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        fitting_labels(labels, PAYLOAD, "labels.csv", metric_named(metric), classes)


def test_labels_of_a_file_whose_first_rows_were_taken_may_be_those_of_all_its_rows() -> None:
    payload = Payload(rows=PAYLOAD.rows, source="rows.csv", truncated_from=6)
    fitted = fitting_labels((0, 1, 1, 0, 1, 0), payload, "labels.csv", metric_named("accuracy"), 2)
    assert fitted.tolist() == [0, 1, 1, 0]


def test_numbers_are_taken_as_they_are_where_the_metric_takes_numbers() -> None:
    assert fitting_labels((0.5, -1, 3, 1e9), PAYLOAD, "labels.csv", metric_named("mae"), 1).tolist() == [
        0.5,
        -1,
        3,
        1e9,
    ]
