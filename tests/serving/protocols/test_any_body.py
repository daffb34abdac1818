"""Whatever a body is: rows or one sentence, and not for long. ``fuzz_bodies`` goes on with that for longer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from tests.serving.any_bodies import AnyBody, any_bodies, check
from tests.serving.hostile_bodies import Body, hostile_bodies

from servefit.serving.messages import Request

SIZE = 2**18


@given(body=any_bodies())
@settings(max_examples=150, deadline=None)
def test_any_body_is_rows_or_one_sentence_in_a_time_that_its_length_bounds(body: AnyBody) -> None:
    check(body.request())


@pytest.mark.parametrize("body", list(hostile_bodies(3, SIZE)), ids=lambda body: f"{body.format}: {body.name}")
def test_so_are_the_worst_that_are_known(body: Body) -> None:
    headers = {name.encode(): value.encode() for name, value in body.headers.items()}
    check(Request(b"POST", b"", headers, body.content))
