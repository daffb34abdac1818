"""Estimators of scikit-learn without trees, served by ONNX Runtime."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC, OneClassSVM

from servefit.backends.checking.reference import reference
from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.converting import sklearn_datatypes, sklearn_onnx
from servefit.backends.finding.capabilities import backend
from servefit.backends.inspection import inspect
from servefit.backends.libraries.onnx_native import NativePredictor
from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model import Format, Model, Task
from servefit.backends.types import Settings, Target
from servefit.errors import CompileFailed, RowsRefused

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = np.random.default_rng(0)
ROWS = GENERATOR.standard_normal((300, 8)).round(1)
TWO = (ROWS[:, :3].sum(axis=1) + GENERATOR.standard_normal(300) > 0).astype(int)
THREE = np.digitize(ROWS[:, 0], [-0.5, 0.5])

ESTIMATORS: dict[str, Callable[[], Any]] = {
    "probabilities of two classes": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, TWO),
    "probabilities of three classes": lambda: make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, THREE),
    "a network": lambda: make_pipeline(
        StandardScaler(), MLPClassifier(hidden_layer_sizes=(16,), max_iter=20, random_state=0)
    ).fit(ROWS, TWO),
    "several steps": lambda: make_pipeline(SimpleImputer(), PCA(4), LogisticRegression()).fit(ROWS, TWO),
    "a regression": lambda: make_pipeline(MinMaxScaler(), Ridge()).fit(ROWS, ROWS[:, 0] * 3),
    "several targets": lambda: Ridge().fit(ROWS, ROWS[:, :2]),
    "classes without probabilities": lambda: make_pipeline(StandardScaler(), SVC()).fit(ROWS, TWO),
    "three of them": lambda: LinearSVC().fit(ROWS, THREE),
    "scores of outliers": lambda: OneClassSVM().fit(ROWS),
}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "state"))


def opened(estimator: Any, folder: Path) -> Model:
    """The model that an estimator is, as the inspection's child process finds it, and without one."""
    path = folder / "model.pkl"
    path.write_bytes(pickle.dumps(estimator))
    found = inspect(path, Format.PICKLE, folder)
    return Model(source=str(path), file=path, format=Format.PICKLE, digest="", size_bytes=1, signature=found.signature)


def predictions(model: Model, folder: Path, rows: np.ndarray = ROWS) -> tuple[np.ndarray, np.ndarray]:
    """What scikit-learn says, and what ONNX Runtime does."""
    facts = sklearn_datatypes.convert(model, folder, "onnxruntime")
    session = open_session(folder / "model.onnx", Target.CPU, Settings())
    return reference(model)(rows), NativePredictor(session, facts).predict(rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_what_scikit_learn_predicts_is_predicted(kind: str, tmp_path: Path) -> None:
    expected, found = predictions(opened(ESTIMATORS[kind](), tmp_path), tmp_path)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_missing_values_are_imputed_as_scikit_learn_does(tmp_path: Path) -> None:
    model = opened(ESTIMATORS["several steps"](), tmp_path)
    assert model.signature.accepts_missing
    rows = ROWS[:4].copy()
    rows[np.arange(4), np.arange(4)] = np.nan
    expected, found = predictions(model, tmp_path, rows)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_that_a_step_in_float32_cannot_compute_are_refused_and_not_answered_without_a_number(
    tmp_path: Path,
) -> None:
    """PowerTransformer is written in float32, and raises numbers to a power."""
    skewed = np.exp(ROWS[:, :2])
    model = opened(make_pipeline(PowerTransformer(), Ridge()).fit(skewed, skewed[:, 0]), tmp_path)
    expected = reference(model)(np.array([[-1e30, 1.0]]))
    assert np.isfinite(expected).all()
    assert np.abs(expected) > np.finfo(np.float32).max
    facts = sklearn_datatypes.convert(model, tmp_path, "onnxruntime")
    predictor = NativePredictor(open_session(tmp_path / "model.onnx", Target.CPU, Settings()), facts)
    with pytest.raises(RowsRefused) as raised:
        predictor.predict(np.array([[1.0, 1.0], [-1e30, 1.0]]))
    assert raised.value.status == 400
    assert "a number is beyond what the ONNX model of this estimator computes in" in raised.value.told
    np.testing.assert_allclose(predictor.predict(skewed), reference(model)(skewed), rtol=1e-4, atol=1e-4)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_the_artifact_is_compared_with_scikit_learn_and_served(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(ESTIMATORS["probabilities of two classes"]()))
    model = Model.load(path, trust_pickle=True)
    artifact = compile_model(model, "onnxruntime").artifact
    found = load_predictor(artifact, Settings()).predict(ROWS)
    np.testing.assert_allclose(found, reference(model)(ROWS), atol=1e-6)


def test_what_skl2onnx_does_not_know_is_a_compilation_that_failed(tmp_path: Path) -> None:
    model = opened(EllipticEnvelope().fit(ROWS), tmp_path)
    assert model.signature.task is Task.OUTLIER
    with pytest.raises(CompileFailed, match="skl2onnx does not convert it: Unable to find a shape calculator"):
        sklearn_datatypes.convert(model, tmp_path, "onnxruntime")


def test_without_skl2onnx_the_remedy_is_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened(ESTIMATORS["a regression"](), tmp_path)
    monkeypatch.setattr(sklearn_onnx, "find_spec", lambda _: None)
    found = backend("onnxruntime").supports(model)
    assert not found.available
    assert found.reason == "skl2onnx, which converts it, is not installed"
    assert found.remedy == "pip install 'servefit[sklearn]'"
