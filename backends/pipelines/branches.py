"""Steps one after the other, and side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from servefit.backends.pipelines.values import (
    MixedTable,
    Numbers,
    PipelineStep,
    Sparse,
    Value,
    count_of,
    dense,
    parts_of,
    texts_of,
)


@dataclass(frozen=True)
class Chain:
    """Steps one after the other."""

    steps: tuple[PipelineStep, ...]

    def __call__(self, value: Value) -> Value:
        for step in self.steps:
            value = step(value)
        return value


@dataclass(frozen=True)
class Weighted:
    """Multiplies all numbers by ``weight``, and leaves those sparse that are."""

    weight: float

    def __call__(self, value: Value) -> Value:
        parts = parts_of(value.numbers if isinstance(value, MixedTable) else value)
        results: list[np.ndarray | Sparse] = [
            replace(
                part, values=np.full(len(part.rows), self.weight) if part.values is None else part.values * self.weight
            )
            if isinstance(part, Sparse)
            else part * self.weight
            for part in parts
        ]
        return results[0] if len(results) == 1 else results


@dataclass(frozen=True)
class Chosen:
    """The columns of a value that a branch takes: of its numbers, by a slice where they are neighbours, and of its
    texts. None takes all."""

    numbers: slice | np.ndarray
    texts: tuple[int, ...] = ()

    def __call__(self, value: Value) -> Value:
        numbers = dense(value)
        taken = numbers[:, self.numbers] if isinstance(self.numbers, slice) else numbers.take(self.numbers, axis=1)
        if not self.texts:
            return taken
        return MixedTable(taken, [texts_of(value)[nth] for nth in self.texts])


@dataclass(frozen=True)
class Branches:
    """Steps side by side, each for the columns that it takes; their outputs lie side by side too."""

    branches: tuple[tuple[Chosen | None, PipelineStep | None], ...]

    def __call__(self, value: Value) -> Value:
        numbers: list[np.ndarray | object] = []
        texts: list[list[bytes]] = []
        for chosen, step in self.branches:
            taken = value if chosen is None else chosen(value)
            output = taken if step is None else step(taken)
            if isinstance(output, MixedTable):
                texts += output.texts
                numbers.append(output.numbers)
            else:
                numbers += parts_of(output)
        joined: Numbers = numbers if numbers else np.empty((count_of(value), 0))  # type: ignore[assignment]
        if texts:
            return MixedTable(dense(joined), texts)
        return joined
