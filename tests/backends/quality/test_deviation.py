"""Deviations of predictions from the reference's, without labels."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.backends.model import Signature
from servefit.backends.model.types import Output, Task
from servefit.backends.quality.deviation import by_row, judged_deviation
from servefit.backends.quality.limits import DeviationLimit
from servefit.errors import SpecError

VECTOR = Signature(task=Task.TENSOR, features=2, outputs=3)
NUMBER = Signature(task=Task.REGRESSION, features=2, outputs=1)
TWO = Signature(
    task=Task.TENSOR,
    features=2,
    outputs=5,
    output_tensors=(
        Output(name="embedding", datatype="float32", shape=(3,), start=0, stop=3),
        Output(name="logits", datatype="float32", shape=(2,), start=3, stop=5),
    ),
)
RNG = np.random.default_rng(0)


def test_a_share_is_one_of_the_largest_value_of_the_row() -> None:
    reference = np.array([[100.0, 1.0, 0.0], [2.0, 1.0, -4.0]])
    got = reference + np.array([[0.5, 0, 0], [0, 0.2, 0]])
    assert by_row("share", VECTOR, reference, got).tolist() == pytest.approx([0.005, 0.05])


def test_a_share_of_single_numbers_is_one_of_the_largest_of_all_rows() -> None:
    reference = np.array([10.0, 0.0, 1e-6])
    assert by_row("share", NUMBER, reference, reference + 0.1).tolist() == pytest.approx([0.01, 0.01, 0.01])


def test_outputs_are_compared_each_by_itself_and_the_worst_counts() -> None:
    reference = np.array([[1000.0, 0, 0, 1, 0]])
    got = reference + np.array([[0, 0, 0, 0, 0.5]])
    assert by_row("share", TWO, reference, got).tolist() == pytest.approx([0.5])
    assert by_row("cosine", TWO, reference, got)[0] == pytest.approx(1 / np.sqrt(1.25))


@pytest.mark.parametrize(("measure", "worst"), [("share", np.inf), ("cosine", -1.0), ("top1", 0.0)])
def test_a_number_in_place_of_none_is_as_far_off_as_can_be(measure: str, worst: float) -> None:
    reference = np.array([[1.0, 2.0, 3.0]])
    got = np.array([[1.0, np.nan, 3.0]])
    assert by_row(measure, VECTOR, reference, got).tolist() == [worst]  # type: ignore[arg-type]
    assert by_row(measure, VECTOR, got, reference).tolist() == [worst]  # type: ignore[arg-type]


def test_a_cosine_of_single_numbers_is_refused() -> None:
    with pytest.raises(SpecError, match="compares vectors, and no output of this model is one"):
        by_row("cosine", NUMBER, np.ones(3), np.ones(3))


def test_the_same_class_is_told_of_vectors_of_probabilities_and_at_every_place_of_a_sequence() -> None:
    reference = np.array([[0.2, 0.5, 0.3], [0.9, 0.1, 0.0]])
    assert by_row("top1", VECTOR, reference, reference[:, ::-1]).tolist() == [1, 0]
    single = np.array([0.2, 0.7, 0.51])
    assert by_row("top1", NUMBER, single, single - 0.05).tolist() == [1, 1, 0]
    tagged = Signature(
        task=Task.TENSOR,
        features=2,
        outputs=4,
        output_tensors=(Output(name="tags", datatype="float32", shape=(2, 2), start=0, stop=4),),
    )
    tags = np.array([[1.0, 0.0, 0.0, 1.0]])
    assert by_row("top1", tagged, tags, np.array([[3.0, 0.0, 0.0, 0.1]])).tolist() == [1]
    assert by_row("top1", tagged, tags, np.array([[3.0, 0.0, 0.2, 0.1]])).tolist() == [0]


def classes(rows: int, other: int) -> tuple[np.ndarray, np.ndarray]:
    reference = np.eye(3)[RNG.integers(0, 3, rows)]
    got = reference.copy()
    got[:other] = np.roll(got[:other], 1, axis=1)
    return reference, got


@pytest.mark.parametrize(
    ("rows", "other", "verdict"),
    [(300, 0, "PASS"), (290, 0, "UNDECIDED"), (1000, 3, "PASS"), (1000, 8, "UNDECIDED"), (1000, 30, "FAIL")],
)
def test_a_share_of_rows_in_the_same_class_is_tested_and_not_only_counted(rows: int, other: int, verdict: str) -> None:
    reference, got = classes(rows, other)
    found = judged_deviation(DeviationLimit(measure="top1", limit=0.99), VECTOR, reference, {"together": got})
    assert found.verdict == verdict
    assert (found.rows_needed is not None) == (verdict == "UNDECIDED")
    assert found.bound < found.found


def test_a_largest_deviation_says_what_is_shown_of_rows_that_were_not_seen() -> None:
    reference = RNG.normal(size=(300, 3))
    scale = np.abs(reference).max(axis=1, keepdims=True)
    limit = DeviationLimit(measure="share", limit=0.01)
    kept = judged_deviation(limit, VECTOR, reference, {"together": reference + 0.009 * scale})
    assert kept.verdict == "PASS"
    assert kept.found == pytest.approx(0.009)
    assert kept.bound == pytest.approx(0.00994, abs=1e-5)
    assert "at most 0.994 % of rows are beyond it" in kept.text
    one = reference.copy()
    one[7] *= 1.02
    broken = judged_deviation(limit, VECTOR, reference, {"together": reference, "alone": one[:16]})
    assert (broken.verdict, broken.way, broken.rows) == ("FAIL", "alone", 16)
