"""Numbers at the ends of what float32 holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.backends.forest.compiling import compiled, opened, predictions
from tests.backends.forest.random_forests import Split, Tree, add_trees
from tests.backends.forest.random_models import model_builder, numbered_model, plain_form

from servefit.backends.forest.ensemble import read_ensemble
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from pathlib import Path


def test_leaves_that_float32_does_not_hold_are_refused_by_name() -> None:
    form = replace(plain_form(), exact=False)
    builder = model_builder(dtype="float64", features=1, form=form, target_ids=[0], class_ids=[0], base_scores=[0.0])
    add_trees(builder, [[None]], lambda _number, _place: 1e300, counted="")
    with pytest.raises(CompileFailed, match="leaves that are too large for float32"):
        read_ensemble(builder.commit(), column=None, wide_values=False)


@pytest.mark.parametrize(("truncated", "leaf"), [(True, 2.0), (False, 3.0)])
def test_categories_above_2_to_the_24_are_known_to_all_but_xgboost(truncated: bool, leaf: float, file: Path) -> None:
    test = Split(
        feature=0,
        operator=None,
        threshold=0.0,
        categories=(2**24 + 2,),
        listed_right=False,
        default_left=True,
        left=1,
        right=2,
    )
    trees: list[Tree] = [[test, None, None]]
    compiled(numbered_model(trees, features=1, dtype="float64"), file, truncated=truncated)
    with opened(file) as forest:
        rows = np.array([[2.0**24 + 2], [2.0**24 + 4], [np.nan]], dtype=np.float32)
        assert predictions(forest, rows, 1).ravel().tolist() == [leaf, 3.0, 2.0]
