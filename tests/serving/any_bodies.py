"""Bodies of every format with anything in them, often the same again and again, and what must hold of the answers."""

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

MAX_REASON_BYTES = 2000
"""Of a reason in JSON."""

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


class Decoded(NamedTuple):
    """The outcome for a body of ``size_bytes``: rows or a refusal, and the CPU time that it took, in s. The same on the
    event loop, where None is what is left to another process."""

    size_bytes: int
    found: Inference | Refused | None
    took_s: float
    found_at_once: Inference | Refused | None
    took_at_once_s: float

    @property
    def s_a_byte(self) -> float:
        """The time for each byte; a short body counts as one of _NOT_SHORT_BYTES."""
        return self.took_s / max(self.size_bytes, _NOT_SHORT_BYTES)

    def broken_promises(self) -> list[str]:
        """What does not hold of the outcome, and must hold for every body."""
        return [
            *_broken_by_time(self.took_s, MIN_S + S_A_BYTE * self.size_bytes),
            *_broken_by_time(self.took_at_once_s, MAX_AT_ONCE_S),
            *_broken_by_answer(self.found),
            *self._broken_by_event_loop(),
        ]

    def _broken_by_event_loop(self) -> list[str]:
        same = self.found_at_once is None or type(self.found_at_once) is type(self.found)
        return [] if same else ["rows on the event loop and a refusal elsewhere, or the reverse"]


def decode(request: Request) -> Decoded:
    """Decode ``request`` as another process does, and as the event loop does."""
    size_bytes = len(request.body)
    took_s, found = _decoded_within(MIN_S + S_A_BYTE * size_bytes, request, at_once=False)
    took_at_once_s, found_at_once = _decoded_within(MAX_AT_ONCE_S, request, at_once=True)
    return Decoded(size_bytes, found, took_s, found_at_once, took_at_once_s)


def _broken_by_time(took_s: float, max_s: float) -> list[str]:
    return [] if took_s < max_s else [f"it took {took_s:g} s, and may take {max_s:g} s"]


def _broken_by_answer(found: Inference | Refused | None) -> list[str]:
    """A refusal is a status of the client's fault and one sentence, short enough to be sent."""
    if found is None:
        return ["it is neither rows nor a refusal"]
    if not isinstance(found, Refused):
        return []
    broken = [] if 400 <= found.status < 500 else [f"the status is {found.status}"]
    if not found.reason or "\n" in found.reason:
        broken.append(f"the reason is no sentence: {found.reason!r:.100}")
    if len(msgspec.json.encode({"error": found.reason})) >= MAX_REASON_BYTES:
        broken.append("the reason is too long")
    return broken


def _decoded_within(max_s: float, request: Request, *, at_once: bool) -> tuple[float, Inference | Refused | None]:
    """Decode ``request``, and once more where it took too long: the machine may have been busy with other things."""
    took_s, found = _decoded(request, at_once=at_once)
    return (took_s, found) if took_s < max_s else _decoded(request, at_once=at_once)


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
