"""The times that a server reports in its headers, whatever these hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.drivers.http.server_timing import UNKNOWN_NS, read_timing, read_timings

DURATION_NS = st.integers(min_value=0, max_value=10**14)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"queue;dur=0.012, predict;dur=0.345", (12_000, 345_000)),
        (b" queue;dur=1.5, predict;dur=2", (1_500_000, 2_000_000)),
        (b"queue;dur=0.012,predict;dur=0.345", (12_000, 345_000)),
        (b'cache;desc="hit, of course", predict;desc=a;dur="3.25";x=y , queue;dur=1', (1_000_000, 3_250_000)),
        (b"predict;dur=4", (0, 4_000_000)),
        (b"queue;dur=4", (UNKNOWN_NS, UNKNOWN_NS)),
        (b"predict", (UNKNOWN_NS, UNKNOWN_NS)),
        (b"predict;dur=soon, queue;dur=1", (UNKNOWN_NS, UNKNOWN_NS)),
        (b"predict;dur=-1", (UNKNOWN_NS, UNKNOWN_NS)),
        (b"", (UNKNOWN_NS, UNKNOWN_NS)),
    ],
)
def test_times_are_read_from_every_spelling(header: bytes, expected: tuple[int, int]) -> None:
    assert read_timing(header) == expected


@given(st.lists(st.tuples(DURATION_NS, DURATION_NS), min_size=1))
def test_what_was_written_is_read_again(times: list[tuple[int, int]]) -> None:
    lines = b"".join(
        b"queue;dur=%.6f, predict;dur=%.6f\n" % (queued_ns / 1e6, predicted_ns / 1e6)
        for queued_ns, predicted_ns in times
    )
    found = read_timings(lines)
    assert found is not None
    assert np.allclose(np.stack(found, axis=1), times, rtol=1e-12, atol=1)


@given(st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line)))
def test_no_header_breaks_it_and_every_line_has_its_place(headers: list[bytes]) -> None:
    lines = b"".join(header + b"\n" for header in [*headers, b"queue;dur=1, predict;dur=2"])
    found = read_timings(lines)
    assert found is not None
    queued_ns, predicted_ns = found
    assert len(queued_ns) == len(predicted_ns) == len(headers) + 1
    assert (queued_ns[-1], predicted_ns[-1]) == (1_000_000, 2_000_000)
    assert (predicted_ns >= UNKNOWN_NS).all()


def test_a_server_that_says_nothing_is_not_one_that_takes_no_time() -> None:
    assert read_timings(b"") is None
    assert read_timings(b"\n\ncache;dur=1\n") is None
