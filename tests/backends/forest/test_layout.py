"""How numbers become keys and ranks, and trees heaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.backends.forest.compiling import compiled, opened, predictions
from tests.backends.forest.files import ForestFile
from tests.backends.forest.random_forests import Split, Tree, add_trees
from tests.backends.forest.random_models import model_builder, numbered_model, plain_form

from servefit.backends.forest.ensemble import keys_of, read_ensemble
from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOATS = st.floats(width=32, allow_nan=False)


def split(threshold: float, left: int, *, operator: str = "<=") -> Split:
    return Split(
        feature=0,
        operator=operator,
        threshold=threshold,
        categories=(),
        listed_right=False,
        default_left=True,
        left=left,
        right=left + 1,
    )


@given(arrays(np.float32, st.integers(2, 40), elements=FLOATS))
def test_keys_are_in_the_order_of_the_numbers(values: np.ndarray) -> None:
    keys = keys_of(values)
    np.testing.assert_array_equal(keys[:, np.newaxis] < keys, values[:, np.newaxis] < values)
    np.testing.assert_array_equal(keys[:, np.newaxis] == keys, values[:, np.newaxis] == values)
    assert (np.abs(keys) < 2**31 - 1).all(), "the largest and the lowest are for missing values"


def counted(thresholds: Sequence[float], values: np.ndarray, file: Path) -> np.ndarray:
    """Of how many trees, each with one test of a threshold, the values go right."""
    builder = model_builder(
        dtype="float32",
        features=1,
        form=plain_form(),
        target_ids=[0] * len(thresholds),
        class_ids=[0] * len(thresholds),
        base_scores=[0.0],
    )
    add_trees(builder, [[split(threshold, 1), None, None] for threshold in thresholds], lambda _, place: place - 1.0)
    compiled(builder.commit(), file)
    with opened(file) as forest:
        in_blocks = predictions(forest, values[:, np.newaxis], 1)[:, 0]
        alone = [predictions(forest, row.reshape(1, 1), 1).item() for row in values[:20]]
    np.testing.assert_array_equal(in_blocks[:20], alone)
    return in_blocks


@pytest.mark.thorough
@pytest.mark.integration
@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    thresholds=arrays(np.float32, st.integers(1, 600), elements=FLOATS, unique=True),
    others=st.lists(FLOATS, min_size=1),
)
def test_a_rank_is_the_number_of_thresholds_below(thresholds: np.ndarray, others: list[float], file: Path) -> None:
    values = np.concatenate([others, thresholds]).astype(np.float32)
    expected = np.searchsorted(np.sort(thresholds), values)
    np.testing.assert_array_equal(counted(thresholds.tolist(), values, file), expected)


@pytest.mark.integration
@pytest.mark.parametrize("count", [1, 15, 16, 17, 254, 255, 256, 257, 510, 511, 4096, 4097])
def test_ranks_are_right_where_levels_of_search_and_columns_of_codes_begin(count: int, file: Path) -> None:
    thresholds = np.arange(count, dtype=np.float32)
    values = np.concatenate([[-1, -np.inf, np.inf], thresholds, thresholds + np.float32(0.5)]).astype(np.float32)
    np.testing.assert_array_equal(counted(thresholds.tolist(), values, file), np.searchsorted(thresholds, values))


def test_the_exits_of_a_complete_tree_are_its_leaves_from_left_to_right(file: Path) -> None:
    tree: Tree = [split(4, 1), split(2, 3), split(6, 5), split(1, 7), split(3, 9), split(5, 11), split(7, 13)]
    compiled(numbered_model([tree + [None] * 8], features=1), file)
    content = ForestFile.read(file)
    record = content.array("trees")[0]
    assert (record["levels"], record["complete"], record["steps"], record["steps_on"]) == (3, 1, 3, 0)
    assert content.array("exits")[:8].view(np.float32).tolist() == [8, 9, 10, 11, 12, 13, 14, 15]
    assert content.array("heap_bounds")[1:8].tolist() == [3, 1, 5, 0, 2, 4, 6]
    assert not len(content.array("nodes")), "nothing walks through it"


def test_a_leaf_above_the_last_level_is_every_exit_below_it(file: Path) -> None:
    chain: Tree = [split(3, 1), split(2, 3), None, split(1, 5), None, None, None]
    compiled(numbered_model([chain], features=1), file)
    content = ForestFile.read(file)
    assert content.array("trees")["levels"].tolist() == [3]
    assert content.array("exits")[:8].view(np.float32).tolist() == [6, 7, 5, 5, 3, 3, 3, 3]


def test_greater_and_less_become_one_test_with_its_children_in_turn(file: Path) -> None:
    less: Tree = [split(3, 1, operator="<="), None, None]
    greater: Tree = [split(3, 1, operator=">"), None, None]
    compiled(numbered_model([less, greater], features=1), file)
    content = ForestFile.read(file)
    assert content.array("heap_bounds")[[1, 65]].tolist() == [0, 0]
    assert content.array("exits")[[0, 1, 32, 33]].view(np.float32).tolist() == [2, 3, 3, 2]


def test_a_deep_tree_of_few_nodes_is_folded_up(file: Path) -> None:
    deep: Tree = []
    for n in range(20):  # the left child is a leaf, the right one goes on
        deep += [split(float(n), 2 * n + 1), None]
    deep.append(None)
    model = numbered_model([deep], features=1, counted="data_count")
    counts = np.ones(len(deep), dtype=np.uint64)
    counts[-1] = 1000  # nearly all rows go all the way
    model.get_tree_accessor(0).set_field("data_count", counts)
    compiled(model, file)
    content = ForestFile.read(file)
    assert content.array("trees")["fold"].tolist() == [1]
    assert content.array("trees")["complete"].tolist() == [0]
    fold = content.array("folds")[0]
    assert (fold["singles"], fold["pairs_count"], fold["joins_count"]) == (19, 1, 19)
    leaves = content.array("exits")[fold["exits"] :][:21].view(np.float32)
    assert leaves[19:].tolist() == [40, 41], "the pair is the deepest"
    assert sorted(leaves.tolist()) == [*range(2, 41, 2), 41]


def test_a_tree_of_more_leaves_than_a_fold_takes_is_walked_through_below_its_heap(file: Path) -> None:
    deep: Tree = [split(float(n % 97), 2 * n + 1) for n in range(2**10 - 1)]
    deep += [None] * 2**10
    compiled(numbered_model([deep, [split(1, 1), None, None]], features=1), file)
    trees = ForestFile.read(file).array("trees")
    assert trees["complete"].tolist() == [1, 0]
    assert trees["fold"][1] == 0
    assert 0 < trees["levels"][1] <= 8
    assert (trees["steps"][1], trees["steps_on"][1]) == (10, 10 - trees["levels"][1])


def test_missing_values_that_go_where_zeros_go_need_no_column_of_their_own(file: Path) -> None:
    trees: list[Tree] = [[split(2, 1), None, None], [split(-2, 1), None, None]]
    columns = []
    for below_goes_left in (False, True):
        second = trees[1][0]
        assert second is not None
        second.default_left = below_goes_left  # a zero is above -2
        compiled(numbered_model(trees, features=1), file)
        content = ForestFile.read(file)
        columns.append((len(content.array("rank_columns")), content.array("rank_features")["missing_zero"].tolist()))
        with opened(file) as forest:
            for count in (1, 70):
                missing = predictions(forest, np.full((count, 1), np.nan, dtype=np.float32), 2)
                assert set(map(tuple, missing.tolist())) == {(2.0, 2.0 if below_goes_left else 3.0)}
    assert columns == [(1, [1]), (1, [0])], "both to the left need no second column either"


def test_a_test_on_equality_is_refused_by_name() -> None:
    trees: list[Tree] = [[split(1, 1), None, None], [split(2, 1, operator="=="), None, None]]
    with pytest.raises(CompileFailed, match="it has tests on equality of numbers"):
        read_ensemble(numbered_model(trees, features=1), column=None, wide_values=False)
