"""The values at which estimators change their predictions are found where they are known, by column of a request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.multioutput import RegressorChain
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PowerTransformer,
    QuantileTransformer,
    StandardScaler,
)
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBRegressor

from servefit.backends.inspection.marks import as_splits, marks_of

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.normal(50, 20, (400, 3)).round(1)
VALUES = ROWS[:, 0] + 3 * (ROWS[:, 1] > 55)


def thresholds(tree: DecisionTreeRegressor, column: int) -> np.ndarray:
    tests = tree.tree_.feature == column
    return np.unique(tree.tree_.threshold[tests])


def test_thresholds_of_trees_are_marks() -> None:
    tree = DecisionTreeRegressor(max_depth=4).fit(ROWS, VALUES)
    marks = marks_of(tree, 3)
    for column, values in marks.items():
        np.testing.assert_array_equal(values, thresholds(tree, column))
    assert len(marks[0]) > 5


@pytest.mark.parametrize("step", [SimpleImputer(missing_values=-999.9), XGBRegressor(missing=-999.9, n_estimators=2)])
def test_a_number_that_stands_for_missing_ones_is_a_mark(step: Any) -> None:
    marks = marks_of(make_pipeline(SimpleImputer(), step).fit(ROWS, VALUES), 3)
    assert {-999.9, float(np.float32(-999.9))} <= set(marks[1].tolist())


@pytest.mark.parametrize(
    "steps",
    [
        (StandardScaler(),),
        (SimpleImputer(), MinMaxScaler()),
        (PowerTransformer(),),
        (QuantileTransformer(n_quantiles=50),),
        (StandardScaler(), MinMaxScaler()),
    ],
    ids=lambda steps: " ".join(type(step).__name__ for step in steps),
)
def test_thresholds_behind_scalers_are_told_as_values_of_requests(steps: tuple[object, ...]) -> None:
    pipeline = make_pipeline(*steps, DecisionTreeRegressor(max_depth=3, random_state=0)).fit(ROWS, VALUES)
    marks = marks_of(pipeline, 3)
    rows = np.tile(np.median(ROWS, axis=0), (len(marks[0]), 1))
    rows[:, 0] = marks[0]
    scaled = pipeline[:-1].transform(rows)[:, 0]
    for threshold in thresholds(pipeline[-1], 0):
        assert np.abs(scaled - threshold).min() < 1e-6 * max(1, abs(threshold))


@pytest.mark.integration
def test_a_test_of_what_is_missing_behind_a_scaler_has_no_mark() -> None:
    rows = ROWS.copy()
    rows[::3, 0] = np.nan
    trees = HistGradientBoostingRegressor(max_iter=3).fit(rows, np.isnan(rows[:, 0]))
    nodes = np.concatenate([tree.nodes for [tree] in trees._predictors])
    assert np.isinf(nodes["num_threshold"]).any()
    for scaler in (StandardScaler(), MinMaxScaler(), QuantileTransformer(n_quantiles=20)):
        marks = marks_of(make_pipeline(scaler, trees).fit(rows, np.isnan(rows[:, 0])), 3)
        assert sorted(marks) == [0, 1, 2]
        assert all(np.isfinite(values).all() for values in marks.values())


def test_scalers_tell_what_is_usual() -> None:
    for scaler in (StandardScaler(), PowerTransformer(), QuantileTransformer(n_quantiles=20)):
        marks = marks_of(make_pipeline(scaler, Ridge()).fit(ROWS, VALUES), 3)
        assert sorted(marks) == [0, 1, 2]
        assert abs(np.median(marks[1]) - 50) < 10
        assert 0 < np.ptp(marks[1]) < 200


@pytest.mark.parametrize("kind", [PCA(2), KNeighborsRegressor(), SVR()], ids=lambda kind: type(kind).__name__)
def test_marks_lie_where_the_rows_of_the_training_do(kind: object) -> None:
    dates = 1.7e9 + ROWS * 1e4
    last = () if hasattr(kind, "predict") else (Ridge(),)
    marks = marks_of(make_pipeline(kind, *last).fit(dates, VALUES), 3)
    assert sorted(marks) == [0, 1, 2]
    for column, values in marks.items():
        assert abs(np.median(values) - np.median(dates[:, column])) < np.ptp(dates[:, column])
        assert 0 < np.ptp(values) < 3 * np.ptp(dates[:, column])


def test_edges_of_bins_and_limits_are_marks() -> None:
    bins = KBinsDiscretizer(5).fit(ROWS)
    np.testing.assert_array_equal(marks_of(bins, 3)[2], bins.bin_edges_[2])
    assert marks_of(make_pipeline(Binarizer(threshold=50), Ridge()).fit(ROWS, VALUES), 3)[1].tolist() == [50]


@pytest.mark.integration
def test_the_columns_of_a_table_are_told_apart_by_those_that_take_them() -> None:
    table = pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(city=np.where(VALUES > 50, "Rome", "Oslo"))
    chosen = ColumnTransformer(
        [
            ("encoded", OneHotEncoder(), ["city"]),
            ("scaled", make_pipeline(SimpleImputer(), StandardScaler()), ["c", "a"]),
        ]
    )
    pipeline = make_pipeline(chosen, HistGradientBoostingRegressor(max_iter=5)).fit(table, VALUES)
    marks = marks_of(pipeline, 4)
    assert set(marks) == {0, 2}, "nothing takes b, and a city is no number"
    low, high = ROWS[:, 0].min(), ROWS[:, 0].max()
    assert ((marks[0] > low - 60) & (marks[0] < high + 60)).all()
    nodes = np.concatenate([tree.nodes for [tree] in pipeline[-1]._predictors])
    nodes = nodes[(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == 3)]
    scaler = pipeline[0].named_transformers_["scaled"][-1]
    taken_back = nodes["num_threshold"] * scaler.scale_[1] + scaler.mean_[1]
    for value in taken_back:
        assert np.abs(marks[0] - value).min() < 1e-9


def test_columns_that_are_left_out_shift_the_others() -> None:
    pipeline = make_pipeline(SelectKBest(f_regression, k=1), DecisionTreeRegressor(max_depth=3)).fit(ROWS, VALUES)
    assert set(marks_of(pipeline, 3)) == {0}


def test_ensembles_of_estimators_have_the_marks_of_all() -> None:
    both = VotingRegressor([("line", Ridge()), ("trees", RandomForestRegressor(3, max_depth=2))]).fit(ROWS, VALUES)
    wanted = {value for tree in both.estimators_[1].estimators_ for value in thresholds(tree, 0)}
    assert wanted <= set(marks_of(both, 3)[0].tolist())


def test_pipelines_of_an_ensemble_are_taken_whole() -> None:
    bag = BaggingRegressor(make_pipeline(StandardScaler(), DecisionTreeRegressor(max_depth=3)), 3, random_state=0)
    bag.fit(ROWS, VALUES)
    marks = marks_of(bag, 3)
    for pipeline in bag.estimators_:
        scaler = pipeline[0]
        for value in thresholds(pipeline[-1], 0) * scaler.scale_[0] + scaler.mean_[0]:
            assert np.abs(marks[0] - value).min() < 1e-9


def test_a_link_of_a_chain_that_takes_predictions_too_has_no_marks() -> None:
    chain = RegressorChain(make_pipeline(StandardScaler(), Ridge())).fit(ROWS, ROWS[:, :2])
    assert sorted(marks_of(chain, 3)) == [0, 1, 2]


def test_what_is_not_known_has_no_marks() -> None:
    assert marks_of(Ridge().fit(ROWS, VALUES), 3) == {}
    logged = make_pipeline(FunctionTransformer(np.abs), DecisionTreeRegressor()).fit(ROWS, VALUES)
    assert marks_of(logged, 3) == {}, "nobody knows what a function of the user takes for a threshold"


def test_a_forest_of_many_thresholds_keeps_some_of_each_column() -> None:
    marks = marks_of(RandomForestRegressor(20).fit(ROWS, GENERATOR.normal(size=400)), 3)
    assert all(100 < len(values) <= 256 for values in marks.values())
    kept = as_splits(marks)
    assert kept.split_features.tolist() == [column for column in sorted(marks) for _ in marks[column]]
