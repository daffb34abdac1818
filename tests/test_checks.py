"""Checks of numbers that come from outside."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import inf, isfinite, nan
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from servefit.checks import check_above_zero, check_at_least, check_between, check_finite, check_local, check_whole
from servefit.errors import SpecError

Check = Callable[[str, Any], None]

CHECKS: dict[str, Check] = {
    "finite": check_finite,
    "above zero": check_above_zero,
    "at least": partial(check_at_least, least=-7),
    "between": partial(check_between, low=-7, high=7),
    "whole": partial(check_whole, least=-7),
}

finite = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
numbers = st.one_of(finite, st.floats(), st.fractions())
anything = st.one_of(numbers, st.booleans(), st.none(), st.text(), st.binary(), st.complex_numbers(), st.decimals())


def problem(check: Check, value: object) -> str | None:
    """Return what is wrong with ``value`` according to ``check``, None if nothing is."""
    try:
        check("field", value)
    except SpecError as error:
        refused = error
    else:
        return None
    assert (refused.field, refused.value, refused.remedy) == ("field", value, None)
    return refused.problem


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@given(value=anything)
@example(value=True)
@example(value=10**400)
@example(value=-(10**400))
@example(value=Fraction(10**400))
@example(value=np.float32("nan"))
@example(value=np.bool_(True))
def test_whatever_passes_is_a_finite_number_and_no_boolean(check: Check, value: Any) -> None:
    if problem(check, value) is None:
        assert isinstance(value, Real)
        assert not isinstance(value, bool)
        assert isinstance(value, int) or isfinite(value)


@pytest.mark.parametrize("check", [check for name, check in CHECKS.items() if name != "whole"])
@pytest.mark.parametrize(
    ("value", "refused"),
    [
        (nan, "is not finite"),
        (inf, "is not finite"),
        (-inf, "is not finite"),
        (np.float64("inf"), "is not finite"),
        (10**400, "is not finite"),
        (True, "is not a number"),
        ("1", "is not a number"),
        (None, "is not a number"),
        (1j, "is not a number"),
    ],
)
def test_what_is_no_finite_number_is_refused_in_the_same_words(check: Check, value: object, refused: str) -> None:
    assert problem(check, value) == refused


@given(value=finite)
def test_a_finite_number_is_above_zero_or_refused(value: float) -> None:
    assert problem(check_finite, value) is None
    assert problem(check_above_zero, value) == (None if value > 0 else "is not above zero")


@given(value=finite, bounds=st.tuples(finite, finite).map(sorted))
def test_bounds_belong_to_what_they_admit(value: float, bounds: list[float]) -> None:
    least, most = bounds
    below = f"is below {least}" if least else "is below zero"
    expected = below if value < least else f"is above {most}" if value > most else None
    assert problem(partial(check_at_least, least=least, most=most), value) == expected
    assert problem(partial(check_at_least, least=least), value) == (below if value < least else None)
    assert problem(partial(check_at_least, least=least, most=most), least) is None
    assert problem(partial(check_at_least, least=least, most=most), most) is None


@given(value=finite, most=st.floats(min_value=1e-9, max_value=1e9))
def test_a_number_above_zero_may_be_bounded(value: float, most: float) -> None:
    expected = "is not above zero" if value <= 0 else f"is above {most}" if value > most else None
    assert problem(partial(check_above_zero, most=most), value) == expected


@given(value=finite)
def test_what_lies_between_two_numbers_is_neither(value: float) -> None:
    expected = None if 0 < value < 100 else "is not between 0 and 100"
    assert problem(partial(check_between, low=0, high=100), value) == expected


@given(value=anything, least=st.integers(-3, 3))
@example(value=True, least=1)
@example(value=2.0, least=1)
def test_a_whole_number_is_an_int(value: Any, least: int) -> None:
    found = problem(partial(check_whole, least=least, most=1000), value)
    if not isinstance(value, int) or isinstance(value, bool):
        assert found == "is not a whole number"
    elif value < least:
        assert found == {0: "is below zero", 1: "is not above zero"}.get(least, f"is below {least}")
    else:
        assert found == ("is above 1000" if value > 1000 else None)


@pytest.mark.parametrize(
    "path", ["s3://b/model.onnx", "s3:/b/model.onnx", "hdfs://host/m", "https://example.com/m.onnx"]
)
def test_a_url_is_no_path_and_keeps_its_slashes(path: str) -> None:
    with pytest.raises(SpecError, match=r"://.* is a URL, and not a path; copy it to a file first"):
        check_local("model", path)


def test_paths_with_colons_are_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "s3:" / "b", Path("/no/s3:/b"), Path("C:"), Path("model:1.onnx")):
        check_local("model", path)
