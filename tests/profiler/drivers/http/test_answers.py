"""Answers are read from the bytes of a connection, however they are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.drivers.http.answers import MALFORMED, AnswerReader, Heads

GOOD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nServer-Timing: predict;dur=1\r\ncontent-length: 2\r\n\r\n{}"
OTHERS = {
    b"HTTP/1.1 204 No Content\r\n\r\n": (None, True),
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n": (None, True),
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}": (None, False),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n": (None, True),
    b"HTTP/1.1 503 Too Busy\r\ncontent-length: 3\r\nretry-after: 1\r\n\r\nno!": ("status 503", True),
    b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n": ("status 301", True),
    b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n{}": (MALFORMED, False),
    b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nPRI * HTTP/2.0\r\n\r\n": (MALFORMED, False),
    b"not http at all\r\n\r\n": (MALFORMED, False),
}


def in_parts(content: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % len(content) for cut in cuts} - {0}), len(content)]
    return [content[begin:end] for begin, end in pairwise(edges)]


@given(st.lists(st.tuples(st.sampled_from([GOOD, *OTHERS]), st.lists(st.integers(0, 1000), max_size=3)), max_size=8))
def test_every_answer_is_told_whatever_came_before_and_wherever_it_is_cut(
    answers: list[tuple[bytes, list[int]]],
) -> None:
    heads = Heads()
    reader = AnswerReader(heads)
    for content, cuts in answers:
        expected = OTHERS.get(content, (None, True))
        parts = in_parts(content, cuts)
        fed = next(number for number, part in enumerate(parts, start=1) if reader.feed(part))
        assert fed == len(parts) or expected[0] == MALFORMED
        assert (reader.error, reader.stays_open) == expected
        assert reader.timing.strip() == (b"predict;dur=1" if content == GOOD else b"")
        assert not reader.has_begun
        if not reader.stays_open:
            reader = AnswerReader(heads)


def test_a_head_that_is_known_may_say_another_time() -> None:
    heads = Heads()
    reader = AnswerReader(heads)
    assert reader.feed(GOOD)
    assert len(heads.lengths) == 1
    assert reader.feed(GOOD.replace(b"predict;dur=1", b"queue;dur=12.5, predict;dur=3"))
    assert reader.timing.strip() == b"queue;dur=12.5, predict;dur=3"
    assert len(heads.lengths) == 1


def test_a_known_head_with_more_or_less_behind_it_is_looked_at_closely() -> None:
    reader = AnswerReader(Heads())
    assert reader.feed(GOOD)
    assert not reader.feed(GOOD[:-1])
    assert reader.feed(GOOD[-1:])
    assert (reader.error, reader.stays_open) == (None, True)
    assert reader.feed(GOOD + GOOD)
    assert reader.error == MALFORMED
    assert not reader.stays_open


def test_heads_that_never_repeat_do_not_fill_the_memory() -> None:
    heads = Heads()
    reader = AnswerReader(heads)
    for number in range(5000):
        assert reader.feed(b"HTTP/1.1 200 OK\r\nx-request-id: %d\r\ncontent-length: 2\r\n\r\n{}" % number)
    assert len(heads.lengths) < 4097


def test_an_answer_may_end_with_its_connection_only_if_it_says_so() -> None:
    open_end, cut_short = AnswerReader(Heads()), AnswerReader(Heads())
    assert not open_end.feed(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert open_end.end()
    assert (open_end.error, open_end.stays_open) == (None, False)
    assert not cut_short.feed(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nabc")
    assert not cut_short.end()
    assert not AnswerReader(Heads()).end()


@given(st.lists(st.binary(max_size=60) | st.sampled_from([GOOD, *OTHERS]), max_size=6))
def test_no_bytes_break_it(parts: list[bytes]) -> None:
    heads = Heads()
    reader = AnswerReader(heads)
    for part in parts:
        if reader.feed(part) and not reader.stays_open:
            reader = AnswerReader(heads)
    assert reader.feed(b"") in (True, False)
