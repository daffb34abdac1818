"""S3's answers to readers of an object: the object, a part of it, or that the client has it already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING

from servefit.aws.s3.conditions import Preconditions, is_current
from servefit.aws.s3.metadata import ANSWERED, TAGGING
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import FileAnswer, HttpAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.aws.s3.objects import Facts, Objects

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)

_HEADER_VALUE = re.compile(r"([!-~\x80-\xff]([ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?")
"""The form of a header's value [RFC 9110, 5.5]."""

_ANSWERED_AS = {f"response-{name}": name for name in ANSWERED}

READING_QUERY = frozenset(_ANSWERED_AS)
"""Members of the query of a request that reads: headers of the answer, instead of those of the object."""


def read_object(
    objects: Objects, file: Path, headers: Mapping[str, str], query: Mapping[str, str], *, whole: bool
) -> HttpAnswer | FileAnswer:
    """Return the answer to a GET, or to a HEAD, which has no content unless it is ``whole``. Raises ApiError:
    NoSuchKey, PreconditionFailed, InvalidRange, and InvalidArgument for a query with a header that is none."""
    asked = _asked_headers(query)
    reader, facts = objects.open(file)
    try:
        answered = _headers_of(facts) | asked
        if not Preconditions.of(headers).check(facts):
            reader.close()
            return HttpAnswer(status=304, headers=answered)
        wanted = headers.get("range") if is_current(facts, headers.get("if-range")) else None
        start, end = _range(wanted, facts.size)
        reader.seek(start)
    except BaseException:
        reader.close()
        raise
    status = 200
    if end - start != facts.size:
        status, answered["content-range"] = 206, f"bytes {start}-{end - 1}/{facts.size}"
    if whole:
        return FileAnswer(status=status, headers=answered, file=reader, start=start, length=end - start)
    reader.close()
    return HttpAnswer(status=status, headers={**answered, "content-length": str(end - start)})


def range_to_copy(text: str | None, size: int) -> tuple[int, int]:
    """Return begin and end of the bytes of an object that are to be copied: all, where ``text`` is None. Raises
    ApiError, InvalidArgument, also where the object is shorter."""
    if text is None:
        return 0, size
    match = _RANGE.fullmatch(text.strip())
    if match is None or not (match[1] and match[2]) or not int(match[1]) <= int(match[2]) < size:
        raise ApiError("InvalidArgument", f"Range specified is not valid for source object of size: {size}")
    return int(match[1]), int(match[2]) + 1


def _asked_headers(query: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that the query wants in the answer. Raises ApiError."""
    asked = {name: query[name] for name in READING_QUERY & set(query)}
    for name, text in asked.items():
        if _HEADER_VALUE.fullmatch(text.encode("latin-1", "replace").decode("latin-1")) is None:
            raise ApiError("InvalidArgument", f"{name} is not the value of a header")
    return {_ANSWERED_AS[name]: text for name, text in asked.items()}


def _headers_of(facts: Facts) -> dict[str, str]:
    return {
        "etag": facts.etag,
        "last-modified": format_datetime(facts.modified, usegmt=True),
        "accept-ranges": "bytes",
        **{name: value for name, value in facts.metadata.items() if name != TAGGING},
    }


def _range(text: str | None, size: int) -> tuple[int, int]:
    """Return begin and end of the bytes that a request is for: all, where it does not say. Raises ApiError."""
    match = None if text is None else _RANGE.fullmatch(text.strip())
    if match is None or not (match[1] or match[2]):
        return 0, size
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if start >= end:
        raise ApiError("InvalidRange", "The requested range is not satisfiable", status=416)
    return start, end
