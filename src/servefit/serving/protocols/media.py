"""Content types and what a client accepts, as HTTP writes them (RFC 9110, 8.3, 8.4 and 12.5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

from servefit.serving.messages import Refused
from servefit.serving.rows import refused

_MAX_HEADER_BYTES = 4096
"""Browsers send a tenth of that. Looking at each of ten thousand types takes 20 ms."""


def refuse_encoded(headers: Mapping[bytes, bytes]) -> None:
    """Raise Refused for a body that is compressed. A few bytes of one could stand for more than all memory."""
    coding = headers.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise refused(415, f"content-encoding: {text(coding)!r:.80} is not read here, only a body as it is")


def text(value: bytes) -> str:
    """Return a header's value, to be quoted."""
    return value.decode(errors="replace")


def media_type(value: bytes) -> bytes:
    """Return the type without its parameters, in lower case."""
    return value.partition(b";")[0].strip().lower()


def charset(value: bytes) -> bytes:
    """Return the parameter charset, in lower case, or utf-8. Raises Refused for a content type that is too long."""
    _refuse_long("content-type", value)
    return _parameters(value).get(b"charset", b"utf-8")


def accepted(accept: bytes, offered: Iterable[bytes]) -> bytes | None:
    """Return the one of ``offered`` with the highest quality in ``accept``, the first of several, or None. Raises
    Refused for a header that is too long."""
    _refuse_long("accept", accept)
    quality = {
        media_type(part): _quality(_parameters(part).get(b"q", b"1")) for part in accept.split(b",") if part.strip()
    }
    best, best_quality = None, 0.0
    for name in offered:
        kind = name.partition(b"/")[0] + b"/*"
        name_quality = next((quality[pattern] for pattern in (name, kind, b"*/*") if pattern in quality), 0.0)
        if name_quality > best_quality:
            best, best_quality = name, name_quality
    return best


def _refuse_long(name: str, value: bytes) -> None:
    if len(value) > _MAX_HEADER_BYTES:
        raise Refused(431, f"{name}: it may have {_MAX_HEADER_BYTES} bytes, this one has {len(value)}")


def _parameters(value: bytes) -> dict[bytes, bytes]:
    pairs = (part.partition(b"=") for part in value.split(b";")[1:])
    return {name.strip().lower(): text.strip().strip(b'"').lower() for name, _, text in pairs}


def _quality(text: bytes) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return quality if 0 <= quality <= 1 else 1.0
