"""Rows of models whose requests have sizes of their own: sentences of any length, images of any height.

Rows lie in one array, so such a row begins with its sizes. The values of each tensor follow, flat and one tensor after
the other, and then zeros, up to the width of the widest row beside it. So a row tells by itself how it is to be read,
and whoever keeps, sends or joins rows need not know. Predictions of such sizes are packed in the same way.

Tensors of texts come after those of numbers, and are no matter of the row's other sizes: one more size, ``TEXT_SIZE``,
tells how many numbers all of them take (see ``texts``), and a call of the model may take texts of any lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Protocol

import numpy as np

from servefit.backends.model.texts import TEXT, TEXT_SIZE, decoded, encoded, object_array
from servefit.showing import shown


class PackedTensor(Protocol):
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

    tensor: PackedTensor
    start: int
    stop: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where all tensors lie in a row: the column in which texts begin, and how many texts each of theirs has."""

    places: Sequence[Place]
    texts_begin: int
    texts: Sequence[int]


@shown()
@dataclass(frozen=True)
class Packing:
    """The order in which sizes, by their names, and tensors lie in a row. ``TEXT_SIZE`` is the last of the sizes where
    some tensors hold texts."""

    tensors: Sequence[PackedTensor]
    sizes: Sequence[str]

    @cached_property
    def has_texts(self) -> bool:
        return TEXT_SIZE in self.sizes

    @cached_property
    def is_table(self) -> bool:
        """Whether tensors have the same places in all rows, as the columns of a table do: of these, texts alone are
        longer or shorter."""
        return len(self.sizes) == self.has_texts

    def places(self, sizes: Mapping[str, int]) -> list[Place]:
        """Return the place of each tensor in a row of these sizes. Tensors of texts share one part of the row, and
        begin and end at its start."""
        places: list[Place] = []
        start = len(self.sizes)
        for tensor in self.tensors:
            shape = shape_in(tensor.shape, sizes)
            numbers = 0 if tensor.datatype == TEXT else prod(shape)
            places.append(Place(tensor, start, start + numbers, shape))
            start += numbers
        if not self.has_texts:
            return places
        return [
            Place(place.tensor, start, start, place.shape) if place.tensor.datatype == TEXT else place
            for place in places
        ]

    def pack(self, blocks: Sequence[np.ndarray], sizes: Mapping[str, int], datatype: str) -> np.ndarray:
        """Return rows of ``sizes``, from one block for each tensor, (rows, values of a row). Texts are Python strings,
        a missing one is None."""
        texts = [block for tensor, block in zip(self.tensors, blocks, strict=True) if tensor.datatype == TEXT]
        parts = [encoded(text for block in texts for text in block[row]) for row in range(len(blocks[0]))]
        all_sizes = {**sizes, TEXT_SIZE: max(map(len, parts))} if texts else sizes
        make = np.zeros if texts else np.empty
        rows = make((len(blocks[0]), self.width(all_sizes)), dtype=datatype)
        rows[:, : len(self.sizes)] = [all_sizes[name] for name in self.sizes]
        for place, block in zip(self.places(all_sizes), blocks, strict=True):
            if place.tensor.datatype != TEXT:
                rows[:, place.start : place.stop] = block
        if texts:
            start = self.width({**sizes, TEXT_SIZE: 0})
            for row, part in zip(rows, parts, strict=True):
                row[len(self.sizes) - 1] = len(part)
                row[start : start + len(part)] = np.frombuffer(part, np.uint8)
        return rows

    def unpack(self, rows: np.ndarray, sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Return the values of each tensor, (rows, *shape): views of ``rows`` for numbers, Python strings for texts.
        All rows have ``sizes``, except the size of texts. Raises UnicodeDecodeError for bytes that are no text."""
        layout = self._table_layout if self.is_table else self._layout(sizes)
        count, begin = len(rows), 0
        lists = self._texts(rows, layout) if self.has_texts else []
        texts = iter(layout.texts)
        blocks: list[np.ndarray] = []
        for at in layout.places:
            if at.tensor.datatype != TEXT:
                blocks.append(rows[:, at.start : at.stop].reshape(count, *at.shape))
                continue
            end = begin + next(texts)
            blocks.append(
                object_array([text for row_texts in lists for text in row_texts[begin:end]], (count, *at.shape))
            )
            begin = end
        return blocks

    def _texts(self, rows: np.ndarray, layout: _Layout) -> list[list[str | None]]:
        """Return the texts of each of ``rows``."""
        begin, count = layout.texts_begin, sum(layout.texts)
        widths = rows[:, len(self.sizes) - 1].astype(np.int64).tolist()
        return [decoded(rows[nth, begin : begin + width], count) for nth, width in enumerate(widths)]

    def _layout(self, sizes: Mapping[str, int]) -> _Layout:
        places = self.places(sizes)
        texts = [prod(at.shape) for at in places if at.tensor.datatype == TEXT]
        return _Layout(places, self.width({**sizes, TEXT_SIZE: 0}), texts)

    @cached_property
    def _table_layout(self) -> _Layout:
        return self._layout({})

    def width(self, sizes: Mapping[str, int]) -> int:
        """Return how many columns a row of these sizes has."""
        numbers = (tensor for tensor in self.tensors if tensor.datatype != TEXT)
        texts = sizes.get(TEXT_SIZE, 0) if self.has_texts else 0
        return len(self.sizes) + sum(prod(shape_in(tensor.shape, sizes)) for tensor in numbers) + texts

    def groups(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, dict[str, int]]]:
        """Yield each combination of sizes in ``rows``, after the numbers of the rows that have it. Rows whose texts
        differ in length are one group, with the largest size of texts."""
        columns = rows[:, : len(self.sizes)]
        apart = columns[:, :-1] if self.has_texts else columns
        if len(rows) == 1 or not apart.shape[1] or (apart == apart[0]).all():
            yield np.arange(len(rows)), self._named(columns)
            return
        distinct, which = np.unique(apart, axis=0, return_inverse=True)
        for nth in range(len(distinct)):
            own = np.flatnonzero(which.reshape(-1) == nth)
            yield own, self._named(columns[own])

    def widths(self, rows: np.ndarray) -> np.ndarray:
        """Return how many columns each of ``rows`` has before its zeros, (rows,), int64."""
        widths = np.zeros(len(rows), dtype=np.int64)
        for which, sizes in self.groups(rows):
            widths[which] = self.width({**sizes, TEXT_SIZE: 0})
            if self.has_texts:
                widths[which] += rows[which, len(self.sizes) - 1].astype(np.int64)
        return widths

    def _named(self, columns: np.ndarray) -> dict[str, int]:
        values = columns[0] if not self.has_texts else columns.max(axis=0)
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
