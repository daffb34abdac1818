"""Live objects load as if they had been saved by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from servefit.backends.model import Format, Library, Model
from servefit.backends.model.live import library_of, save_live
from servefit.errors import UnsupportedModel


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_a_live_booster_is_kept_in_the_state_folder(booster: Any, rows: np.ndarray, home: Any) -> None:
    import xgboost

    model = Model.load(booster)
    assert model.source == "a live Booster"
    assert model.file.is_relative_to(home)
    kept = xgboost.Booster(model_file=model.file)
    np.testing.assert_array_equal(kept.inplace_predict(rows), booster.inplace_predict(rows))


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_a_live_scikit_learn_estimator_needs_no_trust(rows: np.ndarray, labels: np.ndarray) -> None:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression().fit(rows, labels)
    model = Model.load(fitted)
    assert model.format is Format.PICKLE
    assert model.reference == "sklearn"
    restored = pickle.loads(model.file.read_bytes())
    np.testing.assert_array_equal(restored.predict_proba(rows), fitted.predict_proba(rows))


def test_wrappers_belong_to_their_own_library(rows: np.ndarray, labels: np.ndarray) -> None:
    import lightgbm
    import xgboost
    from sklearn.pipeline import make_pipeline

    assert library_of(xgboost.XGBRanker()) is Library.XGBOOST
    assert library_of(lightgbm.LGBMClassifier()) is Library.LIGHTGBM
    assert library_of(make_pipeline(xgboost.XGBClassifier())) is Library.SKLEARN
    assert library_of({}) is None


def test_lightgbm_is_saved_up_to_its_best_iteration(rows: np.ndarray, labels: np.ndarray) -> None:
    import lightgbm

    fixed = {"objective": "binary", "num_leaves": 4, "verbose": -1, "num_threads": 1}
    trained = lightgbm.train(fixed, lightgbm.Dataset(rows, labels), 3)
    trained.best_iteration = 2
    saved = save_live(trained)
    assert saved.content.count(b"\nTree=") == 2
    assert "first 2 of its 3 iterations" in saved.warnings[0]


def test_a_missing_value_of_its_own_is_a_warning(rows: np.ndarray, labels: np.ndarray) -> None:
    import xgboost

    saved = save_live(xgboost.XGBClassifier(n_estimators=1, missing=-1.0, n_jobs=1).fit(rows, labels))
    assert "missing=-1.0" in saved.warnings[0]


def test_what_has_not_been_fitted_is_refused() -> None:
    import lightgbm
    import xgboost

    for estimator in (xgboost.XGBClassifier(), lightgbm.LGBMRegressor()):
        with pytest.raises(UnsupportedModel, match="has not been fitted"):
            Model.load(estimator)


def test_what_does_not_pickle_is_refused() -> None:
    from sklearn.preprocessing import FunctionTransformer

    with pytest.raises(UnsupportedModel, match="does not pickle"):
        Model.load(FunctionTransformer(lambda values: values))


def test_an_object_of_no_library_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="an object of type int"):
        Model.load(3)


@pytest.mark.integration
def test_loading_a_file_imports_no_model_library_here(xgboost_json: Any) -> None:
    code = (
        "import sys; from servefit.backends.model import Model; Model.load(sys.argv[1]); "
        "print(sorted({'xgboost', 'lightgbm', 'sklearn', 'onnx', 'onnxruntime', 'treelite'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code, str(xgboost_json)], capture_output=True, text=True)
    assert (finished.stdout, finished.stderr) == ("[]\n", "")
