"""Columns that came as tensors of their own, brought into the order in which a model has them, by their names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from servefit.backends.model import Input, Signature

_MAX_LISTED = 400
"""In characters."""
_MAX_SIZES = 8
"""Of a shape in a message, more than models have."""


@dataclass(frozen=True, slots=True)
class TensorPart:
    """The columns of one tensor: what it is called, if it says so, and the shape of a row of it."""

    name: str | None
    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        return math.prod(self.shape)


def in_model_order(values: np.ndarray, parts: Sequence[TensorPart], signature: Signature, source: str) -> np.ndarray:
    """Return the columns of ``values``, which are those of ``parts`` side by side, as the model has them.

    A model of several inputs takes one part for each, of its name and its shape. A model of one takes one part of any
    name; or, where the names of its features are known, one for each of these, and others, which are left out. Raises
    PayloadMismatch, listing the names, for any others.
    """
    if len(signature.inputs) > 1:
        return _by_input(values, parts, signature.inputs, source)
    if len(parts) > 1:
        return _by_feature(values, parts, signature, source)
    (part,) = parts
    wanted, flat = signature.row_shape, len(part.shape) == 1
    if part.width == signature.features and not flat and not same_layout(part.shape, wanted):
        raise _misshapen(source, "rows", wanted, part.shape)
    return values


def same_layout(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Return whether two shapes are equal apart from dimensions of size one."""
    return [size for size in shape if size != 1] == [size for size in wanted if size != 1]


def _by_input(values: np.ndarray, parts: Sequence[TensorPart], inputs: Sequence[Input], source: str) -> np.ndarray:
    names = [model_input.name for model_input in inputs]
    check_inputs([part.name for part in parts], inputs, source)
    shapes = {part.name: part.shape for part in parts}
    for model_input in inputs:
        if not same_layout(shapes[model_input.name], model_input.fixed_shape):
            raise _misshapen(source, repr(model_input.name), model_input.fixed_shape, shapes[model_input.name])
    if [part.name for part in parts] == names:
        return values
    columns = _columns(parts)
    return values[:, np.concatenate([columns[name] for name in names])]


def _by_feature(values: np.ndarray, parts: Sequence[TensorPart], signature: Signature, source: str) -> np.ndarray:
    names = list(signature.feature_names)
    if not names or any(part.width != 1 for part in parts):
        expected = f"one tensor of {signature.features} columns, as the model has one input"
        raise PayloadMismatch(
            source,
            expected=f"{expected}, or one for each of the features {_listed(names)}" if names else expected,
            got=f"{len(parts)} tensors" + (", one of several columns" if names else ""),
        )
    _check_names([part.name for part in parts], names, source, "features", unknown=[])
    columns = _columns(parts)
    return values[:, [columns[name][0] for name in names]]


def _columns(parts: Sequence[TensorPart]) -> dict[str | None, np.ndarray]:
    """Return the columns of each part, by its name."""
    begins = np.cumsum([0, *(part.width for part in parts)])
    return {part.name: np.arange(begin, begin + part.width) for part, begin in zip(parts, begins, strict=False)}


def check_inputs(tensors: Sequence[str | None], inputs: Sequence[Input], source: str) -> None:
    """Raise PayloadMismatch unless there is a tensor for each of ``inputs``, none twice and no other."""
    names = [one.name for one in inputs]
    _check_names(tensors, names, source, "inputs", unknown=[name for name in tensors if name not in names])


def one_for_each(what: str, names: Sequence[str]) -> str:
    """Return what is expected of tensors, to a person."""
    return f"one tensor for each of the {what} {_listed(names)}"


def _check_names(
    tensors: Sequence[str | None], names: Sequence[str], source: str, what: str, *, unknown: Sequence[str | None]
) -> None:
    """Raise PayloadMismatch unless each of ``names`` is there, none twice and none that is ``unknown``."""
    times = Counter(tensors)
    doubled = [name for name, count in times.items() if count > 1]
    missing = [name for name in names if name not in times]
    if doubled:
        got = f"{_called(doubled[0])} twice"
    elif unknown:
        got = _called(unknown[0])
    elif missing:
        got = f"no {missing[0]!r:.60}" + (f", nor {len(missing) - 1} others" if len(missing) > 1 else "")
    else:
        return
    raise PayloadMismatch(source, expected=one_for_each(what, names), got=got)


def _called(name: str | None) -> str:
    return "one without a name" if name is None else f"{name!r:.60}"


def _misshapen(source: str, what: str, wanted: Sequence[int], got: Sequence[int]) -> PayloadMismatch:
    return PayloadMismatch(source, expected=f"{what} of the shape {_shape(wanted)}", got=_shape(got))


def _shape(row: Sequence[int]) -> str:
    return f"({', '.join(['n', *map(str, row[:_MAX_SIZES])])}{', ...' if len(row) > _MAX_SIZES else ''})"


def _listed(names: Sequence[str]) -> str:
    """Return as many of ``names`` as a line takes, and how many there are more."""
    shown: list[str] = []
    for name in names:
        shown.append(f"{name!r:.60}")
        if sum(map(len, shown)) > _MAX_LISTED and len(shown) < len(names):
            return f"{', '.join(shown)} and {len(names) - len(shown)} others"
    return ", ".join(shown)
