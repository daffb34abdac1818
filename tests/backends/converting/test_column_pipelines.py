"""Pipelines of scikit-learn whose columns are numbers, categories and texts: found out, converted, compared, served."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from tests.column_pipelines import PIPELINES, TABLE, TARGET, closed, fitted, hashed, mixed, opened, predictor, words

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.payload.reading import payload_for
from servefit.backends.payload.rows import parity_rows, synthetic_rows, zero_rows
from servefit.backends.types import Settings
from servefit.errors import CompileFailed, PayloadMismatch, RowsRefused, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path


def texts_of(model: Model, rows: np.ndarray, name: str) -> list[str | None]:
    values = model.signature.packing.unpack(rows, {size.name: size.usual for size in model.signature.sizes})
    return next(block.tolist() for one, block in zip(model.signature.inputs, values, strict=True) if one.name == name)


@pytest.mark.integration
@pytest.mark.parametrize("kind", PIPELINES)
def test_onnx_runtime_predicts_what_scikit_learn_does_on_hard_rows(kind: str, tmp_path: Path) -> None:
    model = opened(PIPELINES[kind](), tmp_path)
    rows = parity_rows(model, count=256)
    expected = predictor(model, "sklearn").predict(rows)
    found = predictor(model, "onnxruntime").predict(rows)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_the_artifact_is_compared_with_scikit_learn(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(mixed()))
    model = Model.load(path, trust_pickle=True)
    payload = payload_for(model, TABLE)
    compiled = compile_model(model, "onnxruntime", payload=payload)
    assert compiled.rows_checked == 256 + len(TABLE)
    assert compiled.max_abs_error < 1e-5
    found = load_predictor(compiled.artifact, Settings()).predict(payload.rows)
    np.testing.assert_allclose(found, mixed().predict_proba(TABLE)[:, 1], atol=1e-6)


def test_whole_numbers_that_are_categories_are_no_fractions(tmp_path: Path) -> None:
    model = opened(mixed(), tmp_path)
    with pytest.raises(PayloadMismatch, match=r"expected a whole number in row 1, column 1 \(zip\)|zip"):
        payload_for(model, TABLE.head(1).assign(zip=1.5))


def test_large_codes_are_not_rounded(tmp_path: Path) -> None:
    table = TABLE.assign(zip=TABLE["zip"] + 2**24)
    model = opened(fitted(("encoded", OneHotEncoder(handle_unknown="ignore"), ["zip"]), table=table), tmp_path)
    rows = payload_for(model, pd.DataFrame({"zip": [2**24 + 1, 2**24 + 2, 2**24 + 3]})).rows
    expected = predictor(model, "sklearn").predict(rows)
    assert len(set(expected.tolist())) == 3
    np.testing.assert_allclose(predictor(model, "onnxruntime").predict(rows), expected, rtol=1e-5)


def test_scikit_learn_is_called_with_the_columns_of_the_table(tmp_path: Path) -> None:
    estimator = mixed()
    model = opened(estimator, tmp_path)
    rows = payload_for(model, TABLE).rows
    expected = estimator.predict_proba(TABLE)[:, 1]
    np.testing.assert_allclose(predictor(model, "sklearn").predict(rows), expected, rtol=1e-5)


def test_what_a_column_holds_is_told_by_what_it_goes_through(tmp_path: Path) -> None:
    signature = opened(mixed(), tmp_path).signature
    kinds = {one.name: (one.datatype, one.joined, one.takes_missing) for one in signature.inputs}
    assert kinds == {
        "age": ("float64", False, True),
        "income": ("float64", False, True),
        "city": ("str", False, True),
        "note": ("str", True, False),
        "zip": ("int16", False, False),
    }
    assert next(one.known for one in signature.inputs if one.name == "city") == ("Oslo", "Paris", "Rome")
    assert signature.row_text == "5 columns, 2 of text"


def test_columns_that_no_transformer_takes_are_left_out(tmp_path: Path) -> None:
    model = opened(PIPELINES["categories"](), tmp_path)
    assert [one.name for one in model.signature.inputs] == ["age", "income", "city"]
    payload = payload_for(model, TABLE)
    assert payload.unused_columns == ("note", "zip")


def test_hard_rows_hold_unknown_empty_and_missing_categories(tmp_path: Path) -> None:
    model = opened(mixed(), tmp_path)
    cities = texts_of(model, parity_rows(model, count=256), "city")
    assert None in cities
    assert "" in cities
    assert {"Paris", "Rome", "Oslo"} < set(cities)
    assert "UNKNOWN" in cities
    assert set(texts_of(model, synthetic_rows(model, 100), "city")) <= {"Paris", "Rome", "Oslo"}


def test_a_category_that_is_the_word_nan_is_no_missing_one(tmp_path: Path) -> None:
    model = opened(mixed(), tmp_path)
    table = TABLE.head(2).assign(city=["nan", None])
    rows = payload_for(model, table).rows
    expected = predictor(model, "sklearn").predict(rows)
    assert expected[0] != expected[1] or TABLE["income"][0] == TABLE["income"][1]
    np.testing.assert_allclose(predictor(model, "onnxruntime").predict(rows), expected, rtol=1e-5)


@pytest.mark.parametrize("backend", ["sklearn", "onnxruntime"])
def test_a_category_that_the_pipeline_does_not_take_is_refused(backend: str, tmp_path: Path) -> None:
    model = opened(closed(), tmp_path)
    served = predictor(model, backend)
    known = payload_for(model, TABLE.head(1).assign(note="good")).rows
    assert np.isfinite(served.predict(known)).all()
    with pytest.raises(RowsRefused, match="9"):
        served.predict(payload_for(model, TABLE.head(1).assign(note="good", zip=9)).rows)
    with pytest.raises(RowsRefused, match="dull"):
        served.predict(payload_for(model, TABLE.head(1).assign(note="dull")).rows)


def test_rows_of_zeros_have_categories_that_are_known(tmp_path: Path) -> None:
    model = opened(closed(), tmp_path)
    assert np.isfinite(predictor(model, "onnxruntime").predict(zero_rows(model.signature, 3))).all()


def test_a_pipeline_that_skl2onnx_does_not_convert_is_served_by_scikit_learn(tmp_path: Path) -> None:
    estimator = hashed()
    model = opened(estimator, tmp_path)
    with pytest.raises(CompileFailed, match="skl2onnx does not convert it"):
        predictor(model, "onnxruntime")
    found = predictor(model, "sklearn").predict(payload_for(model, TABLE["note"].tolist()).rows)
    np.testing.assert_allclose(found, estimator.predict_proba(TABLE["note"])[:, 1], rtol=1e-5)


def test_a_model_of_one_text_takes_a_list_of_them(tmp_path: Path) -> None:
    model = opened(words(), tmp_path)
    assert model.signature.row_text == "a text"
    listed = payload_for(model, TABLE["note"].tolist())
    np.testing.assert_array_equal(listed.rows, payload_for(model, {"text": TABLE["note"]}).rows)
    assert [(size.name, size.least) for size in listed.sizes] == [
        ("text bytes", TABLE["note"].str.encode("utf-8").str.len().min() + 1)
    ]


def test_columns_by_number_are_a_matrix(tmp_path: Path) -> None:
    values = TABLE[["age", "city"]].fillna("none").to_numpy()
    estimator = make_pipeline(
        ColumnTransformer(
            [("scaled", StandardScaler(), [0]), ("encoded", OneHotEncoder(handle_unknown="ignore"), [1])]
        ),
        LogisticRegression(),
    ).fit(values, TARGET)
    model = opened(estimator, tmp_path)
    assert [(one.name, one.datatype) for one in model.signature.inputs] == [("x0", "float64"), ("x1", "str")]
    found = predictor(model, "onnxruntime").predict(payload_for(model, values).rows)
    np.testing.assert_allclose(found, estimator.predict_proba(values)[:, 1], rtol=1e-5)


def test_columns_that_no_one_can_guess_are_refused_with_what_was_tried(tmp_path: Path) -> None:
    lengths = FunctionTransformer(_lengths)
    with pytest.raises(UnsupportedModel, match=r"it does not predict rows of 'note' \(numbers\)"):
        opened(fitted(("lengths", lengths, ["note"])), tmp_path)


def _lengths(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.map(lambda text: len(text.split()))
