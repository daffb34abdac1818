"""Datatypes and shapes of inputs as users write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.model.input_shapes import DATATYPES, InputShape, input_shape, input_shapes
from servefit.errors import SpecError

SIZES = st.one_of(st.integers(1, 9), st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True))


@given(datatype=st.sampled_from(DATATYPES), rows=SIZES, others=st.lists(SIZES, max_size=5))
def test_what_is_written_is_read_back(datatype: str, rows: int | str, others: list[int | str]) -> None:
    shape = InputShape(datatype, (rows, *(size for size in others if size != rows or isinstance(size, int))))
    assert input_shape("x", str(shape)) == shape


@given(text=st.text(max_size=40))
def test_any_text_is_a_shape_or_refused(text: str) -> None:
    with suppress(SpecError):
        assert input_shape("x", text).datatype in DATATYPES


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("float32[", "is no datatype and shape"),
        ("float33[rows]", "datatype: 'float33'"),
        ("[rows,3]", "datatype: ''"),
        ("float32[]", "has the size ''"),
        ("float32[rows,0]", "has the size '0'"),
        ("float32[rows,-1]", "has the size '-1'"),
        ("float32[rows,rows]", "has the number of rows"),
        ("float32[rows,9000000]", "has more than 8,388,608 values"),
        ("float32[a,1,1,1,1,1,1,1,1]", "has more than 8 sizes"),
    ],
)
def test_a_shape_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=r".*") as caught:
        input_shape("x", text)
    assert reason in str(caught.value)


def test_inputs_have_the_same_number_of_rows() -> None:
    with pytest.raises(SpecError, match="differ in the first size, the number of rows: batch and rows"):
        input_shapes({"x": "float32[rows,3]", "y": "float32[batch,3]"})
