"""Pipelines of scikit-learn that are not as the plainest ones are: fractions and large numbers for categories, odd
names, texts that are missing in ways of their own, letters whose case is more than a letter's."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    StandardScaler,
)
from tests.column_pipelines import TABLE, TARGET, closed, fitted, mixed, opened, predictor

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows
from servefit.errors import CompileFailed, PayloadMismatch, RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

SCALED = ("scaled", StandardScaler(), ["age", "income"])


def encoded(*columns: str) -> tuple[str, Any, list[str]]:
    return "encoded", OneHotEncoder(handle_unknown="ignore"), list(columns)


def predicted(backend: str, estimator: Any, table: Any, folder: Path) -> np.ndarray:
    model = opened(estimator, folder)
    return predictor(model, backend).predict(payload_for(model, table).rows)


def agree(estimator: Any, table: Any, folder: Path, *backends: str) -> None:
    """What is served is what scikit-learn itself predicts of the user's own table."""
    expected = estimator.predict_proba(table)[:, 1]
    for backend in backends or ("sklearn", "onnxruntime"):
        np.testing.assert_allclose(predicted(backend, estimator, table, folder), expected, rtol=1e-5, atol=1e-6)


def test_categories_that_are_fractions_are_known_ones(tmp_path: Path) -> None:
    table = TABLE.assign(price=np.resize([0.1, 0.55, 1.3], len(TABLE)), kind=(TARGET + 0.3).to_numpy())
    agree(fitted(SCALED, encoded("kind", "city"), table=table), table, tmp_path, "sklearn")
    agree(fitted(encoded("kind"), table=table), table[["kind"]], tmp_path, "sklearn")
    without_names = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    agree(without_names.fit(table[["price", "kind"]], TARGET), table[["price", "kind"]], tmp_path, "sklearn")


@pytest.mark.parametrize("columns", [["code"], ["code", "city"], ["code", "zip"]])
@pytest.mark.parametrize("least", [2**24, 2**53])
def test_categories_that_are_large_whole_numbers_are_told_apart(columns: list[str], least: int, tmp_path: Path) -> None:
    table = TABLE.assign(code=TARGET + least)
    agree(fitted(encoded(*columns), table=table), table[columns], tmp_path)


def test_large_whole_numbers_that_are_the_only_categories_are_known(tmp_path: Path) -> None:
    table = TABLE[["zip"]].assign(code=TARGET + 2**53)
    agree(fitted(("encoded", OneHotEncoder(), ["code", "zip"]), table=table), table, tmp_path)


def test_a_matrix_of_large_whole_numbers_is_not_rounded(tmp_path: Path) -> None:
    matrix = np.column_stack([TARGET + 2**53, TABLE["zip"]])
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(matrix, TARGET)
    agree(estimator, matrix, tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("Monthly Income ($)", "home.dest", "größe é"),
        ("numbers", "texts", "text bytes"),
        ("label", "probabilities", "output_label"),
        ("a b", "a/b", "a_b"),
        ("1", "2", "numbers_sizes"),
    ],
)
def test_columns_may_be_called_anything(names: tuple[str, str, str], tmp_path: Path) -> None:
    table = TABLE[["age", "income", "city"]].set_axis(list(names), axis=1)
    columns = [("scaled", StandardScaler(), list(names[:2])), encoded(names[2])]
    agree(fitted(*columns, table=table), table, tmp_path)


def test_columns_by_number_are_found_beside_those_that_are_left_out(tmp_path: Path) -> None:
    columns = [("scaled", StandardScaler(), [1]), ("encoded", OneHotEncoder(handle_unknown="ignore"), [2])]
    agree(fitted(*columns), TABLE, tmp_path)
    matrix = TABLE[["note", "age", "city"]].to_numpy()
    estimator = make_pipeline(ColumnTransformer(columns), LogisticRegression()).fit(matrix, TARGET)
    expected = estimator.predict_proba(matrix)[:, 1]
    for backend in ("sklearn", "onnxruntime"):
        np.testing.assert_allclose(predicted(backend, estimator, matrix[:, 1:], tmp_path), expected, rtol=1e-5)


def test_columns_without_names_take_those_of_a_table_in_its_order(tmp_path: Path) -> None:
    table = TABLE[["age", "city"]].set_axis([0, 1], axis=1)
    columns = [("scaled", StandardScaler(), [0]), ("encoded", OneHotEncoder(handle_unknown="ignore"), [1])]
    agree(fitted(*columns, table=table), table, tmp_path)
    notes = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TABLE["note"], TARGET)
    found = predicted("onnxruntime", notes, TABLE[["note"]], tmp_path)
    np.testing.assert_allclose(found, notes.predict_proba(TABLE["note"])[:, 1], rtol=1e-5)


def test_an_imputer_may_come_first(tmp_path: Path) -> None:
    table = TABLE[["city"]].assign(grade=TABLE["note"].str.split().str[0])
    estimator = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"), LogisticRegression()
    )
    agree(estimator.fit(table, TARGET), table, tmp_path)


