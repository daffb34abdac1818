"""XGBoost and LightGBM on columns of pandas' dtype category: served by the names of the categories, without pandas."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from tests.column_pipelines import opened, predictor
from xgboost import XGBClassifier, XGBRegressor

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.finding.registry import imported
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.types import Settings, Target
from servefit.errors import RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("in_this_process")]

ROWS = 400
CITIES = ("Rome", "Oslo", "Bern", "New York")


def _table() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"age": draw.normal(40, 15, ROWS).round(1), "city": draw.choice(CITIES, ROWS)})
    table["income"], table["grade"] = draw.normal(0, 1e4, ROWS), draw.choice([7, 3, 12], ROWS)
    table.loc[::9, "city"], table.loc[::11, "age"] = None, np.nan
    return table


TABLE = _table()
CATEGORIES = TABLE.assign(city=pd.Categorical(TABLE["city"], CITIES), grade=pd.Categorical(TABLE["grade"], [7, 3, 12]))
TARGET = ((TABLE["age"] > 40) ^ (TABLE["city"] == "Rome")).astype(int) + (TABLE["grade"] == 12)

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "XGBoost, three classes": lambda: XGBClassifier(n_estimators=10, enable_categorical=True).fit(CATEGORIES, TARGET),
    "XGBoost, two classes": lambda: XGBClassifier(n_estimators=10, enable_categorical=True).fit(CATEGORIES, TARGET > 1),
    "XGBoost, dart": lambda: XGBRegressor(n_estimators=10, enable_categorical=True, booster="dart").fit(
        CATEGORIES, TARGET
    ),
    "LightGBM, two classes": lambda: LGBMClassifier(n_estimators=10, verbose=-1).fit(CATEGORIES, TARGET > 1),
    "LightGBM, a number": lambda: LGBMRegressor(n_estimators=10, verbose=-1).fit(CATEGORIES, TARGET),
}


def expected(estimator: Any) -> np.ndarray:
    """What its own library predicts of the table."""
    if not hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict(CATEGORIES))
    probabilities = np.asarray(estimator.predict_proba(CATEGORIES))
    return probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_forest_takes_the_names_of_categories(kind: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS[kind]()
    model = opened(estimator, tmp_path)
    assert model.ends_in_trees
    [city] = [one for one in model.signature.inputs if one.name == "city"]
    assert set(city.known) == set(CITIES)
    rows = payload_for(model, TABLE).rows
    for name in ("forest", "sklearn"):
        np.testing.assert_allclose(predictor(model, name).predict(rows), expected(estimator), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["file", "booster", "live", "live LightGBM"])
def test_files_and_objects_are_opened_alike(form: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS["LightGBM, two classes" if "LightGBM" in form else "XGBoost, two classes"]()
    source: Any = estimator
    if form == "file":
        source = tmp_path / "model.ubj"
        estimator.save_model(source)
    elif form == "booster":
        source = tmp_path / "booster.pkl"
        source.write_bytes(pickle.dumps(estimator.get_booster()))
    model = Model.load(source, trust_pickle=True)
    compiled = compile_model(model, "forest", payload=payload_for(model, TABLE))
    predicted = load_predictor(compiled.artifact, Settings()).predict(payload_for(model, TABLE).rows)
    np.testing.assert_allclose(predicted, expected(estimator), rtol=1e-5, atol=1e-6)


def test_a_category_that_is_new_is_refused_as_xgboost_does_and_missing_for_lightgbm(tmp_path: Path) -> None:
    strange = TABLE.head(3).assign(city="Paris")
    of_xgboost = opened(ESTIMATORS["XGBoost, two classes"](), tmp_path)
    for name in ("forest", "sklearn"):
        with pytest.raises(RowsRefused, match="'Paris' is none of the categories of 'city'"):
            predictor(of_xgboost, name).predict(payload_for(of_xgboost, strange).rows)
    of_lightgbm = opened(ESTIMATORS["LightGBM, two classes"](), tmp_path)
    served = predictor(of_lightgbm, "forest")
    missing = payload_for(of_lightgbm, strange.assign(city=None)).rows
    np.testing.assert_array_equal(served.predict(payload_for(of_lightgbm, strange).rows), served.predict(missing))


def test_categories_that_xgboost_does_not_keep_whole_are_refused(tmp_path: Path) -> None:
    table = CATEGORIES.assign(city=CATEGORIES["city"].cat.rename_categories({"Rome": "Ñuñoa"}))
    booster = XGBClassifier(n_estimators=2, enable_categorical=True).fit(table, TARGET > 1)
    with pytest.raises(UnsupportedModel, match="letters beyond ASCII"):
        opened(booster, tmp_path)


def test_categories_that_are_codes_already_stay_so(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 4, (200, 2)).astype(np.float32)
    data = xgboost.DMatrix(codes, codes.sum(axis=1), feature_types=["c", "q"], enable_categorical=True)
    path = tmp_path / "codes.ubj"
    xgboost.train({"max_depth": 3}, data, 5).save_model(path)
    model = Model.load(path)
    assert model.signature.inputs == ()
    assert not model.ends_in_trees


def _with_size(**options: Any) -> tuple[Any, pd.DataFrame]:
    """A model of LightGBM on an ordered category, which it takes for a number, and a whole number."""
    draw = np.random.default_rng(1)
    sizes = pd.Categorical(draw.choice(["S", "M", "L", "XL"], ROWS), ["S", "M", "L", "XL"], ordered=True)
    table = pd.DataFrame({"size": sizes, "zip": draw.choice([7, 8, 9], ROWS), "x": draw.normal(size=ROWS)})
    target = table["size"].cat.codes + table["zip"].map({7: 5.0, 8: -3.0, 9: 2.0}) + table["x"]
    return LGBMRegressor(n_estimators=10, verbose=-1).fit(table, target, **options), table


@pytest.mark.parametrize("options", [{}, {"categorical_feature": ["zip"]}], ids=["alone", "beside told categories"])
def test_an_ordered_category_of_lightgbm_is_taken_by_name(options: dict[str, Any]) -> None:
    estimator, table = _with_size(**options)
    model = Model.load(estimator)
    assert [one.known for one in model.signature.inputs] == [("S", "M", "L", "XL"), (), ()]
    rows = payload_for(model, table).rows
    for name in ("forest", "sklearn"):
        predictions = load_predictor(compile_model(model, name).artifact, Settings()).predict(rows)
        np.testing.assert_allclose(predictions, estimator.predict(table), rtol=1e-5, atol=1e-5)


def test_categories_that_may_be_of_several_columns_are_places_and_a_warning_says_so() -> None:
    draw = np.random.default_rng(2)
    sizes = pd.Categorical(draw.choice(["S", "M", "L"], ROWS), ["S", "M", "L"], ordered=True)
    table = pd.DataFrame({"size": sizes, "children": draw.integers(0, 3, ROWS), "x": draw.normal(size=ROWS)})
    estimator = LGBMRegressor(n_estimators=10, verbose=-1).fit(table, table["size"].cat.codes + table["children"])
    model = Model.load(estimator)
    assert "rows hold the place of a category in its list" in model.warnings[0]
    rows = np.ascontiguousarray(table.assign(size=table["size"].cat.codes), dtype=np.float64)
    predictions = load_predictor(compile_model(model, "forest").artifact, Settings()).predict(rows)
    np.testing.assert_allclose(predictions, estimator.predict(table), rtol=1e-5, atol=1e-5)


def test_a_warning_names_the_columns_where_an_ordered_one_may_be_meant() -> None:
    draw = np.random.default_rng(3)
    sizes = pd.Categorical(draw.choice(["S", "M", "L"], ROWS), ["S", "M", "L"])
    table = pd.DataFrame({"children": draw.integers(0, 3, ROWS), "size": sizes, "x": draw.normal(size=ROWS)})
    estimator = LGBMRegressor(n_estimators=10, verbose=-1).fit(table, table["size"].cat.codes + table["children"])
    model = Model.load(estimator)
    assert "taken are size; if it is others" in model.warnings[0]


def test_a_category_that_lightgbm_does_not_use_is_one_all_the_same() -> None:
    table = CATEGORIES.assign(kind=pd.Categorical(["only"] * ROWS))
    estimator = LGBMRegressor(n_estimators=10, verbose=-1).fit(table, TARGET)
    model = Model.load(estimator)
    assert model.signature.inputs[-1].known == ("only",)
    assert not model.warnings
    predictions = load_predictor(compile_model(model, "forest").artifact, Settings()).predict(
        payload_for(model, table).rows
    )
    np.testing.assert_allclose(predictions, estimator.predict(table), rtol=1e-5, atol=1e-5)


def test_truths_are_categories_as_they_are_numbers() -> None:
    draw = np.random.default_rng(4)
    table = pd.DataFrame({"yes": pd.Categorical(draw.choice([False, True], ROWS)), "x": draw.normal(size=ROWS)})
    estimator = LGBMRegressor(n_estimators=10, verbose=-1).fit(table, table["yes"].cat.codes + table["x"])
    model = Model.load(estimator)
    rows = payload_for(model, table).rows
    for name in ("forest", "sklearn"):
        predictions = load_predictor(compile_model(model, name).artifact, Settings()).predict(rows)
        np.testing.assert_allclose(predictions, estimator.predict(table), rtol=1e-5, atol=1e-5)


def test_a_file_of_class_numbers_keeps_giving_them(tmp_path: Path) -> None:
    data = xgboost.DMatrix(CATEGORIES, TARGET, enable_categorical=True)
    booster = xgboost.train({"objective": "multi:softmax", "num_class": 3}, data, 5)
    booster.save_model(tmp_path / "classes.ubj")
    model = Model.load(tmp_path / "classes.ubj")
    served = load_predictor(compile_model(model, "sklearn").artifact, Settings())
    np.testing.assert_array_equal(served.predict(payload_for(model, TABLE).rows), booster.predict(data))


@pytest.mark.parametrize("kind", ["XGBoost, two classes", "LightGBM, two classes"])
def test_categories_that_are_numbers_may_be_missing(kind: str, tmp_path: Path) -> None:
    estimator = ESTIMATORS[kind]()
    model = opened(estimator, tmp_path)
    missing = CATEGORIES.assign(grade=CATEGORIES["grade"].where(np.arange(ROWS) % 3 > 0))
    rows = payload_for(model, missing).rows
    for name in ("forest", "sklearn"):
        np.testing.assert_allclose(
            predictor(model, name).predict(rows), estimator.predict_proba(missing)[:, 1], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "last",
    [
        XGBClassifier(n_estimators=10, enable_categorical=True),
        LGBMClassifier(n_estimators=10, verbose=-1),
        HistGradientBoostingClassifier(max_iter=10),
        CatBoostClassifier(iterations=10, verbose=0, cat_features=["remainder__city"], allow_writing_files=False),
    ],
)
def test_categories_that_a_pipeline_passes_on_are_those_of_its_last_step(last: Any, tmp_path: Path) -> None:
    of_texts = isinstance(last, CatBoostClassifier)
    table = CATEGORIES.assign(city=CATEGORIES["city"].astype(object).fillna("none"), grade=TABLE["grade"])
    columns = ColumnTransformer([("numbers", SimpleImputer(), ["age", "income"])], remainder="passthrough").set_output(
        transform="pandas"
    )
    fitted_on = table if of_texts else CATEGORIES
    estimator = make_pipeline(columns, last).fit(fitted_on, TARGET > 1)
    model = opened(estimator, tmp_path)
    kinds = {one.name: one.is_text for one in model.signature.inputs}
    assert kinds == {"age": False, "city": True, "income": False, "grade": False}
    rows = payload_for(model, fitted_on).rows
    expected = estimator.predict_proba(fitted_on)[:, 1]
    for backend in ("sklearn", "pipeline"):
        np.testing.assert_allclose(predictor(model, backend).predict(rows), expected, rtol=1e-5, atol=1e-6)
    facts = imported("pipeline").compile(model, Target.CPU, tmp_path)
    assert facts["in_library"] == (["catboostclassifier (CatBoostClassifier)"] if of_texts else [])


def test_categories_that_are_numbers_are_passed_on_too(tmp_path: Path) -> None:
    columns = ColumnTransformer([("numbers", SimpleImputer(), ["age", "income"])], remainder="passthrough")
    last = LGBMClassifier(n_estimators=10, verbose=-1)
    table = CATEGORIES[["age", "income", "grade"]]
    estimator = make_pipeline(columns.set_output(transform="pandas"), last).fit(table, TARGET > 1)
    model = opened(estimator, tmp_path)
    rows = payload_for(model, table).rows
    for backend in ("sklearn", "pipeline"):
        found = predictor(model, backend).predict(rows)
        np.testing.assert_allclose(found, estimator.predict_proba(table)[:, 1], rtol=1e-5)
