"""Checks of numbers where they come in. Each refuses a number with a SpecError, in the same words for every field.

NaN, infinities and booleans are refused by all of them, and so is what is no number. Numbers as people type them, with
a unit, are parsed and checked in ``quantities``.
"""

from __future__ import annotations

from math import isfinite
from numbers import Real

from servefit.errors import SpecError


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