@pytest.mark.parametrize("missing", ["?", None])
def test_what_an_imputer_takes_for_missing_is_imputed(missing: str | None, tmp_path: Path) -> None:
    imputer = SimpleImputer(missing_values=missing, strategy="constant", fill_value="Rome")
    cities = TABLE["city"].astype(object).where(TABLE["city"].notna(), missing)
    table = TABLE.assign(city=cities)
    columns = (SCALED, ("imputed", make_pipeline(imputer, OneHotEncoder(handle_unknown="ignore")), ["city"]))
    agree(fitted(*columns, table=table), table, tmp_path)


def test_case_is_changed_as_python_does_it(tmp_path: Path) -> None:
    texts = pd.Series(["İstanbul güzel", "istanbul", "ΟΔΟΣ ΚΑΛΟΣ", "STRASSE ǅungla"] * 10)
    fitted_on = pd.Series(["stanbul güzel", "istanbul kötü", "καλος οδος", "strasse ǆungla"] * 10)
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(fitted_on, [1, 0, 1, 0] * 10)
    found = predicted("onnxruntime", estimator, texts.tolist(), tmp_path)
    np.testing.assert_allclose(found, estimator.predict_proba(texts)[:, 1], rtol=1e-5)
    assert abs(found[0] - found[1]) > 0.1


def test_texts_that_are_categories_too_keep_their_case(tmp_path: Path) -> None:
    table = TABLE.assign(note=np.where(TARGET, "École İs", "école İS"))
    columns = (encoded("note"), ("words", CountVectorizer(), "note"))
    agree(fitted(*columns, table=table), table, tmp_path, "sklearn")


def test_words_of_one_letter_are_found_where_the_pattern_takes_them(tmp_path: Path) -> None:
    table = TABLE.assign(note=TABLE["note"] + " é x")
    agree(fitted(("words", TfidfVectorizer(token_pattern=r"(?u)\b\w+\b"), "note"), table=table), table, tmp_path)


def test_vectorizers_side_by_side_take_a_list_of_texts(tmp_path: Path) -> None:
    union = make_union(TfidfVectorizer(), CountVectorizer(lowercase=False, ngram_range=(2, 2)))
    estimator = make_pipeline(union, LogisticRegression()).fit(TABLE["note"], TARGET)
    agree(estimator, TABLE["note"].tolist(), tmp_path, "sklearn")


def test_true_and_false_are_numbers(tmp_path: Path) -> None:
    table = TABLE.assign(paid=TARGET == 1)
    estimator = fitted(encoded("paid", "city"), ("as it is", "passthrough", ["paid"]), table=table)
    agree(estimator, table, tmp_path)
    path = tmp_path / "table.csv"
    table.to_csv(path, index=False)
    agree_with_file = predicted("onnxruntime", estimator, path, tmp_path)
    np.testing.assert_allclose(agree_with_file, estimator.predict_proba(table)[:, 1], rtol=1e-5)


@pytest.mark.integration
@pytest.mark.parametrize("beside", [("city",), ("zip",)])
def test_numbers_may_be_missing_where_they_are_imputed(beside: tuple[str, ...], tmp_path: Path) -> None:
    table = TABLE.assign(income=TABLE["income"].where(TABLE.index % 3 > 0))
    imputed = ("imputed", make_pipeline(SimpleImputer(), StandardScaler()), ["income"])
    columns = (imputed, ("scaled", StandardScaler(), ["age"]), encoded(*beside))
    estimator = fitted(*columns, table=table)
    agree(estimator, table[["age", "income", *beside]], tmp_path)
    model = opened(estimator, tmp_path)
    assert [one.takes_missing for one in model.signature.inputs][:2] == [False, True]
    assert np.isnan(parity_rows(model, count=32)).any()
    with pytest.raises(PayloadMismatch, match="age"):
        payload_for(model, table.head(1).assign(age=np.nan)[["age", "income", *beside]])


@pytest.mark.parametrize("beside", [[], ["city"]], ids=["numbers alone", "beside texts"])
def test_numbers_of_which_logarithms_are_taken_are_not_negative(beside: list[str], tmp_path: Path) -> None:
    logarithms = ("logarithms", make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), ["age"])
    estimator = fitted(logarithms, *(encoded(name) for name in beside))
    agree(estimator, TABLE[["age", *beside]], tmp_path, "sklearn")
    model = opened(estimator, tmp_path)
    assert np.isfinite(predictor(model, "sklearn").predict(parity_rows(model, count=256))).all()


def test_an_estimator_that_takes_numbers_of_no_sign_is_refused(tmp_path: Path) -> None:
    estimator = make_pipeline(FunctionTransformer(np.arctanh), LogisticRegression())
    estimator.fit(TABLE[["age", "zip"]] / 1000, TARGET)
    with pytest.raises(UnsupportedModel, match="a Pipeline that does not predict rows of 2 numbers: Input X contains"):
        opened(estimator, tmp_path)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_rows_that_the_reference_refuses_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))
    path = tmp_path / "closed.pkl"
    path.write_bytes(pickle.dumps(closed()))
    model = Model.load(path, trust_pickle=True)
    payload = payload_for(model, TABLE.assign(note="good", zip=[*TABLE["zip"][1:], 9]))
    with pytest.raises(
        CompileFailed, match=r"refuses rows .*: Found unknown categories \[.*9.*; leave out of the payload"
    ):
        compile_model(model, "onnxruntime", payload=payload)


