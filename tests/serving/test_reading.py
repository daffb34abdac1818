"""Requests are read from bytes, however these are cut, with and without a cached head."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.serving.config import Limits
from servefit.serving.reading import HeadCache, RequestReader

if TYPE_CHECKING:
    from servefit.serving.messages import Refused, Request


class Received:
    def __init__(self) -> None:
        self.taken: list[tuple[bytes, bytes, dict[bytes, bytes], bytes, bool, bool]] = []
        self.refused: list[int] = []
        self.waits = 0
        self.begun = False

    def on_request(self, request: Request, *, keep_alive: bool, has_connection_header: bool) -> None:
        self.taken.append(
            (request.method, request.path, dict(request.headers), request.body, keep_alive, has_connection_header)
        )

    def refuse(self, refused: Refused) -> None:
        self.refused.append(refused.status)

    def wait_for_body(self) -> None:
        self.waits += 1


def read(pieces: list[bytes], known: HeadCache) -> Received:
    received = Received()
    reader = RequestReader(received, Limits(body_bytes=100), known)
    for piece in pieces:
        reader.feed(piece)
    received.begun = reader.begun
    return received


def _with_body(head: bytes, body: bytes) -> bytes:
    return b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (head[:1], len(body), head[1:], body)


_BODIES = st.sampled_from(
    [
        b"",
        b"a",
        b"[[1,2]]",
        b"\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na",
    ]
)
_REQUESTS = st.one_of(
    st.builds(_with_body, st.sampled_from([b"a", b"b", b"cConnection: keep-alive\r\n"]), _BODIES),
    st.sampled_from(
        [
            b"GET /g HTTP/1.1\r\nHost: a\r\n\r\n",
            b"HEAD /g?query HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET http://a/g HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            b"POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            b"POST /t HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok",
            b"POST /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
            b"GET /u HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n",
            b"POST /l HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n",
            b"GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            b"\r\n",
        ]
    ),
)


@settings(max_examples=examples(60, drawn=300), deadline=None)
@given(requests=st.lists(_REQUESTS, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_bytes_mean_the_same_however_they_are_cut_and_whatever_was_read_before(
    requests: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(requests)
    known: HeadCache = {}
    # What is read piece by piece, byte by byte and by a reader that has seen it all, one request at a time or not.
    expected = read([stream], {})
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    ways = [
        [stream[begin:end] for begin, end in itertools.pairwise(places)],
        [bytes([byte]) for byte in stream],
        requests,
        requests,
        [stream],
    ]
    for pieces in ways:
        received = read(pieces, known)
        assert received.taken == expected.taken
        assert received.refused == expected.refused
        assert received.waits == expected.waits
        assert not (received.refused and received.begun)


def test_a_head_is_known_after_it_was_read_once() -> None:
    known: HeadCache = {}
    first, second = _with_body(b"a", b"1"), _with_body(b"a", b"2")
    read([first], known)
    assert [head.body_bytes for head in known.values()] == [1]
    assert read([second], known).taken[0][3] == b"2"
    assert len(known) == 1


def test_only_so_many_and_so_long_heads_are_known() -> None:
    known: HeadCache = {}
    read([b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(3000)], known)
    assert 0 < len(known) <= 1024
    read([b"GET /long HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 2000 + b"\r\n\r\n"], known)
    assert max(map(len, known)) <= 1024
