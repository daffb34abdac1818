"""Requests of bytes as rows, and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.model.opaque import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    SIGNATURE,
    OpaqueAnswer,
    OpaqueRequest,
    answer_in,
    answer_row,
    request_in,
    request_row,
)
from servefit.backends.model.packing import join

HEADERS = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=HEADER_BYTES)


@given(bodies=st.lists(st.tuples(st.binary(max_size=300), HEADERS, HEADERS), min_size=1, max_size=4))
def test_requests_of_any_lengths_come_out_of_joined_rows_as_they_went_in(
    bodies: list[tuple[bytes, str, str]],
) -> None:
    requests = [OpaqueRequest(body=body, content_type=kind, accept=accept) for body, kind, accept in bodies]
    rows = join([request_row(request)[None] for request in requests])
    assert rows.dtype == SIGNATURE.row_datatype
    assert [request_in(row) for row in rows] == requests


@given(body=st.binary(max_size=300), content_type=HEADERS, zeros=st.integers(0, 10))
def test_an_answer_comes_out_of_its_row(body: bytes, content_type: str, zeros: int) -> None:
    answer = OpaqueAnswer(body=body, content_type=content_type)
    assert answer_in(np.pad(answer_row(answer), (0, zeros))) == answer


def test_a_row_is_as_the_signature_packs_it() -> None:
    row = request_row(OpaqueRequest(body=b"ab", content_type="text/csv"))[None]
    [(_, sizes)] = SIGNATURE.packing.groups(row)
    assert sizes == {"bytes": 2}
    assert SIGNATURE.packing.width(sizes) == row.shape[1]
    assert row[0, SIGNATURE.packing.places(sizes)[2].start :].tolist() == [ord("a"), ord("b")]


def test_the_longest_body_is_told_exactly() -> None:
    assert len(request_in(request_row(OpaqueRequest(body=b"\1" * MAX_BODY_BYTES))).body) == MAX_BODY_BYTES


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (OpaqueRequest(body=b"0" * (MAX_BODY_BYTES + 1)), "are the most"),
        (OpaqueRequest(body=b"", content_type="a" * (HEADER_BYTES + 1)), "a header of 257 characters"),
        (OpaqueRequest(body=b"", content_type="text/é"), "is no line of ASCII"),
        (OpaqueRequest(body=b"", accept="a\r\nb: c"), "is no line of ASCII"),
    ],
)
def test_what_does_not_fit_a_row_is_refused(request_: OpaqueRequest, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        request_row(request_)
