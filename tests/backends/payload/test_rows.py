"""Rows drawn from models: edge cases for verification, and plausible rows for measuring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from servefit.backends.model import Format, Input, Model, Signature, Task, TreeStructure
from servefit.backends.model.keeping import name_by_content
from servefit.backends.model.packing import join
from servefit.backends.model.types import Size
from servefit.backends.payload.rows import nudged_rows, parity_rows, synthetic_rows

THRESHOLDS = np.array([-1.5, 0.1, 2.5])  # 0.1 is no float32
CATEGORIES = np.array([2, 5, 7])


@pytest.fixture
def forest(tmp_path: Path) -> Model:
    """A model of four features: 0 splits on THRESHOLDS, 1 on CATEGORIES, 2 on one threshold, 3 on nothing."""
    np.savez(
        tmp_path / "splits.npz",
        split_features=np.array([0, 0, 0, 2]),
        split_thresholds=np.append(THRESHOLDS, 1e300),
        category_features=np.array([1, 1, 1]),
        categories=CATEGORIES,
    )
    return Model(
        source="model",
        file=tmp_path / "model.json",
        format=Format.XGBOOST_JSON,
        digest="",
        size_bytes=0,
        signature=Signature(task=Task.BINARY, features=4, outputs=1),
        trees=TreeStructure(trees=1, nodes=9, max_depth=4, objective="binary:logistic", booster="gbtree"),
        splits=tmp_path / name_by_content(tmp_path / "splits.npz"),
    )


def network(integer_features: tuple[int, ...] = ()) -> Model:
    return Model(
        source="model",
        file=Path("model.onnx"),
        format=Format.ONNX,
        digest="",
        size_bytes=0,
        signature=Signature(
            task=Task.TENSOR, features=3, outputs=1, accepts_missing=False, integer_features=integer_features
        ),
    )


@pytest.mark.parametrize("draw", [parity_rows, synthetic_rows])
@pytest.mark.parametrize("count", [0, 1, 7, 500])
def test_rows_have_the_asked_shape_and_the_same_seed_gives_the_same(draw: object, count: int, forest: Model) -> None:
    assert callable(draw)
    for model in (forest, network()):
        rows = draw(model, count=count, seed=3)
        assert rows.shape == (count, model.signature.features)
        assert rows.dtype == (np.float64 if draw is parity_rows else np.float32), "hard rows are as a user has them"
        assert rows.flags.c_contiguous
        assert not np.isinf(rows).any()
        np.testing.assert_array_equal(rows, draw(model, count=count, seed=3))
        assert count < 7 or not np.array_equal(rows, draw(model, count=count, seed=4), equal_nan=True)


def test_parity_rows_lie_on_thresholds_and_on_both_neighbours_in_float32_and_float64(forest: Model) -> None:
    column = set(parity_rows(forest)[:, 0].tolist())
    for threshold in (*THRESHOLDS, *THRESHOLDS.astype(np.float32)):
        for direction in (-np.inf, np.inf):
            assert float(np.nextafter(threshold, threshold.dtype.type(direction))) in column
        assert float(threshold) in column


def test_parity_rows_hold_decimals_and_plausible_float64_rows_few_digits(forest: Model) -> None:
    for model in (forest, network()):
        column = parity_rows(model)[:, 0]
        decimals = column[(np.round(column, 1) == column) & (np.round(column) != column)]
        assert len(decimals) > 20
        assert (decimals.astype(np.float32) != decimals).any()
    of_float64 = replace(forest, signature=replace(forest.signature, table_datatype="float64"))
    rows = synthetic_rows(of_float64, 500)
    assert rows.dtype == np.float64
    assert all(len(f"{value:.8g}") >= len(repr(value)) for value in rows[:, 3].tolist())
    assert (rows[:, 3].astype(np.float32) != rows[:, 3]).any()


def test_parity_rows_hold_zeros_of_both_signs_extremes_and_denormals(forest: Model) -> None:
    rows = parity_rows(forest)
    zeros = rows == 0
    assert (np.signbit(rows) & zeros).any()
    assert (~np.signbit(rows) & zeros).any()
    assert np.nanmax(rows) > 1e38
    assert np.nanmin(rows) < -1e38
    smallest_normal = np.finfo(np.float32).smallest_normal
    assert ((np.abs(rows) < smallest_normal) & ~zeros).any()
    assert (rows == 0).all(axis=1).any()


def test_missing_values_are_drawn_only_for_models_that_take_them(forest: Model) -> None:
    rows = parity_rows(forest)
    assert np.isnan(rows).all(axis=1).any()
    partly = np.isnan(rows).any(axis=1) & ~np.isnan(rows).all(axis=1)
    assert partly.sum() > 20
    assert not np.isnan(parity_rows(network())).any()


def test_parity_rows_hold_unknown_negative_and_fractional_categories(forest: Model) -> None:
    column = parity_rows(forest)[:, 1]
    column = column[~np.isnan(column)]
    assert np.isin(CATEGORIES, column).all()
    assert (column > CATEGORIES.max()).any()
    assert (column < 0).any()
    assert (column != np.floor(column)).any()


def test_synthetic_rows_fall_between_thresholds_and_on_known_categories(forest: Model) -> None:
    rows = synthetic_rows(forest, 2000)
    gaps = np.bincount(np.searchsorted(THRESHOLDS, rows[:, 0]), minlength=4)
    assert gaps.min() > 400  # a quarter each of 2000
    assert set(rows[:, 1].tolist()) == set(CATEGORIES.tolist())
    assert abs(rows[:, 3].mean()) < 0.1
    assert abs(rows[:, 3].std() - 1) < 0.1


def test_a_model_without_trees_gets_several_scales_and_no_extremes() -> None:
    magnitudes = np.abs(parity_rows(network()))
    assert magnitudes.max() < 1e5
    assert magnitudes.max() > 10
    assert (magnitudes == 0).any()


def test_integer_inputs_get_whole_numbers_that_every_vocabulary_has() -> None:
    model = network(integer_features=(1,))
    for rows in (parity_rows(model), synthetic_rows(model, 100)):
        assert set(rows[:, 1].tolist()) == {0.0, 1.0}


def test_nudged_rows_are_off_by_a_rounding_and_whole_numbers_are_not() -> None:
    model = network(integer_features=(1,))
    rows = parity_rows(model, count=64)
    nudged = nudged_rows(model, rows)
    floats = np.setdiff1d(np.arange(rows.shape[1]), [1])
    np.testing.assert_array_equal(nudged[:, 1], rows[:, 1])
    off = np.abs(nudged[:, floats].astype(np.float64) - rows[:, floats])
    usual = np.abs(rows[:, floats]).mean(axis=0)
    assert (off <= 2.5 * np.finfo(np.float32).eps * np.maximum(np.abs(rows[:, floats]), usual)).all()
    assert (off[np.abs(rows[:, floats]) < usual / 100] > 0).all()
    np.testing.assert_array_equal(nudged_rows(model, rows), nudged)


def test_codes_are_not_nudged_and_whole_inputs_are_found_whatever_their_sizes() -> None:
    codes = np.array([[1.0, 0.5], [3.0, 0.25]], dtype=np.float32)
    nudged = nudged_rows(network(), codes)
    np.testing.assert_array_equal(nudged[:, 0], codes[:, 0])
    assert (nudged[:, 1] != codes[:, 1]).all()
    inputs = (
        Input(name="ids", datatype="int32", shape=("s",), start=0, stop=0),
        Input(name="x", datatype="float32", shape=("s",), start=0, stop=0),
    )
    signature = Signature(task=Task.TENSOR, features=0, outputs=1, inputs=inputs, sizes=(Size(name="s", usual=2),))
    model = replace(network(), signature=signature.of_sizes({}))
    long = model.signature.packing.pack([np.array([[10, 11, 12, 13]]), np.full((1, 4), 0.3)], {"s": 4}, "float64")
    short = model.signature.packing.pack([np.array([[7]]), np.full((1, 1), 0.7)], {"s": 1}, "float64")
    moved = nudged_rows(model, join([long, short]))
    assert moved[0, :5].tolist() == [4, 10, 11, 12, 13]
    assert moved[1, :2].tolist() == [1, 7]
    assert (moved[0, 5:] != 0.3).all()
