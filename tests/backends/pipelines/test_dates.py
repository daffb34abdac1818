"""Columns of dates: texts in the form of ISO 8601 in a row, pandas' dates for the step of the user's that takes them
apart. The other steps are computed here."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tests.backends.pipelines.test_steps import served
from tests.column_pipelines import opened, predictor
from xgboost import XGBClassifier

from servefit.backends.model.dates import as_dates, drawn_dates
from servefit.backends.payload.reading import payload_for
from servefit.errors import PayloadMismatch, RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servefit.backends.model import Model

pytestmark = pytest.mark.integration

ROWS = 300
DATES = ["signed_up", "last_seen"]
GENERATOR = np.random.default_rng(0)


def _table() -> pd.DataFrame:
    table = pd.DataFrame({name: pd.to_datetime(drawn_dates(ROWS, GENERATOR), format="ISO8601") for name in DATES})
    return table.assign(plan=GENERATOR.choice(["a", "b"], ROWS), spent=GENERATOR.standard_normal(ROWS))


TABLE = _table()
TARGET = (TABLE["signed_up"].dt.month + TABLE["spent"] > 6).astype(int)


def parts(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {f"{name} {part}": getattr(frame[name].dt, part) for name in frame for part in ("year", "month", "hour")}
    )


def days_between(frame: pd.DataFrame) -> pd.DataFrame:
    return (pd.to_datetime(frame["last_seen"]) - pd.to_datetime(frame["signed_up"])).dt.days.to_frame()


def hours_between(frame: pd.DataFrame) -> pd.DataFrame:
    return ((frame["last_seen"] - frame["signed_up"]).dt.total_seconds() / 3600.1).to_frame()


def weekday(series: pd.Series[Any]) -> pd.DataFrame:
    return series.dt.day.to_frame()


def days_of_units(frame: pd.DataFrame) -> pd.DataFrame:
    """What it gives of dates depends on whether pandas counts nanoseconds or microseconds."""
    return frame.astype("int64") // 86_400_000


def months_if_spent(frame: pd.DataFrame) -> pd.DataFrame:
    return (frame["signed_up"].dt.month * (frame["spent"] > 0)).to_frame()


def years_of_one(frame: pd.DataFrame) -> pd.DataFrame:
    return frame["signed_up"].dt.year.to_frame()


def hours_of_seconds(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.to_datetime(frame["spent"], unit="s").dt.day.to_frame()


def ranks_of_years(series: pd.Series[Any]) -> np.ndarray:
    return np.array([[YEARS[date.year]] for date in series])


YEARS = {year: year % 7 for year in range(1985, 2045)}


class OnlyNumbers(Exception):
    """Raised by a function of the user's."""


def doubled_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    if not all(dtype.kind == "f" for dtype in frame.dtypes):
        raise OnlyNumbers
    return frame * 2


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame * 2


class PartsOfDates(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A transformer of the user's own."""

    def fit(self, _frame: pd.DataFrame, _target: Any = None) -> PartsOfDates:
        self.fitted_ = True
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        return np.column_stack([frame[name].dt.quarter for name in frame])


def pipeline(*of_dates: tuple[str, Any, Any], last: Any = None) -> Any:
    columns = [("plan", OneHotEncoder(), ["plan"]), ("spent", StandardScaler(), ["spent"]), *of_dates]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression() if last is None else last).fit(TABLE, TARGET)


PIPELINES: dict[str, Callable[[], Any]] = {
    "parts by a function": lambda: pipeline(
        ("dates", make_pipeline(FunctionTransformer(parts), StandardScaler()), DATES)
    ),
    "the days between": lambda: pipeline(
        ("days", make_pipeline(FunctionTransformer(days_between), StandardScaler()), DATES)
    ),
    "the hours between": lambda: pipeline(
        ("hours", make_pipeline(FunctionTransformer(hours_between), StandardScaler()), DATES)
    ),
    "one column by itself": lambda: pipeline(("day", FunctionTransformer(weekday), "signed_up")),
    "an own transformer before boosting": lambda: pipeline(
        ("quarters", PartsOfDates(), DATES), last=XGBClassifier(n_estimators=5, n_jobs=1)
    ),
    "parts of which some are missing": lambda: pipeline(
        ("dates", make_pipeline(FunctionTransformer(parts), SimpleImputer(), StandardScaler()), ["last_seen"])
    ),
}


def as_texts(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: [value.isoformat() for value in table[name]] for name in DATES})


