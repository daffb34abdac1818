"""Rows of models whose requests have sizes of their own: sentences of any length, images of any height.

Rows lie in one array, so such a row begins with its sizes. The values of each tensor follow, flat and one tensor after
the other, and then zeros, up to the width of the widest row beside it. So a row tells by itself how it is to be read,
and whoever keeps, sends or joins rows need not know. Predictions of such sizes are packed in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np

from servefit.showing import shown


class Tensor(Protocol):
    """An input or an output: its ``shape`` is that of a row, where a name stands for a size of the request's own."""

    @property
    def name(self) -> str: ...

    @property
    def datatype(self) -> str: ...

    @property
    def shape(self) -> tuple[int | str, ...]: ...


@shown()
@dataclass(frozen=True, slots=True)
class Place:
    """The columns [``start``, ``stop``) of a row that a tensor has, and its ``shape`` there."""

    tensor: Tensor
    start: int
    stop: int
    shape: tuple[int, ...]


@shown()
@dataclass(frozen=True, slots=True)
class Packing:
    """The order in which sizes, by their names, and tensors lie in a row."""

    tensors: Sequence[Tensor]
    sizes: Sequence[str]

    def places(self, sizes: Mapping[str, int]) -> list[Place]:
        """Return where each tensor lies in a row of these sizes."""
        found: list[Place] = []
        start = len(self.sizes)
        for tensor in self.tensors:
            shape = shape_in(tensor.shape, sizes)
            found.append(Place(tensor, start, start + prod(shape), shape))
            start += prod(shape)
        return found

    def pack(self, blocks: Sequence[np.ndarray], sizes: Mapping[str, int], datatype: str) -> np.ndarray:
        """Return rows of the sizes ``sizes``, made of one block for each tensor, (rows, values of a row)."""
        rows = np.empty((len(blocks[0]), self.width(sizes)), dtype=datatype)
        rows[:, : len(self.sizes)] = [sizes[name] for name in self.sizes]
        for place, block in zip(self.places(sizes), blocks, strict=True):
            rows[:, place.start : place.stop] = block
        return rows

    def width(self, sizes: Mapping[str, int]) -> int:
        """Return how many columns a row of these sizes has."""
        return len(self.sizes) + sum(prod(shape_in(tensor.shape, sizes)) for tensor in self.tensors)

    def groups(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, int]]]:
        """Yield the numbers of the rows that have the same sizes, and these, for all sizes that occur in ``rows``."""
        told = rows[:, : len(self.sizes)]
        if len(rows) == 1 or (told == told[0]).all():
            yield np.arange(len(rows)), self._named(told[0])
            return
        distinct, which = np.unique(told, axis=0, return_inverse=True)
        for nth, values in enumerate(distinct):
            yield np.flatnonzero(which.reshape(-1) == nth), self._named(values)

    def _named(self, values: np.ndarray) -> dict[str, int]:
        return dict(zip(self.sizes, map(int, values.tolist()), strict=True))


def shape_in(shape: Sequence[int | str], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return ``shape`` with the sizes that its names stand for."""
    return tuple(sizes[size] if isinstance(size, str) else size for size in shape)


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of ``parts``, (rows, width), one below the other, as wide as the widest of them."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.shape[1] for part in parts)
    if all(part.shape[1] == width for part in parts):
        return np.concatenate(parts)
    joined = np.zeros((sum(map(len, parts)), width), dtype=np.result_type(*parts))
    begin = 0
    for part in parts:
        joined[begin : begin + len(part), : part.shape[1]] = part
        begin += len(part)
    return joined


def join_predictions(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return predictions, (rows,) or (rows, outputs), one below the other."""
    return join(parts) if all(part.ndim > 1 for part in parts) else np.concatenate(parts)


def of_one_width(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays of packed rows, the narrower one as wide as the other."""
    joined = join([first, second])
    return joined[: len(first)], joined[len(first) :]
