"""Forests of random models predict what GTIL, Treelite's own reference, predicts for the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.backends.forest.compiling import ROWS, assert_same_leaves, compiled, predictions_of_every_way
from tests.backends.forest.random_forests import Recipe, random_ensemble, random_rows, recipes, rows_for_gtil
from tests.backends.forest.random_models import Form, forms, random_model
from tests.example_counts import examples

if TYPE_CHECKING:
    from pathlib import Path

few_examples = settings(
    deadline=None,
    derandomize=True,
    max_examples=examples(10, drawn=40),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def check_predictions(recipe: Recipe, form: Form, column: int | None, file: Path) -> None:
    import treelite

    ensemble = random_ensemble(recipe)
    model = random_model(ensemble, form)
    rows = random_rows(ensemble, ROWS)
    expected = treelite.gtil.predict(model, rows_for_gtil(ensemble, rows), nthread=1).reshape(ROWS, -1)
    if form.leaf_shape != (form.targets, form.classes) or not form.postprocessor.startswith("identity"):
        column = None  # every output is computed
    elif column is not None:
        column %= expected.shape[1]
        expected = expected[:, [column]]
    compiled(model, file, column=column, truncated=recipe.truncated_categories, wide=recipe.wide)
    for what, found in predictions_of_every_way(file, rows, expected.shape[1]):
        assert_close(found, expected[: len(found)], form, what)


def assert_close(found: np.ndarray, expected: np.ndarray, form: Form, what: str) -> None:
    if form.exact and not form.averaged and form.postprocessor in {"identity", "identity_multiclass", "hinge"}:
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    # GTIL's float32 margins of up to 40 are off by some 1e-5, and so relatively is what is an exponential of them.
    linear = form.postprocessor in {"identity", "identity_multiclass", "signed_square"}
    atol = {"signed_square": 1e-3}.get(form.postprocessor, 5e-5 if linear else 1e-35)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=atol, err_msg=what)


@pytest.mark.integration
@few_examples
@given(recipe=recipes())
def test_a_row_ends_in_the_same_leaf_of_every_tree(recipe: Recipe, tmp_path: Path) -> None:
    assert_same_leaves(recipe, tmp_path / "model.forest", ROWS)


@pytest.mark.integration
@few_examples
@given(recipe=recipes(), form=forms(), column=st.none() | st.integers(0, 30))
def test_predictions_are_the_same(recipe: Recipe, form: Form, column: int | None, tmp_path: Path) -> None:
    check_predictions(recipe, form, column, tmp_path / "model.forest")
