"""Rows of different sizes in one call of a network: padded with zeros to the longest of them, and their predictions cut
back to each row's own size.

Padding is 0 in every input along the sizes that the mask has, and so in the mask too, which tells the model that these
places do not count. A row whose own mask counts no place at all is not padded: what most models make of such a row is a
mean over all places, and there would be more of them. How a model is called is in ``onnx_io``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from servefit.backends.model.packing import Packing, join

if TYPE_CHECKING:
    from servefit.backends.model.types import Padding

_Group: TypeAlias = tuple[np.ndarray, dict[str, int]]
"""The numbers of rows that have the same sizes, and these."""


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
    together: dict[tuple[int, ...], list[_Group]] = {}
    for which, sizes in packing.groups(rows):
        own = rows[which, : packing.width(sizes)]
        counted = _counted(packing, padding, own, sizes)
        if not counted.all():
            yield Batch(own[~counted], sizes, [(which[~counted], sizes)])
        if counted.any():
            others = tuple(size for name, size in sizes.items() if name not in padding.sizes)
            together.setdefault(others, []).append((which[counted], sizes))
    for groups in together.values():
        longest = {name: max(sizes[name] for _, sizes in groups) for name in packing.sizes}
        yield Batch(_padded(packing, rows, groups, longest), longest, groups)


def cut(packing: Packing, padding: Padding, batch: Batch, predictions: np.ndarray) -> np.ndarray:
    """Return packed ``predictions`` of a batch, (n, values), with the sizes that its rows had before they were padded.

    Raises ValueError where the model gave outputs of other sizes than it was seen to give.
    """
    if not any(padding.outputs) or len(batch.groups) == 1:
        return predictions
    [(_, told)] = packing.groups(predictions[:1])
    for name, of in zip(packing.sizes, padding.outputs, strict=True):
        if of and told[name] != batch.longest[of]:
            raise ValueError(f"{name} is {told[name]} where {of} is {batch.longest[of]}")
    parts: list[np.ndarray] = []
    begin = 0
    for which, sizes in batch.groups:
        of_group = predictions[begin : begin + len(which)]
        begin += len(which)
        own = {name: sizes.get(of, told[name]) for name, of in zip(packing.sizes, padding.outputs, strict=True)}
        blocks = [
            of_group[:, at.start : at.stop]
            .reshape(-1, *at.shape)[(slice(None), *map(slice, there.shape))]
            .reshape(len(which), -1)
            for at, there in zip(packing.places(told), packing.places(own), strict=True)
        ]
        parts.append(packing.pack(blocks, own, predictions.dtype.name))
    return join(parts)


def _counted(packing: Packing, padding: Padding, rows: np.ndarray, sizes: Mapping[str, int]) -> np.ndarray:
    """Return which rows, of these sizes, have a mask that counts a place."""
    mask = next(place for place in packing.places(sizes) if place.tensor.name == padding.mask)
    counted: np.ndarray = (rows[:, mask.start : mask.stop] != 0).any(axis=1)
    return counted


def _padded(packing: Packing, rows: np.ndarray, groups: Sequence[_Group], longest: Mapping[str, int]) -> np.ndarray:
    """Return the rows of all groups, one group after the other, with zeros up to the sizes ``longest``."""
    if len(groups) == 1:
        return rows[groups[0][0], : packing.width(longest)]
    count = sum(len(which) for which, _ in groups)
    places = [packing.places(sizes) for _, sizes in groups]
    blocks = []
    for nth, target in enumerate(packing.places(longest)):
        block = np.zeros((count, *target.shape), dtype=rows.dtype)
        begin = 0
        for (which, _), of_group in zip(groups, places, strict=True):
            own = of_group[nth]
            values = rows[which, own.start : own.stop].reshape(-1, *own.shape)
            block[(slice(begin, begin + len(which)), *map(slice, own.shape))] = values
            begin += len(which)
        blocks.append(block.reshape(count, -1))
    return packing.pack(blocks, longest, rows.dtype.name)
