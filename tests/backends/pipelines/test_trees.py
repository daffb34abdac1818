"""Pipelines of scikit-learn that end in trees, of scikit-learn, XGBoost, LightGBM and CatBoost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from tests.column_pipelines import TABLE, TARGET, closed, fitted, opened, predictor
from xgboost import XGBClassifier, XGBRegressor

from servefit.backends.checking.parity import compare
from servefit.backends.compilation import compile_model
from servefit.backends.finding.capabilities import backend
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows
from servefit.backends.pipelines.compiling import compile_pipeline
from servefit.errors import CompileFailed, OutputMismatch, RowsRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUMBERS = TABLE[["age", "income", "zip"]].to_numpy(np.float64)
COLUMNS = (
    ("scaled", StandardScaler(), ["age", "income"]),
    ("encoded", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", "zip"]),
)
WORDS = ("words", TfidfVectorizer(), "note")

PIPELINES: dict[str, Callable[[], Any]] = {
    "histograms of numbers": lambda: make_pipeline(
        StandardScaler(), HistGradientBoostingClassifier(max_iter=20, random_state=0)
    ).fit(NUMBERS, TARGET),
    "a random forest": lambda: make_pipeline(
        StandardScaler(), RandomForestClassifier(20, random_state=0, max_depth=6)
    ).fit(NUMBERS, TARGET),
    "three classes": lambda: make_pipeline(StandardScaler(), RandomForestClassifier(10, random_state=0)).fit(
        NUMBERS, np.arange(len(NUMBERS)) % 3
    ),
    "outliers": lambda: make_pipeline(StandardScaler(), IsolationForest(n_estimators=20, random_state=0)).fit(NUMBERS),
    "histograms of columns": lambda: fitted(*COLUMNS, last=HistGradientBoostingClassifier(max_iter=20, random_state=0)),
    "a regression on words": lambda: fitted(*COLUMNS, WORDS, last=GradientBoostingRegressor(random_state=0)),
}


@pytest.mark.parametrize("kind", PIPELINES)
@pytest.mark.integration
def test_the_forest_predicts_what_scikit_learn_does(kind: str, tmp_path: Path) -> None:
    model = opened(PIPELINES[kind](), tmp_path)
    assert backend("forest").supports(model).available
    rows = parity_rows(model, count=300)
    expected = predictor(model, "sklearn").predict(rows)
    found = predictor(model, "forest").predict(rows)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.integration
def test_thresholds_that_lie_on_rows_decide_as_scikit_learn_does(tmp_path: Path) -> None:
    # More values than a feature has bins: then thresholds are values that occur.
    table = pd.DataFrame(np.random.default_rng(0).standard_normal((600, 3)), columns=list("abc"))
    estimator = make_pipeline(
        ColumnTransformer([("scaled", StandardScaler(), list("abc"))]),
        HistGradientBoostingClassifier(max_iter=50, random_state=0),
    ).fit(table, table.sum(axis=1) > 0)
    model = opened(estimator, tmp_path)
    rows = payload_for(model, table).rows
    rows[::7, 1] = np.nan
    expected = predictor(model, "sklearn").predict(rows)
    np.testing.assert_allclose(predictor(model, "forest").predict(rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_its_predictions_are_compared_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    opened(PIPELINES["histograms of columns"](), tmp_path)
    model = Model.load(path, trust_pickle=True)
    assert model.ends_in_trees
    compiled = compile_model(model, "forest", payload=payload_for(model, TABLE))
    assert compiled.max_abs_error < 1e-5


def test_a_category_that_the_steps_do_not_take_is_refused(tmp_path: Path) -> None:
    columns = (("encoded", OneHotEncoder(sparse_output=False), ["zip"]), WORDS)
    model = opened(fitted(*columns, last=RandomForestClassifier(5)), tmp_path)
    with pytest.raises(RowsRefused, match="9 is none of the categories of 'zip'"):
        predictor(model, "forest").predict(payload_for(model, TABLE.head(1).assign(zip=9)).rows)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.integration
def test_what_a_sparse_matrix_leaves_out_is_missing_for_xgboost_alone(kind: str, tmp_path: Path) -> None:
    """github.com/onnx/sklearn-onnx/issues/1046: converters take it for zero."""
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=kind == "sparse")
    columns = (("encoded", encoder, ["city", "zip"]), ("passed", "passthrough", ["age"]))
    catboost = CatBoostClassifier(iterations=20, verbose=0, allow_writing_files=False)
    for last in (XGBClassifier(n_estimators=20), LGBMClassifier(n_estimators=20, verbose=-1), catboost):
        check_served(fitted(*columns, last=last), tmp_path)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:invalid value encountered", "ignore:divide by zero")  # of scikit-learn
@pytest.mark.parametrize("last", [XGBClassifier(n_estimators=20), HistGradientBoostingClassifier(max_iter=20)])
def test_logarithms_of_what_has_none_are_taken_as_the_library_takes_them(last: Any, tmp_path: Path) -> None:
    """They are not a number, or infinite."""
    check_served(fitted(("logarithms", FunctionTransformer(np.log1p), ["age", "income"]), last=last), tmp_path)


@pytest.mark.integration
def test_categories_of_histogram_gradient_boosting_are_texts_or_numbers(tmp_path: Path) -> None:
    table = TABLE[["age", "income"]].assign(city=TABLE["city"].astype("category"))
    last = HistGradientBoostingClassifier(max_iter=20, categorical_features="from_dtype", random_state=0)
    check_served(last.fit(table, TARGET), tmp_path)
    ordered = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    of_codes = HistGradientBoostingRegressor(max_iter=20, categorical_features=[2], random_state=0)
    check_served(
        fitted(("passed", "passthrough", ["age", "income"]), ("ordered", ordered, ["city"]), last=of_codes), tmp_path
    )


@pytest.mark.integration
def test_a_category_that_the_last_step_does_not_take_is_not_drawn_and_is_refused(tmp_path: Path) -> None:
    ordered = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    pipeline = fitted(("ordered", ordered, ["zip"]), ("scaled", StandardScaler(), ["age"]), WORDS)
    model = opened(pipeline, tmp_path)
    assert {one.name: one.takes_unknown for one in model.signature.inputs} == {"age": True, "note": True, "zip": False}
    rows = model.signature.as_rows(parity_rows(model, count=300))
    expected = predictor(model, "sklearn").predict(rows)
    np.testing.assert_allclose(predictor(model, "pipeline").predict(rows), expected, rtol=1e-6)
    for by in ("pipeline", "sklearn"):
        with pytest.raises(RowsRefused):
            predictor(model, by).predict(payload_for(model, TABLE.head(1).assign(zip=9)).rows)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.integration
def test_numbers_that_stand_for_missing_ones_are_compared_in_float32(sparse: bool, tmp_path: Path) -> None:
    table = TABLE.assign(income=np.where(np.arange(len(TABLE)) % 3 == 0, -999.9, TABLE["income"]))
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=sparse)
    columns = [("passed", "passthrough", ["income"]), ("encoded", encoder, ["city"])]
    pipeline = make_pipeline(
        ColumnTransformer(columns, sparse_threshold=1), XGBClassifier(n_estimators=9, missing=-999.9)
    ).fit(table, np.arange(len(TABLE)) % 3 == 0)
    model = opened(pipeline, tmp_path)
    numbers = [-999.9, float(np.float32(-999.9)), -999.90000001, 1.0, 0.0]
    rows = payload_for(model, table.head(5).assign(income=numbers)[["income", "city"]]).rows
    expected = predictor(model, "sklearn").predict(rows)
    np.testing.assert_allclose(predictor(model, "forest").predict(rows), expected, rtol=1e-5)


@pytest.mark.integration
def test_a_regression_of_catboost_is_one_although_it_has_classes(tmp_path: Path) -> None:
    last = CatBoostRegressor(iterations=20, verbose=0, allow_writing_files=False)
    check_served(fitted(*COLUMNS, last=last), tmp_path)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_a_sum_near_zero_may_be_off_by_the_roundings_of_the_parts_that_it_is_the_difference_of(tmp_path: Path) -> None:
    values = 1e4 + np.where(NUMBERS[:, 0] > 50, 0, -1e4) + NUMBERS[:, 1] / 1e4
    opened(make_pipeline(StandardScaler(), XGBRegressor(n_estimators=50)).fit(NUMBERS, values), tmp_path)
    model = Model.load(tmp_path / "model.pkl", trust_pickle=True)
    compiled = compile_model(model, "forest", payload=payload_for(model, NUMBERS))
    assert compiled.max_abs_error < 1e-5 * 1e4


@pytest.mark.integration
def test_a_sampler_does_nothing_when_predicting(tmp_path: Path) -> None:
    pipeline = make_sampling_pipeline(
        ColumnTransformer(list(COLUMNS)), SMOTE(random_state=0), XGBClassifier(n_estimators=9)
    )
    check_served(pipeline.fit(TABLE, np.arange(len(TABLE)) % 5 == 0), tmp_path)


@pytest.mark.integration
def test_hashed_words_that_cancel_each_other_are_zeros_for_xgboost_and_not_missing(tmp_path: Path) -> None:
    pipeline = make_pipeline(HashingVectorizer(n_features=2, norm=None), XGBClassifier(n_estimators=9))
    model = opened(pipeline.fit(TABLE["note"], TARGET), tmp_path)
    with pytest.raises(CompileFailed, match="hashed terms that cancel each other are not missing for XGBoost"):
        predictor(model, "forest")


@pytest.mark.integration
def test_hashed_words_are_left_to_the_library_where_another_joins_xgboost(tmp_path: Path) -> None:
    joined = OneVsRestClassifier(XGBClassifier(n_estimators=9))
    pipeline = make_pipeline(HashingVectorizer(n_features=2, norm=None), joined)
    model = opened(pipeline.fit(TABLE["note"], TARGET), tmp_path)
    with pytest.raises(CompileFailed, match="hashed terms that cancel each other are not missing for XGBoost"):
        predictor(model, "pipeline")


@pytest.mark.integration
def test_a_number_that_rounds_to_zero_is_not_missing_behind_a_sparse_step(tmp_path: Path) -> None:
    table = pd.DataFrame({"city": ["a", "b"] * 200, "amount": np.arange(400) % 7.0})
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough", sparse_threshold=1)
    pipeline = make_pipeline(columns, XGBClassifier(n_estimators=9)).fit(table, table["amount"] == 0)
    model = opened(pipeline, tmp_path)
    tiny = table.head(4).assign(amount=[0.0, 1e-300, 5e-324, 1.0])
    rows = payload_for(model, tiny).rows
    np.testing.assert_allclose(predictor(model, "forest").predict(rows), pipeline.predict_proba(tiny)[:, 1], rtol=1e-6)


@pytest.mark.parametrize("loss", ["poisson", "gamma"])
def test_an_exponential_of_a_sum_is_compared_relatively_at_the_end_of_a_pipeline_and_alone(
    loss: str, tmp_path: Path
) -> None:
    amounts = TABLE[["age", "income"]].to_numpy()
    last = HistGradientBoostingRegressor(loss=loss, max_iter=5)
    pipeline = opened(make_pipeline(StandardScaler(), last).fit(amounts, TARGET + 0.1), tmp_path)
    assert (pipeline.ends_in_trees, pipeline.ends_in_sum) == (True, False)
    (tmp_path / "alone").mkdir()
    alone = opened(last, tmp_path / "alone")
    for model in (pipeline, alone):
        with pytest.raises(OutputMismatch):
            compare(model, "forest", np.array([1e3, 1e-4]), np.array([1e3, 1.01e-4]), np.full(2, "rows"))


def check_served(estimator: Any, folder: Path) -> None:
    """Every row is as its own library predicts it, by the forest."""
    model = opened(estimator, folder)
    assert backend("forest").supports(model).available
    rows = model.signature.as_rows(parity_rows(model, count=300, seed=2))
    expected = predictor(model, "sklearn").predict(rows)
    found = predictor(model, "forest").predict(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.integration
def test_trees_that_are_not_predicted_alike_are_a_compilation_that_failed(tmp_path: Path) -> None:
    model = opened(fitted(*COLUMNS, last=AdaBoostRegressor(n_estimators=5)), tmp_path)
    with pytest.raises(CompileFailed, match="AdaBoostRegressor"):
        compile_pipeline(replace(model, ends_in_trees=True), tmp_path, "forest")


@pytest.mark.integration
def test_trees_behind_steps_are_not_served_in_float32(tmp_path: Path) -> None:
    places = (45 + np.random.default_rng(0).random((600, 3)) / 100).round(7)
    forest = RandomForestRegressor(10, random_state=0)
    model = opened(make_pipeline(PCA(2), forest).fit(places, places @ [1, 1, -2]), tmp_path)
    with pytest.raises(CompileFailed):
        predictor(model, "onnxruntime")
    rows = parity_rows(model, count=300)
    expected = predictor(model, "sklearn").predict(rows)
    np.testing.assert_allclose(predictor(model, "forest").predict(rows), expected, rtol=1e-5)


def test_a_pipeline_without_trees_is_none_of_its_models(tmp_path: Path) -> None:
    model = opened(closed(), tmp_path)
    assert not model.ends_in_trees
    assert not backend("forest").supports(model).available
    of_numbers = make_pipeline(StandardScaler(), LogisticRegression()).fit(NUMBERS, TARGET)
    assert not opened(of_numbers, tmp_path).ends_in_trees
