"""POST /invocations of a script: body, Content-Type and Accept go to it as they came, and what it gives goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.backends.model.opaque import (
    HEADER_BYTES,
    MAX_BODY_BYTES,
    OpaqueRequest,
    answer_in,
    request_row,
)
from servefit.serving.messages import Inference, Refused, Reply, Request
from servefit.serving.protocols.media import refuse_encoded
from servefit.serving.rows import refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


def decode(request: Request) -> Inference:
    """Return the one row that ``request`` is, and how to answer. Raises Refused for a body that is too long or
    compressed, and for a header that is no line of ASCII."""
    headers, body = request.headers, request.body
    refuse_encoded(headers)
    if len(body) > MAX_BODY_BYTES:
        raise Refused(413, f"body: a script gets {MAX_BODY_BYTES} bytes at most, this one has {len(body)}")
    content_type, accept = _header(headers, b"content-type"), _header(headers, b"accept")
    row = request_row(OpaqueRequest(body=body, content_type=content_type, accept=accept))
    return Inference(row[None], encode, quick=True)


def encode(predictions: np.ndarray) -> Reply:
    """Return the answer in the one row of ``predictions``."""
    answer = answer_in(predictions[0])
    return Reply(200, answer.body, answer.content_type.encode("ascii"))


def refuse_tensors() -> Refused:
    """Return the refusal of a request in the Open Inference Protocol."""
    return Refused(400, "body: this model is a script, which takes requests as they are: send them to /invocations")


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str:
    value = headers.get(name, b"").strip()
    if len(value) > HEADER_BYTES:
        raise Refused(431, f"{name.decode()}: it may have {HEADER_BYTES} bytes, this one has {len(value)}")
    text = value.decode("latin-1")
    if value and not (text.isascii() and text.isprintable()):
        raise refused(400, f"{name.decode()}: expected a line of ASCII, got {text!r:.80}")
    return text
