"""Bodies of every format with anything in them, often the same again and again, and what must hold of them all."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st
from tests.serving.conftest import described
from tests.serving.hostile_bodies import CSV, JSON, LINES, NPY

from servefit.serving.messages import Inference, Refused, Request, TakesLong
from servefit.serving.protocols import open_inference, sagemaker

LENGTH = b"inference-header-content-length"
SIZES = (100, 2**10, 2**13, 2**16, 2**18)

S_A_BYTE = 1e-5
"""Four times what the worst take, rows of two bytes each; a tenth of what takes minutes as it grows with the square."""

MIN_S = 0.1
_NOT_SHORT_BYTES = 2**13
MAX_AT_ONCE_S = 0.1
"""Twice what a request may keep others waiting."""

CONFIG = described({}, {})
NAMES = ("a", "b", "c")
ROW = b"1,2.5,-3e-05"
TENSOR = b'{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}'

PLACES: dict[str, list[tuple[bytes, bytes]]] = {
    JSON: [
        (b"", b""),
        (b"[", b"]"),
        (b"[[", b"]]"),
        (b"[[1,2,", b"]]"),
        (b'["', b'"]'),
        (b"{", b"}"),
        (b'{"', b'":1}'),
        (b'{"a":1,"b":2,"c":', b"}"),
        (b'{"instances":[', b"]}"),
        (b'{"instances":[[1,2,3]],"x":', b"}"),
        (b'{"features":[', b"]}"),
        (b'{"columns":["a","b","c"],"data":[', b"]}"),
        (b'{"data":[[1,2,3]],"columns":[', b"]}"),
        (b'{"inputs":[', b"]}"),
        (b'{"inputs":[{"shape":[', b'],"data":[1,2,3]}]}'),
        (b'{"inputs":[{"shape":[1,3],"data":[', b"]}]}"),
    ],
    LINES: [(b"", b""), (b"[1,2,3]\n", b"\n[1,2,3]"), (b'{"instances":[', b"]}\n[1,2,3]")],
    CSV: [(b"", b""), (b"a,b,c\n", b""), (b"1,2,3\n", b"\n4,5,6\n"), (b'1,2,"', b'"\n'), (b"1;2;3\n", b"")],
    NPY: [
        (b"\x93NUMPY", b""),
        (b"\x93NUMPY\x01\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (", b"), }\n"),
        (b"\x93NUMPY\x01\0\x00\x04{'descr': [", b"], 'fortran_order': False, 'shape': (1, 3), }\n"),
        (b"\x93NUMPY\x02\0\x00\x10\0\0", b"\n"),
    ],
    "": [
        (b"", b""),
        (b"{", b"}"),
        (b'{"inputs":[', b"]}"),
        (b'{"inputs":[' + TENSOR + b",", b"]}"),
        (b'{"inputs":[' + TENSOR + b'],"id":"', b'"}'),
        (b'{"inputs":[' + TENSOR + b'],"outputs":[', b"]}"),
        (b'{"inputs":[' + TENSOR + b'],"parameters":{', b"}}"),
        (b'{"inputs":[' + TENSOR + b'],"x":', b"}"),
        (b'{"inputs":[{"name":"', b'","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'),
        (b'{"inputs":[{"name":"x","datatype":"FP32","data":[1,2,3],"shape":[', b"]}]}"),
        (b'{"inputs":[{"name":"x","datatype":"INT64","shape":[1,3],"data":[', b"]}]}"),
        (b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[', b"]}]}"),
        (b'{"inputs":[{"name":"x","datatype":"FP64","shape":[1,3],"parameters":{"binary_data_size":', b"}}]}"),
    ],
}
"""Where in a body something may come; "" is the Open Inference Protocol."""

PIECES = [
    *(b"1,", b"1", b"9", b"0", b"-", b".", b"e", b"9223372036854775807,", b"1e-310,", b"1.7976931348623157e308,"),
    *(b"5E-324,", b"9" * 400 + b",", b"0.1234567,", b"null,", b"NaN,", b"true,", b"NA,", b'"1",', b'"a",', b'"a":1,'),
    *(
        b"[",
        b"]",
        b"[],",
        b"[[",
        b"]],[[",
        b"[1],",
        b"[1,2,3],",
        b"{",
        b"}",
        b"{},",
        b'{"a":',
        b'{"a":1},',
        b"(",
        b"),",
    ),
    *(b"\n", b"\r", b"\r\n", b" ", b"\t", b",", b";", b'"', b"'", b"\\", b"\\u00e9", b"\\ud800", b":", b"/", b"#"),
    *(b"a", b"\0", b"\xff", b"\xc3\xa9", b"\xef\xbb\xbf", b"[]\n", b"{}\n", b"1\n", b"[1,2,3]\n", b"1,2,3\n"),
    *(b"('a','<f4'),", b"L,", ROW, TENSOR + b",", b'{"name":"predictions"},', b'{"shape":[1],"data":[1]},'),
]


class AnyBody(NamedTuple):
    """What was put into a body, in order to show a failure in a line: ``pieces``, again and again, up to ``size``."""

    content_type: str
    begin: bytes
    pieces: tuple[bytes, ...]
    last: bytes
    end: bytes
    size: int
    header_bytes: int | None

    def request(self) -> Request:
        piece = b"".join(self.pieces) or b" "
        body = self.begin + piece * max(1, self.size // len(piece)) + self.last + self.end
        headers = {b"content-type": self.content_type.encode()} if self.content_type else {}
        if self.header_bytes is not None:
            headers[LENGTH] = b"%d" % min(self.header_bytes, len(body))
        return Request(b"POST", b"", headers, body)


@st.composite
def any_bodies(draw: st.DrawFn, *, sizes: tuple[int, ...] = SIZES) -> AnyBody:
    content_type = draw(st.sampled_from(list(PLACES)))
    begin, end = draw(st.sampled_from(PLACES[content_type]))
    piece = st.sampled_from(PIECES) | st.binary(min_size=1, max_size=6)
    return AnyBody(
        content_type,
        begin,
        tuple(draw(st.lists(piece, min_size=1, max_size=3))),
        draw(st.just(b"") | st.sampled_from(PIECES)),
        end,
        draw(st.sampled_from(sizes)),
        draw(st.none() | st.sampled_from(sizes)) if not content_type else None,
    )


def check(request: Request) -> float:
    """Assert that there are rows or one sentence, in a time that the length bounds, also on the event loop; give the
    time for each byte of what is not short, in s."""
    size = len(request.body)
    took_s, found = _decoded_within(MIN_S + S_A_BYTE * size, request, at_once=False)
    _, found_at_once = _decoded_within(MAX_AT_ONCE_S, request, at_once=True)
    if isinstance(found, Refused):
        assert 400 <= found.status < 500
        assert found.reason
        assert "\n" not in found.reason
        assert len(msgspec.json.encode({"error": found.reason})) < 2000
    if found_at_once is not None:
        assert type(found_at_once) is type(found)
    return took_s / max(size, _NOT_SHORT_BYTES)


def _decoded_within(most_s: float, request: Request, *, at_once: bool) -> tuple[float, Inference | Refused | None]:
    """What took too long is done once more: the machine may have been busy with other things."""
    took_s, found = _decoded(request, at_once=at_once)
    if took_s > most_s:
        took_s, found = _decoded(request, at_once=at_once)
    assert took_s < most_s, f"{took_s:g} s for {len(request.body)} bytes"
    return took_s, found


def _decoded(request: Request, *, at_once: bool) -> tuple[float, Inference | Refused | None]:
    """The CPU time that it takes, and what comes of it; None is what is left to another process."""
    began_s = time.thread_time()
    found: Inference | Refused | None
    try:
        if b"content-type" in request.headers:
            found = sagemaker.decode(request, CONFIG.signature, CONFIG.limits, at_once=at_once)
        else:
            found = open_inference.decode(request, CONFIG, at_once=at_once)
    except Refused as refused:
        found = refused
    except TakesLong:
        found = None
    return time.thread_time() - began_s, found
