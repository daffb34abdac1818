"""Metrics of the user's own: called in a child process, and what is said of those that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from servefit.backends.quality.drop import drop_found
from servefit.backends.quality.limits import QualityLimit
from servefit.backends.quality.own_metric import own_bounds, own_score
from servefit.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

LABELS = np.arange(300) % 3
PREDICTIONS = np.eye(3)[LABELS]

SOURCE = """
import os
import sys

def accuracy(labels, predictions):
    return (predictions.argmax(axis=1) == labels).mean()

def nothing(labels, predictions):
    return float("nan")

def wrong(labels, predictions):
    raise KeyError("no such column")

def text(labels, predictions):
    return "good"

def leaves(labels, predictions):
    sys.exit(3)

def dies(labels, predictions):
    os._exit(3)

def of_few(labels, predictions):
    found = labels < 3
    return (predictions[found].argmax(axis=1) == labels[found]).mean() if found.any() else float("nan")

def of_different_rows(labels, predictions):
    return 1.0 if len(set(map(bytes, predictions))) == len(predictions) else float("nan")

def of_all_rows(labels, predictions):
    if len(set(map(bytes, predictions))) < len(predictions):
        raise ValueError("rows\\nthat are the same")
    return 1.0

seven = 7
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_function_in_the_current_folder_is_called_elsewhere_than_in_this_process() -> None:
    import sys

    assert own_score("own:accuracy", LABELS, PREDICTIONS) == 1.0
    assert "own" not in sys.modules


def test_its_drop_is_bounded_as_a_share_of_what_the_reference_has() -> None:
    candidate = PREDICTIONS.copy()
    candidate[:30] = np.roll(candidate[:30], 1, axis=1)
    [(score, within)] = own_bounds("own:accuracy", LABELS, PREDICTIONS, [candidate])
    assert score == 0.9
    assert within.drop == pytest.approx(0.1)
    assert 0.06 < within.least < 0.09
    assert 0.11 < within.most < 0.15
    limit = QualityLimit(source="array", metric="own:accuracy", drop=0.05)
    found = drop_found(limit, within, reference=1, candidate=score, rows=300, way="together", needed=None)
    assert found.verdict == "FAIL"


def test_rows_drawn_again_of_which_it_is_no_number_are_left_out_of_its_bound() -> None:
    """Of 300 rows four are of the first three classes: none of them is drawn again about once in 55 times."""
    labels = np.concatenate([[0, 1, 2, 2], np.full(296, 3)])
    predictions = np.eye(4)[labels]
    [(score, within)] = own_bounds("own:of_few", labels, predictions, [predictions])
    assert (score, within.drop, within.most) == (1, 0, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("of_different_rows", "is no number, or 0, of rows drawn again from yours, some of them several times"),
        ("of_all_rows", "raised ValueError of rows drawn again from yours.*: rows that are the same; have it return"),
    ],
)
def test_one_that_tells_nothing_of_rows_drawn_again_is_refused(name: str, words: str) -> None:
    predictions = np.random.default_rng(0).random((300, 3))
    assert own_score(f"own:{name}", LABELS, predictions) == 1
    with pytest.raises(SpecError, match=words) as caught:
        own_bounds(f"own:{name}", LABELS, predictions, [predictions])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:f", "metric: 'nowhere:f' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("own:absent", "cannot be imported: AttributeError"),
        ("own:seven", "is a int, and no function"),
        ("own:nothing", "gave nan, and not a finite number"),
        ("own:wrong", "raised KeyError: 'no such column'"),
        ("own:text", "gave a str, and not a number"),
        ("own:leaves", "raised SystemExit: 3"),
        ("own:dies", "could not be computed: "),
    ],
)
def test_a_function_that_fails_is_refused_in_one_line(name: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        own_score(name, LABELS, PREDICTIONS)
    assert "\n" not in str(caught.value)
