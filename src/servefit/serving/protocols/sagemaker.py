"""POST /invocations: the contract of SageMaker's inference containers.

``Content-Type`` says what the body is, and ``Accept`` what the answer shall be; the answer is in the format of the
request where a client accepts that, or says nothing. A body without a type, or of bytes, is told by how it begins.
Formats are read in ``csv_rows``, ``json_rows`` and ``npy_rows``, and written in ``answers``. A script reads and writes
whatever it likes: ``opaque_bodies``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec

from servefit.errors import PayloadMismatch
from servefit.serving.messages import Encode, Inference, Request
from servefit.serving.protocols import network_outputs, opaque_bodies
from servefit.serving.protocols.answers import csv_answer, json_answer, json_lines_answer, npy_answer
from servefit.serving.protocols.csv_rows import rows_of_csv
from servefit.serving.protocols.json_rows import rows_of_json, rows_of_json_lines
from servefit.serving.protocols.media import accepted, charset, media_type, refuse_encoded, text
from servefit.serving.protocols.network_outputs import is_flat
from servefit.serving.protocols.npy_rows import rows_of_npy
from servefit.serving.rows import JSON_MARKS, SHORT_BYTES, mismatch, raise_for_long_text, refuse_crowded, refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from servefit.backends.model.types import Signature
    from servefit.serving.config import Limits


class _ReadRows(Protocol):
    """Returns the rows in a body. Raises Refused, PayloadMismatch, and TakesLong."""

    def __call__(self, body: bytes, signature: Signature, limits: Limits, *, at_once: bool = False) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class _Format:
    """``marks`` are the bytes that separate values, and begin lists of them, none where the format is no text; ``ends``
    those that end lines, where a line is a row."""

    rows: _ReadRows
    encode: Encode
    marks: bytes
    ends: bytes = b""


_JSON, _CSV, _NPY = b"application/json", b"text/csv", b"application/x-npy"
_JSON_LINES = (b"application/jsonlines", b"application/x-jsonlines", b"application/x-ndjson")
_FORMATS: Mapping[bytes, _Format] = {
    _JSON: _Format(rows_of_json, json_answer, JSON_MARKS),
    _CSV: _Format(rows_of_csv, csv_answer, b",;\t\n", b"\n\r"),
    **{
        kind: _Format(rows_of_json_lines, partial(json_lines_answer, content_type=kind), JSON_MARKS, b"\n")
        for kind in _JSON_LINES
    },
    _NPY: _Format(rows_of_npy, npy_answer, b""),
}
_UNTYPED = frozenset({b"", b"application/octet-stream", b"binary/octet-stream"})
_ASCII_LIKE = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_LATIN = frozenset({b"iso-8859-1", b"latin1", b"latin-1"})

_MAX_FIRST_BYTES = 2**13
"""Of the text that is looked at. It takes 3 ms at worst, and 50 us for a row of thirty values."""

_FIRST_OF_LIST = re.compile(rb'\s*(?:\{\s*"instances"\s*:\s*)?\[\s*(\[[^\[\]"{}]*\])\s*,')


def decode(request: Request, signature: Signature, limits: Limits, *, at_once: bool = False) -> Inference:
    """Return the rows of ``request`` and the encoder of its answer. Raises Refused, and TakesLong for a body that is
    too long to read ``at_once``."""
    if signature.opaque:
        return opaque_bodies.decode(request)
    headers, body = request.headers, request.body
    content_type = headers.get(b"content-type", b"")
    kind = _kind_of(headers, body)
    form = _FORMATS.get(kind)
    if form is None:
        raise refused(415, f"content-type: {text(kind)!r:.80} is not read here, only {_known()}")
    refuse_encoded(headers)
    if form.marks:
        if len(body) > SHORT_BYTES:
            if at_once:
                raise_for_long_text(body)
            refuse_crowded(body, form.marks, form.ends, signature, limits)
        if b"charset" in content_type.lower():
            body = _in_utf8(body, charset(content_type))
    accept = headers.get(b"accept")
    answer_kind = _chosen(accept, kind)
    encode = _FORMATS[answer_kind].encode if is_flat(signature) else _network_encode(answer_kind, signature)
    try:
        return Inference(form.rows(body, signature, limits, at_once=at_once), encode)
    except PayloadMismatch as error:
        raise mismatch(error) from error


def _kind_of(headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    content_type = headers.get(b"content-type", b"")
    kind = content_type if content_type in _FORMATS else media_type(content_type)
    if kind not in _UNTYPED:
        return kind
    begin = body[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin.startswith(b"\x93NUMPY"):
        return _NPY
    return _JSON if begin[:1] in (b"{", b"[") else _CSV


def check_first_row(request: Request, signature: Signature, limits: Limits) -> None:
    """Raise Refused for a request to /invocations if its first row does not fit. Pass a request whose first row cannot
    be separated."""
    if signature.sizes or signature.output_tensors:
        return
    text = bytes(request.body[:_MAX_FIRST_BYTES])
    kind = _kind_of(request.headers, text)
    if kind not in (_CSV, _JSON, *_JSON_LINES):
        return
    if kind == _CSV:
        first = _first_lines(text)
    elif match := _FIRST_OF_LIST.match(text):
        first = b"[%b]" % match[1]
    else:
        first = _first_document(text)
    if first:
        decode(Request(request.method, request.path, request.headers, first), signature, limits)


def _first_lines(text: bytes) -> bytes:
    """Return a header or a row, and the row behind it; nothing where quotes may hold line ends."""
    lines = text.split(b"\n", 2)
    if len(lines) < 3 or b'"' in text or not (lines[0].strip() and lines[1].strip()):
        return b""
    return b"%b\n%b\n" % (lines[0], lines[1])


def _first_document(text: bytes) -> bytes:
    """Return the first line if it is a document of its own."""
    line, end, _ = text.partition(b"\n")
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return b""
    return line if end else b""


def _in_utf8(body: bytes, name: bytes) -> bytes:
    if name in _ASCII_LIKE:
        return body
    if name in _LATIN:
        return body.decode("iso-8859-1").encode()
    raise refused(415, f"content-type: the charset {text(name)!r:.80} is not read here, only utf-8")


def _chosen(accept: bytes | None, kind: bytes) -> bytes:
    """Return the type of the answer to a request of type ``kind``. Raises Refused."""
    if accept is None or accept in (kind, b"*/*") or not accept.strip():
        return kind
    chosen = accepted(accept, (kind, *_FORMATS))
    if chosen is None:
        raise refused(406, f"accept: {text(accept)!r:.80} has nothing that is written here: {_known()}")
    return chosen


def _network_encode(kind: bytes, signature: Signature) -> Encode:
    """Return how to answer with outputs that are more than a list of values."""
    packing = signature.output_packing
    if kind in _JSON_LINES:
        return partial(network_outputs.json_lines_answer, content_type=kind, packing=packing)
    answers = {
        _JSON: network_outputs.json_answer,
        _CSV: network_outputs.csv_lines_answer,
        _NPY: network_outputs.npy_answer,
    }
    return partial(answers[kind], packing=packing)


def _known() -> str:
    return ", ".join(name.decode() for name in _FORMATS)
