"""Models of scikit-learn that skops saved: opened without consent, if their types are known to be safe."""

from __future__ import annotations

import io as memory
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.compose import make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from skops import io
from tests.column_pipelines import TABLE, fitted

from servefit.backends.checking.reference import reference
from servefit.backends.inspection import inspect, skops
from servefit.backends.model import Format, Model
from servefit.backends.payload.reading import payload_for
from servefit.errors import CorruptModel, ModelError, UnsupportedModel

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
TARGET = (ROWS[:, 0] > 0).astype(int)


def saved(estimator: Any, folder: Path) -> Path:
    path = folder / "model.skops"
    io.dump(estimator.fit(ROWS, TARGET), path)
    return path


@pytest.mark.integration
@pytest.mark.parametrize(
    "estimator", [make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(5, random_state=0)]
)
@pytest.mark.usefixtures("in_this_process")
def test_it_is_opened_without_consent_and_predicts_the_same(estimator: Any, tmp_path: Path) -> None:
    model = Model.load(saved(estimator, tmp_path))
    assert model.format is Format.PICKLE
    np.testing.assert_allclose(reference(model)(ROWS), estimator.predict_proba(ROWS)[:, 1], rtol=1e-6)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_so_are_pipelines_of_columns(tmp_path: Path) -> None:
    imputed = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler(), SelectKBest(k=1))
    estimator = fitted(
        ("numbers", numbers, make_column_selector(dtype_include="number")),
        ("encoded", imputed, ["city"]),
        ("words", TfidfVectorizer(), "note"),
    )
    path = tmp_path / "model.skops"
    io.dump(estimator, path)
    model = Model.load(path)
    found = reference(model)(payload_for(model, TABLE).rows)
    np.testing.assert_allclose(found, estimator.predict_proba(TABLE)[:, 1], rtol=1e-5)


def own(rows: np.ndarray) -> np.ndarray:
    return rows * 2


def test_types_that_are_not_known_are_named_and_not_run(tmp_path: Path) -> None:
    path = saved(make_pipeline(FunctionTransformer(own), LogisticRegression()), tmp_path)
    with pytest.raises(UnsupportedModel, match=r"types that are not known to be safe: .*own") as refused:
        inspect(path, Format.SKOPS, tmp_path)
    assert "--trust-pickle" in str(refused.value.remedy)


def test_without_skops_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(LogisticRegression(), tmp_path)
    monkeypatch.setattr(skops, "find_spec", lambda _: None)
    with pytest.raises(UnsupportedModel, match="saved by skops, which is not installed"):
        inspect(path, Format.SKOPS, tmp_path)


def test_a_file_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skops, "_MAX_UNPACKED_BYTES", 10)
    with pytest.raises(CorruptModel, match="it unpacks to"):
        inspect(saved(LogisticRegression(), tmp_path), Format.SKOPS, tmp_path)


@pytest.mark.parametrize("schema", [b"", b"{}", b"[1]", b"{" * 5000, b"\xff"])
def test_a_damaged_schema_is_refused(schema: bytes, tmp_path: Path) -> None:
    content = memory.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("schema.json", schema)
    path = tmp_path / "model.skops"
    path.write_bytes(content.getvalue())
    with pytest.raises(ModelError):
        inspect(path, Format.SKOPS, tmp_path)
