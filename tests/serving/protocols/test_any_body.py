"""Every body gives rows or a refusal of one sentence, in a time that its length bounds. ``fuzz_bodies`` tries more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.example_counts import examples
from tests.serving.any_bodies import AnyBody, any_bodies, decode
from tests.serving.hostile_bodies import Body, hostile_bodies

from servefit.serving.messages import Request

SIZES = {2**16: (), 2**18: (pytest.mark.thorough,)}
"""Bytes of bodies that are hard to read, and the marks of tests with them."""


@given(body=any_bodies())
@settings(max_examples=examples(37, drawn=150), deadline=None)
def test_any_body_gives_rows_or_a_refusal_in_a_time_that_its_length_bounds(body: AnyBody) -> None:
    assert decode(body.request()).broken_promises() == []


@pytest.mark.integration
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body, marks=marks, id=f"{body.format}: {body.name} ({size})")
        for size, marks in SIZES.items()
        for body in hostile_bodies(3, size)
    ],
)
def test_a_body_that_is_hard_to_read_gives_rows_or_a_refusal_in_a_time_that_its_length_bounds(body: Body) -> None:
    headers = {name.encode(): value.encode() for name, value in body.headers.items()}
    assert decode(Request(b"POST", b"", headers, body.content)).broken_promises() == []
