"""From a Treelite model to an open forest, as the backend does it from a model's file, and on to predictions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from tests.backends.forest.random_forests import Recipe, random_ensemble, random_rows, rows_for_gtil
from tests.backends.forest.random_models import numbered_model

from servefit.backends.forest._kernel import Forest, instruction_sets
from servefit.backends.forest.ensemble import read_ensemble
from servefit.backends.forest.file_format import map_forest
from servefit.backends.forest.finish import read_finish
from servefit.backends.forest.layout import write_forest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 1100
BATCHES = (1, 2, 3, 7, 8, 17, 63, 64, 65, 130, ROWS)
"""Few rows, whole blocks, and blocks with rests of either way."""
WAYS = tuple((name, threads) for name in instruction_sets() for threads in (1, 3))


def compiled(
    trees: Any,
    file: Path,
    *,
    column: int | None = None,
    offset: float | None = None,
    truncated: bool = False,
    wide: bool = False,
) -> dict[str, Any]:
    """Write the forest of ``trees`` to ``file``; gives the facts about its layout."""
    ensemble = read_ensemble(trees, column=column, wide_values=wide)
    finish = read_finish(trees, column=column, outlier_offset=offset)
    return dict(write_forest(file, ensemble, finish, truncated_categories=truncated))


@contextmanager
def opened(file: Path, *, threads: int = 1, instructions: str | None = None) -> Iterator[Forest]:
    forest = Forest(map_forest(file), threads=threads, instructions=instructions)
    try:
        yield forest
    finally:
        forest.close()


def predictions(forest: Forest, rows: np.ndarray, outputs: int) -> np.ndarray:
    """(n, outputs)"""
    # What is not written stays visible.
    out = np.full((len(rows), outputs), np.float32(-12345.678))
    forest.predict(rows, out)
    return out


def predictions_of_every_way(file: Path, rows: np.ndarray, outputs: int) -> Iterator[tuple[str, np.ndarray]]:
    """For every instruction set, with and without threads, and all batches that ``rows`` are enough for: what it is,
    and the predictions (batch, outputs) of the first rows."""
    for name, threads in WAYS:
        with opened(file, threads=threads, instructions=name) as forest:
            for batch in (size for size in BATCHES if size <= len(rows)):
                what = f"{batch} rows, {name}, {threads} threads"
                yield what, predictions(forest, rows[:batch], outputs)


def assert_same_leaves(recipe: Recipe, file: Path, count: int = ROWS) -> None:
    """Rows end in the leaves of GTIL, in every tree of the recipe's ensemble, in every way."""
    import treelite

    ensemble = random_ensemble(recipe)
    model = numbered_model(ensemble.trees, features=recipe.features, dtype=recipe.dtype, counted=recipe.counted)
    rows = random_rows(ensemble, count)
    expected = treelite.gtil.predict(model, rows_for_gtil(ensemble, rows), nthread=1).reshape(count, recipe.trees)
    compiled(model, file, truncated=recipe.truncated_categories, wide=recipe.wide)
    for what, found in predictions_of_every_way(file, rows, recipe.trees):
        np.testing.assert_array_equal(found, expected[: len(found)], err_msg=what)
