"""Requests that are opaque bytes with a content type, as rows, and the answers to them.

Whoever keeps, sends, joins or hashes rows moves such a request as one row of ``packing``: the number of its bytes, its
content type, what the client accepts, the bytes. An answer is one row too. A float32 holds a byte exactly, and takes
four times its memory (ADR 20). What the bytes mean is known to the script that answers (``backends.libraries.script``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from servefit.backends.model.types import Input, Output, Signature, Size, Task
from servefit.backends.model.width import MAX_FEATURES

HEADER_BYTES = 256
"""The longest content type or Accept. Those of browsers, which accept most, have 150."""

_BEFORE_BODY = 1 + 2 * HEADER_BYTES
_BEFORE_ANSWER = 1 + HEADER_BYTES

MAX_BODY_BYTES = MAX_FEATURES - _BEFORE_BODY
"""8 MiB less the headers, which is as wide as a row may be."""

_SIZE, _ANSWER_SIZE = "bytes", "answer_bytes"

SIGNATURE = Signature(
    task=Task.TENSOR,
    features=_BEFORE_BODY + 1,
    outputs=_BEFORE_ANSWER + 1,
    accepts_missing=False,
    inputs=(
        Input(name="content_type", datatype="uint8", shape=(HEADER_BYTES,), start=1, stop=1 + HEADER_BYTES),
        Input(name="accept", datatype="uint8", shape=(HEADER_BYTES,), start=1 + HEADER_BYTES, stop=_BEFORE_BODY),
        Input(name="body", datatype="uint8", shape=(_SIZE,), start=_BEFORE_BODY, stop=_BEFORE_BODY + 1),
    ),
    sizes=(Size(name=_SIZE, usual=1),),
    output_tensors=(
        Output(name="content_type", datatype="uint8", shape=(HEADER_BYTES,), start=1, stop=_BEFORE_ANSWER),
        Output(name="body", datatype="uint8", shape=(_ANSWER_SIZE,), start=_BEFORE_ANSWER, stop=_BEFORE_ANSWER + 1),
    ),
    output_sizes=(_ANSWER_SIZE,),
    opaque=True,
).of_sizes({})
"""The signature of every model that takes such requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueRequest:
    """A request. ``content_type`` and ``accept`` are as HTTP has them, and empty where nothing was said."""

    body: bytes
    content_type: str = ""
    accept: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaqueAnswer:
    """The answer to a request."""

    body: bytes
    content_type: str


def request_row(request: OpaqueRequest) -> np.ndarray:
    """Return the row of a request, (width,). Raises ValueError for a header or a body that is too long, and for a
    header that is no line of ASCII."""
    return _packed(request.body, (request.content_type, request.accept))


def request_in(row: np.ndarray) -> OpaqueRequest:
    """Return the request in a row, which may be followed by zeros."""
    content_type, accept = _text(row[1 : 1 + HEADER_BYTES]), _text(row[1 + HEADER_BYTES : _BEFORE_BODY])
    return OpaqueRequest(body=_bytes(row, _BEFORE_BODY), content_type=content_type, accept=accept)


def answer_row(answer: OpaqueAnswer) -> np.ndarray:
    """Return the row of an answer, (width,). Raises ValueError as ``request_row``."""
    return _packed(answer.body, (answer.content_type,))


def answer_in(row: np.ndarray) -> OpaqueAnswer:
    """Return the answer in a row, which may be followed by zeros."""
    return OpaqueAnswer(body=_bytes(row, _BEFORE_ANSWER), content_type=_text(row[1:_BEFORE_ANSWER]))


def _packed(body: bytes, headers: tuple[str, ...]) -> np.ndarray:
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"{len(body):,} bytes, and {MAX_BODY_BYTES:,} are the most")
    before = 1 + HEADER_BYTES * len(headers)
    row = np.zeros(before + len(body), dtype=np.float32)
    row[0] = len(body)
    for nth, header in enumerate(headers):
        if not header.isascii() or not (header.isprintable() or not header):
            raise ValueError(f"{header!r:.60}, which is no line of ASCII")
        if len(header) > HEADER_BYTES:
            raise ValueError(f"a header of {len(header)} characters, and {HEADER_BYTES} are the most")
        begin = 1 + HEADER_BYTES * nth
        row[begin : begin + len(header)] = np.frombuffer(header.encode(), np.uint8)
    row[before:] = np.frombuffer(body, np.uint8)
    return row


def _bytes(row: np.ndarray, begin: int) -> bytes:
    return row[begin : begin + int(row[0])].astype(np.uint8).tobytes()


def _text(values: np.ndarray) -> str:
    return values.astype(np.uint8).tobytes().rstrip(b"\0").decode("ascii")
