"""Forests with more features, nodes or trees than one unit of the format holds, and forests that threads share."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.backends.forest.compiling import (
    assert_same_leaves,
    compiled,
    opened,
    predictions,
    predictions_of_every_way,
)
from tests.backends.forest.files import ForestFile
from tests.backends.forest.random_forests import (
    OPERATORS,
    ORDINARY,
    Split,
    Tree,
    random_ensemble,
    random_rows,
)
from tests.backends.forest.random_models import numbered_model, plain_form, random_model

from servefit.backends.forest.choosing import MAX_COLUMNS
from servefit.backends.forest.codes import MAX_CATEGORIES
from servefit.backends.forest.ensemble import read_ensemble

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = replace(
    ORDINARY,
    dtype="float64",
    features=30,
    tested=20,
    trees=20,
    depth=8,
    splitting=1.0,
    thresholds=12,
    categorical=0.0,
    operators=OPERATORS,
    missing=("either",),
)


def complete_tree(depth: int, features: int, generator: np.random.Generator) -> Tree:
    """A tree whose tests are on one feature after the other."""
    inner = 2**depth - 1
    thresholds = generator.standard_normal(inner).astype(np.float32)
    tree: Tree = [numerical(n % features, float(thresholds[n]), 2 * n + 1) for n in range(inner)]
    return tree + [None] * (inner + 1)


def numerical(feature: int, threshold: float, left: int) -> Split:
    return Split(
        feature=feature,
        operator="<",
        threshold=threshold,
        categories=(),
        listed_right=False,
        default_left=True,
        left=left,
        right=left + 1,
    )


def check(trees: list[Tree], features: int, rows: np.ndarray, file: Path) -> None:
    import treelite

    model = numbered_model(trees, features=features)
    expected = treelite.gtil.predict(model, rows, nthread=1).reshape(len(rows), -1)
    compiled(model, file)
    for what, found in predictions_of_every_way(file, rows, len(trees)):
        np.testing.assert_array_equal(found, expected[: len(found)], err_msg=what)


@pytest.mark.integration
@pytest.mark.parametrize("thresholds", [255, 256, 257, 2000])
def test_a_feature_has_more_thresholds_than_a_byte_has_values(thresholds: int, file: Path) -> None:
    assert_same_leaves(replace(RECIPE, features=3, tested=1, thresholds=thresholds), file)
    assert len(ForestFile.read(file).array("rank_columns")) >= 2 * (thresholds // 255)


def test_columns_of_codes_have_numbers_of_two_bytes(file: Path) -> None:
    assert_same_leaves(replace(RECIPE, features=300, tested=300), file)
    assert 256 < len(ForestFile.read(file).array("rank_columns")) <= MAX_COLUMNS


def test_heaps_are_cut_where_their_trees_test_too_many_features(file: Path) -> None:
    assert_same_leaves(replace(RECIPE, features=900, tested=900), file)
    content = ForestFile.read(file)
    assert 256 < len(content.array("rank_columns")) <= MAX_COLUMNS
    assert content.array("trees")["levels"].max() < 8
    assert not content.array("trees")["complete"].any()


def test_tests_are_on_hundreds_of_sets_of_categories(file: Path) -> None:
    recipe = replace(RECIPE, tested=4, trees=40, depth=5, categorical=1.0)
    model = numbered_model(random_ensemble(recipe).trees, features=recipe.features, dtype="float64")
    assert len(read_ensemble(model, column=None, wide_values=False).sets) > 512
    assert_same_leaves(recipe, file)
    assert len(ForestFile.read(file).array("fold_sets")) > 512


@pytest.mark.parametrize("known", [MAX_CATEGORIES, MAX_CATEGORIES + 1])
def test_trees_are_folded_as_long_as_a_byte_tells_their_categories_apart(known: int, file: Path) -> None:
    test = replace(numerical(0, 0.0, 1), operator=None, categories=tuple(range(0, 2 * known, 2)))
    rows = np.array([*range(-1, 2 * known + 2), np.nan], dtype=np.float32)[:, np.newaxis]
    check([[test, None, None], [numerical(0, 7.0, 1), None, None]], 1, rows, file)
    assert len(ForestFile.read(file).array("fold_sets")) == (1 if known == MAX_CATEGORIES else 0)


@pytest.mark.integration
@pytest.mark.parametrize("categorical", [0.0, 0.5])
def test_rows_have_65000_features(categorical: float, file: Path) -> None:
    assert_same_leaves(replace(RECIPE, features=65_000, tested=300, depth=6, categorical=categorical), file, count=130)


@pytest.mark.thorough
@pytest.mark.integration
def test_more_features_are_tested_than_a_small_node_can_name(file: Path) -> None:
    features = 33_000
    splits = iter(range(features))
    trees: list[Tree] = []
    for _ in range(features // 255 + 1):
        tree = complete_tree(8, 1, np.random.default_rng(1))
        for node in tree:
            if node is not None:
                node.feature = next(splits, 0)
        trees.append(tree)
    check(trees, features, np.random.default_rng(2).standard_normal((65, features), dtype=np.float32), file)
    assert ForestFile.read(file).header["wide_nodes"]


@pytest.mark.integration
@pytest.mark.parametrize("wide", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_step_of_65536_nodes_needs_large_nodes(wide: bool, file: Path) -> None:
    generator = np.random.default_rng(3)
    tree = complete_tree(16, 20, generator)
    if wide:  # the first leaf becomes a test, whose children lie behind all other leaves
        tree[2**16 - 1] = numerical(5, 0.25, len(tree))
        tree += [None, None]
    rows = generator.standard_normal((1100, 20), dtype=np.float32)
    rows[::9] = -9  # on the way to the first leaf
    rows[::18, 5] = 0.25
    check([tree, complete_tree(3, 20, generator)], 20, rows, file)
    assert bool(ForestFile.read(file).header["wide_nodes"]) == wide


@pytest.mark.integration
def test_threads_share_the_trees_of_a_big_forest(file: Path) -> None:
    import treelite

    ensemble = random_ensemble(replace(RECIPE, trees=80, depth=4, features=8, tested=8))
    model = numbered_model(ensemble.trees, features=8, dtype="float64")
    rows = random_rows(ensemble, 130)
    expected = treelite.gtil.predict(model, rows, nthread=1).reshape(130, 80) * 125
    facts = compiled(treelite.Model.concatenate([model] * 125), file)
    assert facts["trees"] == 10_000
    for what, found in predictions_of_every_way(file, rows, 80):
        np.testing.assert_array_equal(found, expected[: len(found)], err_msg=what)


@pytest.mark.thorough
@pytest.mark.integration
def test_threads_that_help_or_do_not_change_nothing_about_a_prediction(file: Path) -> None:
    """They help with small calls that follow each other closely, and are not woken for others."""
    ensemble = random_ensemble(replace(RECIPE, trees=1500, dtype="float32"))
    compiled(random_model(ensemble, replace(plain_form(), exact=False)), file)
    rows = random_rows(ensemble, 30)
    with opened(file, threads=3) as forest:
        for count in (1, 3, 30):
            batches = [rows[begin : begin + count] for begin in range(0, 30, count)]
            closely = [predictions(forest, batch, 1) for _ in range(3) for batch in batches][-len(batches) :]
            for batch, expected in zip(batches, closely, strict=True):
                time.sleep(0.001)
                np.testing.assert_array_equal(predictions(forest, batch, 1), expected)