def test_categories_that_are_dates_are_refused_by_name(tmp_path: Path) -> None:
    table = TABLE.assign(day=pd.Timestamp("2026-01-01") + pd.to_timedelta(TABLE["zip"], unit="D"))
    with pytest.raises(UnsupportedModel, match="categories of the column 'day' are neither texts nor numbers"):
        opened(fitted(encoded("day", "city"), table=table), tmp_path)


def test_a_search_is_what_it_found_best(tmp_path: Path) -> None:
    search = GridSearchCV(mixed(), {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(TABLE, TARGET)
    path = tmp_path / "model.pkl"
    model = opened(search, tmp_path)
    assert [one.name for one in model.signature.inputs] == ["age", "income", "city", "note", "zip"]
    assert path.exists()


class Within(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """An estimator of the user's own that asks another one."""

    def fit(self, table: Any, target: Any) -> Within:
        self.inner_ = fitted(SCALED, encoded("city"))
        self.classes_, self.n_features_in_ = np.unique(target), table.shape[1]
        return self

    def predict(self, table: Any) -> Any:
        return self.inner_.predict(table)


def test_a_pipeline_within_something_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    within = Within().fit(TABLE, TARGET)
    with pytest.raises(UnsupportedModel, match=r"a Within that does not predict .* the first of a pipe"):
        opened(within, tmp_path)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("last", [MLPClassifier((2,), max_iter=2), OneVsRestClassifier(LogisticRegression())])
def test_onnx_does_not_serve_labels_of_which_a_row_has_several(last: Any, tmp_path: Path) -> None:
    labels = np.column_stack([TARGET, TABLE["zip"] > 2]).astype(int)
    several = make_pipeline(StandardScaler(), last).fit(TABLE[["age", "income"]].to_numpy(), labels)
    with pytest.raises(CompileFailed, match="several targets"):
        predictor(opened(several, tmp_path), "onnxruntime")


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_steps_that_open_in_float32_alone_are_no_onnx_model_before_trees(tmp_path: Path) -> None:
    columns = (
        ("binned", KBinsDiscretizer(5, encode="ordinal", quantile_method="averaged_inverted_cdf"), ["income"]),
        ("spread", QuantileTransformer(n_quantiles=20), ["age"]),
        encoded("city"),
    )
    estimator = fitted(*columns, last=RandomForestClassifier(5, random_state=0))
    agree(estimator, TABLE, tmp_path, "sklearn", "forest")
    with pytest.raises(CompileFailed):
        predictor(opened(estimator, tmp_path), "onnxruntime")


@pytest.mark.integration
def test_trees_that_compare_float64_are_given_numbers_as_they_are(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"price": generator.integers(1, 10**5, 600) / 100, "city": generator.choice(["a", "b"], 600)})
    columns = [("as it is", "passthrough", ["price"]), encoded("city")]
    target = (table["price"] * 3 % 100 < 50).astype(int)
    ensemble = HistGradientBoostingClassifier(max_iter=30, random_state=0)
    steps = ColumnTransformer(columns, sparse_threshold=0)
    agree(make_pipeline(steps, ensemble).fit(table, target), table, tmp_path, "sklearn", "forest")


def test_a_model_that_does_not_open_is_a_compilation_that_failed(tmp_path: Path) -> None:
    odd = fitted(SCALED, ("words", TfidfVectorizer(token_pattern=r"(?u)\b\w{3,}\b"), "note"))
    with pytest.raises(CompileFailed, match="what skl2onnx makes of it does not open"):
        predictor(opened(odd, tmp_path), "onnxruntime")


def test_each_kind_of_hard_text_is_among_the_rows_that_are_compared(tmp_path: Path) -> None:
    model = opened(mixed(), tmp_path)
    for seed in range(20):
        values = model.signature.packing.unpack(parity_rows(model, seed=seed, count=32), {})
        cities = dict(zip([one.name for one in model.signature.inputs], values, strict=True))["city"].tolist()
        assert {"", " ", None, "UNKNOWN", "1.0", "nan", "x" * 300} <= set(cities)


def test_a_row_that_a_pipeline_of_numbers_refuses_is_refused_and_no_failure(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal((len(TABLE), 2))
    model = opened(make_pipeline(PolynomialFeatures(2), Ridge()).fit(numbers, TARGET), tmp_path)
    served = predictor(model, "sklearn")
    assert served.predict(np.ones((1, 2))).shape == (1,)
    with np.errstate(over="ignore"), pytest.raises(RowsRefused, match="Input X contains infinity"):
        served.predict(np.full((1, 2), 1e200))
