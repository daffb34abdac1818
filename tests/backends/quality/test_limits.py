"""What may be said of less exact artifacts, and what is refused, each in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from servefit.backends.quality.limits import DeviationLimit, PrecisionLimits, QualityLimit
from servefit.errors import SpecError

BOUNDED: dict[str, Any] = {"allow_precision": "int8", "max_deviation": 0.01}
SCORED: dict[str, Any] = {
    "allow_precision": "int8",
    "quality": "labels.csv",
    "metric": "accuracy",
    "quality_drop": "0.5%",
}


def test_nothing_said_allows_nothing() -> None:
    assert PrecisionLimits.of() == PrecisionLimits()
    assert PrecisionLimits().allows_nothing


def test_limits_are_read_from_numbers_and_texts() -> None:
    assert PrecisionLimits.of(**BOUNDED).deviations == (DeviationLimit(measure="share", limit=0.01),)
    several = PrecisionLimits.of(allow_precision=["BF16", "int8"], max_deviation="1%, cosine=0.995,top1 = 99.9%")
    assert several.allowed == ("bf16", "int8")
    assert [str(limit) for limit in several.deviations] == ["0.01", "cosine=0.995", "top1=0.999"]
    assert PrecisionLimits.of(**SCORED).quality == QualityLimit(source="labels.csv", metric="accuracy", drop=0.005)
    labelled = PrecisionLimits.of(**SCORED | {"quality": np.array([0, 1, 1]), "quality_drop": 0.005}).quality
    assert labelled == QualityLimit(source="array", metric="accuracy", drop=0.005, labels=(0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_deviation": 0.01}, "max_deviation limits artifacts that predict less exactly, and none are allowed"),
        (SCORED | {"allow_precision": ()}, "quality limits artifacts that predict less exactly, and none are allowed"),
        ({"allow_precision": "int8"}, "allow_precision: 'int8' has no limit to what it may change; give"),
        ({"allow_precision": " "}, "allow_precision: ' ' names no precision; name bf16 or int8, or leave it out"),
        (BOUNDED | {"allow_precision": "int4"}, "allow_precision: 'int4' is not known; did you mean 'int8'"),
        (BOUNDED | {"allow_precision": "exact"}, "allow_precision: 'exact' is not known"),
        (BOUNDED | {"allow_precision": "int8,int8"}, "allow_precision: 'int8' is named twice"),
        (BOUNDED | {"max_deviation": 0}, "max_deviation: 0.0 is not above zero"),
        (BOUNDED | {"max_deviation": 1.5}, "max_deviation: 1.5 is above 1"),
        (BOUNDED | {"max_deviation": float("nan")}, "max_deviation: nan is not finite"),
        (BOUNDED | {"max_deviation": "cosine=1"}, "max_deviation: 'cosine=1' leaves nothing to allow"),
        (BOUNDED | {"max_deviation": "top1=2"}, "max_deviation: 'top1=2' is above 1"),
        (BOUNDED | {"max_deviation": "top2=0.9"}, "max_deviation: 'top2' is not known; did you mean 'top1'"),
        (BOUNDED | {"max_deviation": "little"}, "max_deviation: 'little' is not a share such as 20% or 0.2"),
        (BOUNDED | {"max_deviation": "a=b=c"}, "does not look like 0.01, cosine=0.995 or top1=0.999"),
        (BOUNDED | {"max_deviation": "0.1,0.2"}, "max_deviation: '0.2' is given twice|'0.1' is given twice"),
        (SCORED | {"metric": None}, "quality needs metric beside it; say which with --metric accuracy"),
        (SCORED | {"quality": None}, "metric needs quality beside it; give the labels with --quality"),
        (SCORED | {"quality_drop": None}, "quality needs quality_drop beside it; say how much less"),
        (SCORED | {"metric": "acuracy"}, "metric: 'acuracy' is not known; did you mean 'accuracy'"),
        (SCORED | {"metric": "recall@0"}, "metric: 'recall@0' is not known"),
        (SCORED | {"quality_drop": "-1%"}, "quality_drop: '-1%' is below zero"),
        (SCORED | {"quality_drop": -0.1}, "quality_drop: -0.1 is below zero"),
        (SCORED | {"quality_drop": "150%"}, "quality_drop: '150%' is above 100 %"),
        (SCORED | {"quality_drop": 1.5}, "quality_drop: 1.5 is above 1, which is 100 %"),
        (SCORED | {"quality_drop": 0}, "quality_drop: 0 can be shown by no number of rows"),
        (SCORED | {"quality": [["a"], ["b"]]}, "quality: 'array' has 'a' in row 1, which is no number"),
        (SCORED | {"quality": []}, "quality: 'array' is empty; give one label for each row"),
        (SCORED | {"quality": [[0, 1], [1]]}, "quality: 'array' is no array of numbers; give one label for each row"),
        (BOUNDED | {"allow_precision": 8}, "allow_precision: 8 is no list of names; name bf16 or int8"),
        (SCORED | {"quality": [0.0, float("nan")]}, "quality: 'array' has no label in row 2"),
        (SCORED | {"quality": [[0, 1], [1, 0]]}, "quality: 'array' has the shape \\(2, 2\\), and not one label a row"),
    ],
)
def test_a_mistake_is_refused_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        PrecisionLimits.of(**given)
    assert "\n" not in str(caught.value)