@pytest.mark.parametrize("kind", PIPELINES)
def test_a_pipeline_of_dates_answers_as_scikit_learn(kind: str, tmp_path: Path) -> None:
    estimator = PIPELINES[kind]()
    model = opened(estimator, tmp_path)
    dates = {one.name for one in model.signature.inputs if one.is_date}
    assert dates == {"signed_up" if kind == "one column by itself" else "last_seen", *dates} <= set(DATES)
    expected = estimator.predict_proba(TABLE)[:, 1]
    for table in (TABLE, as_texts(TABLE)):
        rows = payload_for(model, table).rows
        for backend in ("sklearn", "pipeline"):
            np.testing.assert_allclose(predictor(model, backend).predict(rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", PIPELINES)
def test_the_step_of_dates_is_named_and_all_others_are_computed_here(kind: str, tmp_path: Path) -> None:
    facts, expected, found = served(PIPELINES[kind](), tmp_path)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(facts["in_library"]) == 1
    assert "FunctionTransformer" in facts["in_library"][0] or "PartsOfDates" in facts["in_library"][0]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return opened(PIPELINES["the days between"](), tmp_path_factory.mktemp("model"))


ROW = {"signed_up": "2024-02-28", "last_seen": "2024-03-01T12:00:00", "plan": "a", "spent": 0.5}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2024-02-28", "2024-03-01"),
        ("2024-02-28T00:00:00", "2024-03-01 12:30"),
        (date(2024, 2, 28), datetime(2024, 3, 1, 23, 59)),
        (pd.Timestamp("2024-02-28"), "20240301"),
        (np.datetime64("2024-02-28", "D"), np.datetime64("2024-03-01T12:00", "ns")),
    ],
)
def test_dates_are_taken_in_the_forms_of_iso_8601(first: Any, second: Any, model: Model) -> None:
    wanted = predictor(model, "sklearn").predict(payload_for(model, [ROW]).rows)
    rows = payload_for(model, [{**ROW, "signed_up": first, "last_seen": second}]).rows
    np.testing.assert_allclose(predictor(model, "pipeline").predict(rows), wanted, rtol=1e-5)


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_dates_are_read_from_files(form: str, model: Model, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    if form == "csv":
        TABLE.to_csv(path, index=False)
    elif form == "parquet":
        TABLE.to_parquet(path)
    else:
        path.write_text(json.dumps(as_texts(TABLE).to_dict("records")))
    np.testing.assert_array_equal(
        predictor(model, "sklearn").predict(payload_for(model, path).rows),
        predictor(model, "sklearn").predict(payload_for(model, TABLE).rows),
    )


@pytest.mark.parametrize("text", ["31.12.2024", "now", "NaT", "", "2024-13-01", "2024-01-01T00:00:00+01:00"])
@pytest.mark.parametrize("backend", ["sklearn", "pipeline"])
def test_a_text_that_is_no_date_is_refused_with_what_is_expected(text: str, backend: str, model: Model) -> None:
    rows = payload_for(model, [{**ROW, "signed_up": text}]).rows
    with pytest.raises(RowsRefused, match=r"expected a date such as 2026-12-31 .* in 'signed_up'"):
        predictor(model, backend).predict(rows)


@pytest.mark.parametrize("backend", ["sklearn", "pipeline"])
def test_what_a_function_of_the_users_does_not_take_is_refused(backend: str, tmp_path: Path) -> None:
    model = opened(pipeline(("rank", FunctionTransformer(ranks_of_years), "signed_up")), tmp_path)
    rows = payload_for(model, [{**ROW, "signed_up": "1815-06-18"}]).rows
    with pytest.raises(RowsRefused):
        predictor(model, backend).predict(rows)


def test_a_number_is_no_date(model: Model) -> None:
    with pytest.raises(PayloadMismatch, match="expected a text in row 1 of 'signed_up', got 5"):
        payload_for(model, [{**ROW, "signed_up": 5}])


def test_a_missing_date_is_taken_where_the_steps_take_one(tmp_path: Path) -> None:
    estimator = PIPELINES["parts of which some are missing"]()
    model = opened(estimator, tmp_path)
    [last_seen] = [one for one in model.signature.inputs if one.name == "last_seen"]
    assert last_seen.takes_missing
    table = TABLE.iloc[:4].assign(last_seen=[pd.NaT, *TABLE["last_seen"][1:4]])
    rows = payload_for(model, table).rows
    for backend in ("sklearn", "pipeline"):
        found = predictor(model, backend).predict(rows)
        np.testing.assert_allclose(found, estimator.predict_proba(table)[:, 1], rtol=1e-5)


@pytest.mark.parametrize("function", [doubled, doubled_numbers, hours_of_seconds, days_of_units, pd.DataFrame.isna])
def test_columns_of_numbers_stay_numbers_behind_a_function(function: Any, tmp_path: Path) -> None:
    table = TABLE.assign(spent=1e9 + TABLE["signed_up"].dt.day)
    columns = ColumnTransformer(
        [("plan", OneHotEncoder(), ["plan"]), ("own", FunctionTransformer(function), ["spent"])]
    )
    estimator = make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(table, TARGET)
    model = opened(estimator, tmp_path)
    assert not any(one.is_date for one in model.signature.inputs)
    found = predictor(model, "pipeline").predict(payload_for(model, table).rows)
    np.testing.assert_allclose(found, estimator.predict_proba(table)[:, 1], rtol=1e-5)


@pytest.mark.parametrize("function", [months_if_spent, years_of_one])
def test_a_function_of_dates_that_may_be_served_wrongly_is_refused(function: Any, tmp_path: Path) -> None:
    columns = [*DATES, "spent"] if function is months_if_spent else DATES
    estimator = pipeline(("own", make_pipeline(FunctionTransformer(function), StandardScaler()), columns))
    with pytest.raises(UnsupportedModel, match="does not predict rows of"):
        opened(estimator, tmp_path)


def test_dates_go_several_ways(tmp_path: Path) -> None:
    ways = FeatureUnion(
        [("parts", make_pipeline(make_pipeline(FunctionTransformer(parts)))), ("quarters", PartsOfDates())]
    )
    estimator = pipeline(("dates", make_pipeline(ways, StandardScaler()), DATES))
    model = opened(estimator, tmp_path)
    found = predictor(model, "pipeline").predict(payload_for(model, TABLE).rows)
    np.testing.assert_allclose(found, estimator.predict_proba(TABLE)[:, 1], rtol=1e-5)


def test_dates_that_are_drawn_are_read_again() -> None:
    texts = drawn_dates(50, np.random.default_rng(0))
    assert [str(one) for one in as_dates(texts, "at").strftime("%Y-%m-%d")] == [text[:10] for text in texts]
    assert {len(text) for text in texts} == {10, 19}
