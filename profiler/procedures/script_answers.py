"""Reads the numbers in what a script answers, and compares them with those of an endpoint of the model file beside it.

JSON, JSON Lines, CSV and NPY are read. An object with one member, such as ``{"predictions": [...]}``, stands for that
member: names differ from script to script.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from servefit.backends.model.media_types import media_type

if TYPE_CHECKING:
    from servefit.backends.model.opaque import OpaqueAnswer

_JSON, _CSV, _NPY = "application/json", "text/csv", "application/x-npy"
_JSON_LINES = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")


class _NotNumbers(Exception):
    """An answer is not read as numbers, for the reason that this says."""


def largest_difference(pairs: Iterable[tuple[OpaqueAnswer, OpaqueAnswer]]) -> tuple[float | None, str | None]:
    """Return by how much the numbers in a script's answers and in those of the file to the same requests differ at
    most; or None, and why that cannot be said."""
    largest = 0.0
    for script, file in pairs:
        try:
            one, other = _numbers(script), _numbers(file)
        except _NotNumbers as error:
            return None, str(error)
        if one.shape != other.shape:
            return None, f"the script answers with numbers of shape {one.shape}, and the file of {other.shape}"
        with np.errstate(invalid="ignore"):
            differences = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.abs(one - other))
        if not np.isfinite(differences).all():
            return None, "one has a number where the other has none, or an infinite one"
        largest = max(largest, float(differences.max(initial=0)))
    return largest, None


def _numbers(answer: OpaqueAnswer) -> np.ndarray:
    """Return the numbers in an answer, without dimensions of one. Raises _NotNumbers."""
    kind = media_type(answer.content_type)
    try:
        if kind == _NPY:
            values = np.load(io.BytesIO(answer.body), allow_pickle=False)
        elif kind == _CSV:
            values = np.loadtxt(io.BytesIO(answer.body), delimiter=",", ndmin=2)
        elif kind == _JSON:
            values = _unwrapped(msgspec.json.decode(answer.body))
        elif kind in _JSON_LINES:
            values = _unwrapped(msgspec.json.Decoder().decode_lines(answer.body))
        else:
            raise _NotNumbers(f"an answer is {kind or 'of no type'}, which is not read as numbers")
        return np.squeeze(np.asarray(values, dtype=np.float64))
    except (ValueError, TypeError, EOFError, OverflowError, RecursionError, msgspec.DecodeError) as error:
        raise _NotNumbers(f"an answer, which is {kind}, does not hold numbers alone") from error


def _unwrapped(value: Any) -> Any:
    """Return ``value`` with every object of a single member replaced by that member."""
    while isinstance(value, dict) and len(value) == 1:
        [value] = value.values()
    return [_unwrapped(item) for item in value] if isinstance(value, list) else value
