"""Checks of numbers and paths where they come in. Each refuses with a SpecError, in the same words for every field.

NaN, infinities and booleans are refused by all of them, and so is what is no number. Numbers as people type them, with
a unit, are parsed and checked in ``quantities``.
"""

from __future__ import annotations

import os
import re
from math import isfinite
from numbers import Real

from servefit.errors import SpecError

_URL = re.compile(r"([a-z][a-z0-9+.-]+:)/{1,2}(?=[^/])")
"""The beginning of a URL: as a path it has lost one of its two slashes."""

_COPYING = {"s3:": "aws s3 cp {} FILE", "gs:": "gcloud storage cp {} FILE"}


def check_local(field: str, path: str | os.PathLike[str]) -> None:
    """Raise SpecError for a URL, such as s3://bucket/model.onnx, in the place of a path."""
    text = os.fspath(path)
    if (match := _URL.match(text)) is None or os.path.exists(text):  # noqa: PTH110 - Path would merge the slashes of a URL
        return
    url = _URL.sub(r"\1//", text, count=1)
    copying = f": {_COPYING[match[1]].format(url)}" if match[1] in _COPYING else ""
    raise SpecError(field, url, "is a URL, and not a path", remedy=f"copy it to a file first{copying}")


def check_finite(field: str, value: object) -> None:
    """Raise SpecError unless ``value`` is a finite number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SpecError(field, value, "is not a number")
    try:
        finite = isfinite(value)
    except OverflowError:
        # A whole number that is infinite as a float, which it becomes in the first calculation.
        finite = False
    if not finite:
        raise SpecError(field, value, "is not finite")


def check_above_zero(field: str, value: float, *, most: float | None = None) -> None:
    """Raise SpecError unless ``value`` is a finite number above zero, and at most ``most``."""
    check_finite(field, value)
    if value <= 0:
        raise SpecError(field, value, "is not above zero")
    _check_most(field, value, most)


def check_at_least(field: str, value: float, least: float, *, most: float | None = None) -> None:
    """Raise SpecError unless ``value`` is a finite number, at least ``least`` and at most ``most``."""
    check_finite(field, value)
    if value < least:
        raise SpecError(field, value, f"is below {least or 'zero'}")
    _check_most(field, value, most)


def check_between(field: str, value: float, low: float, high: float) -> None:
    """Raise SpecError unless ``value`` lies between ``low`` and ``high``, and is neither."""
    check_finite(field, value)
    if not low < value < high:
        raise SpecError(field, value, f"is not between {low} and {high}")


def check_whole(field: str, value: int, *, least: int, most: int | None = None) -> None:
    """Raise SpecError unless ``value`` is an int, at least ``least`` and at most ``most``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpecError(field, value, "is not a whole number")
    if value < least:
        raise SpecError(field, value, "is not above zero" if least == 1 else f"is below {least or 'zero'}")
    _check_most(field, value, most)


def _check_most(field: str, value: float, most: float | None) -> None:
    if most is not None and value > most:
        raise SpecError(field, value, f"is above {most}")
