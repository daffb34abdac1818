"""Networks of ONNX of which ONNX Runtime's optimisations change predictions of drawn rows: these are noise, and some
networks make much of its roundings. The reference is ONNX Runtime without optimisations.

Rows of a payload decide about an artifact of these: those it predicts rightly may be all that it is ever sent. Without
such rows it is served without optimisations. Either is a warning, and has a cache entry of its own, beside that of an
artifact which predicts drawn rows rightly.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from servefit.backends.artifacts import cache
from servefit.backends.model.types import Library
from servefit.errors import OutputMismatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.backends.model import Model

_log = logging.getLogger(__name__)

_BY_PAYLOAD, _PLAIN = "-payload", "-unoptimised"
"""Ends of the names of cache entries."""


def find_entry(key: str, *, by_payload: bool) -> cache.Entry | None:
    """Return the entry of an artifact called ``key``; where ``by_payload``, it may be one about which rows of payloads
    decide. Raises StateError."""
    ends = ("", _BY_PAYLOAD, _PLAIN) if by_payload else ("", _PLAIN)
    return next((entry for end in ends if (entry := cache.find(key + end)) is not None), None)


def store_otherwise(
    model: Model,
    error: OutputMismatch,
    key: str,
    stored: Callable[..., cache.Entry],
    *,
    by_payload: bool,
) -> cache.Entry:
    """Store an artifact in place of the one of which ``error`` says that predictions differ, or raise that: it may be
    one of ``model`` by its own library.

    ``stored`` makes an entry, with ``drawn=False`` without comparing drawn rows, or with ``unoptimised=True``;
    ``by_payload`` says that there are rows of a payload, which may decide.
    """
    if model.library is not Library.ONNX or model.trees is not None or error.backend != model.reference:
        raise error
    if by_payload:
        try:
            entry = stored(key + _BY_PAYLOAD, drawn=False)
        except OutputMismatch as of_payload:
            _log.info("%s", of_payload)
        else:
            _log.warning("%s; rows of the payload are predicted rightly, and decide", error)
            return entry
    try:
        entry = stored(key + _PLAIN, unoptimised=True)
    except OutputMismatch:
        raise error from None
    remedy = "" if by_payload else "; rows of a payload (--payload) decide in place of drawn ones"
    _log.warning("%s; so it is served without ONNX Runtime's optimisations, which is slower%s", error, remedy)
    return entry
