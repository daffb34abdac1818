"""Rows of different sizes in one call of a network: padded with zeros to the longest of them, and their predictions cut
back to each row's own size.

Padding is 0 in every input along the sizes that the mask has, and so in the mask too, which tells the model that these
places do not count. Without a mask it is 0 along all sizes, which some models take for no place themselves. A row whose
own mask counts no place at all, or which is zeros throughout, is not padded: what most models make of such a row is a
mean over all places, and there would be more of them. How a model is called is in ``onnx_io``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from servefit.backends.model.packing import Packing, Place, join, shape_in

if TYPE_CHECKING:
    from servefit.backends.model.types import Padding

_Group: TypeAlias = tuple[np.ndarray, dict[str, int]]
"""The numbers of rows that have the same sizes, and these."""

_Placed: TypeAlias = tuple[np.ndarray, dict[str, int], list[Place]]
"""The same, and where each input lies in such a row."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows for one call, ``rows`` (n, width), all of the sizes ``longest``; ``groups`` says which they were, in their
    order, and of what sizes."""

    rows: np.ndarray
    longest: Mapping[str, int]
    groups: Sequence[_Group]


def padded_batches(packing: Packing, padding: Padding, rows: np.ndarray) -> Iterator[Batch]:
    """Yield all ``rows`` in as few calls as they fit in: those that differ in nothing but ``padding.sizes`` go
    together."""
    together: dict[tuple[int, ...], list[_Placed]] = {}
    for which, sizes in packing.groups(rows):
        places = packing.places(sizes)
        counted = _counted(padding, rows, which, places)
        if not counted.all():
            alone = which[~counted]
            yield Batch(rows[alone, : places[-1].stop], sizes, [(alone, sizes)])
        if counted.any():
            others = tuple(size for name, size in sizes.items() if name not in padding.sizes)
            together.setdefault(others, []).append((which[counted], sizes, places))
    for placed in together.values():
        longest = {name: max(sizes[name] for _, sizes, _ in placed) for name in packing.sizes}
        groups = [(which, sizes) for which, sizes, _ in placed]
        yield Batch(_padded(packing, rows, placed, longest), longest, groups)


def cut(packing: Packing, padding: Padding, batch: Batch, predictions: np.ndarray) -> np.ndarray:
    """Return packed ``predictions`` of a batch, (n, values), cut back to the sizes of its rows before padding.

    Raises ValueError if the sizes of an output differ from those of the inspection.
    """
    if not any(padding.outputs) or len(batch.groups) == 1:
        return predictions
    [(_, padded)] = packing.groups(predictions[:1])
    for name, of in zip(packing.sizes, padding.outputs, strict=True):
        if of and padded[name] != batch.longest[of]:
            raise ValueError(f"{name} is {padded[name]} where {of} is {batch.longest[of]}")
    places = packing.places(padded)
    parts: list[np.ndarray] = []
    begin = 0
    for which, sizes in batch.groups:
        count = len(which)
        of_group = predictions[begin : begin + count]
        begin += count
        own = {name: sizes.get(of, padded[name]) for name, of in zip(packing.sizes, padding.outputs, strict=True)}
        blocks = [np.tile(np.array(list(own.values()), dtype=predictions.dtype), (count, 1))]
        for at in places:
            shape = shape_in(at.tensor.shape, own)
            values = of_group[:, at.start : at.stop].reshape(count, *at.shape)
            blocks.append(values[(slice(None), *map(slice, shape))].reshape(count, -1))
        parts.append(np.concatenate(blocks, axis=1))
    return join(parts)


def _counted(padding: Padding, rows: np.ndarray, which: np.ndarray, places: Sequence[Place]) -> np.ndarray:
    """Return for each of the rows with the numbers ``which`` whether a place of it counts."""
    counted = np.zeros(len(which), dtype=bool)
    for place in places:
        name, shape = place.tensor.name, place.tensor.shape
        tells = name == padding.mask if padding.mask is not None else not set(padding.sizes).isdisjoint(shape)
        if tells:
            counted |= (rows[which, place.start : place.stop] != 0).any(axis=1)
    return counted


def _padded(packing: Packing, rows: np.ndarray, placed: Sequence[_Placed], longest: Mapping[str, int]) -> np.ndarray:
    """Return the rows of all groups, one group after the other, with zeros up to the sizes ``longest``."""
    if len(placed) == 1:
        [(which, _, places)] = placed
        return rows[which, : places[-1].stop]
    count = sum(len(which) for which, _, _ in placed)
    blocks = []
    for nth, shape in enumerate(shape_in(tensor.shape, longest) for tensor in packing.tensors):
        block = np.zeros((count, *shape), dtype=rows.dtype)
        begin = 0
        for which, _, places in placed:
            own = places[nth]
            values = rows[which, own.start : own.stop].reshape(-1, *own.shape)
            block[(slice(begin, begin + len(which)), *map(slice, own.shape))] = values
            begin += len(which)
        blocks.append(block.reshape(count, -1))
    return packing.pack(blocks, longest, rows.dtype.name)
