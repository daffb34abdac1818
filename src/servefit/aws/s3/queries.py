"""Numbers in the queries and the headers of requests."""

from __future__ import annotations

from servefit.aws.wire.errors import ApiError


def number(name: str, text: str, *, digits: int = 9) -> int:
    """Return a number of a query or a header. Raises ApiError."""
    if not text.isascii() or not text.isdecimal() or len(text) > digits:
        raise ApiError("InvalidArgument", f"{name} is not a number")
    return int(text)
