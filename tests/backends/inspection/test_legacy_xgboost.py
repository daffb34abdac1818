"""Models in XGBoost's retired binary format, against what XGBoost 1.7.6, which wrote them, predicted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from servefit.backends.inspection import inspect
from servefit.backends.inspection import xgboost_legacy as legacy
from servefit.backends.model import Format, Model
from servefit.errors import UnsupportedModel

FOLDER = Path(__file__).parents[2] / "fixtures" / "legacy_xgboost"


def predictions(path: Path) -> np.ndarray:
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=path)
    predicted: np.ndarray = booster.predict(xgboost.DMatrix(np.load(FOLDER / "rows.npy")))
    return predicted


@pytest.mark.parametrize(
    "name", ["binary", "multiclass", "labels", "regression", "poisson", "dart", "forest", "early_stopped"]
)
def test_an_upgraded_model_predicts_what_its_own_version_predicted(name: str, tmp_path: Path) -> None:
    found = inspect(FOLDER / f"{name}.model", Format.XGBOOST_BINARY, tmp_path)
    assert found.format is Format.XGBOOST_UBJSON
    assert found.file_name is not None
    np.testing.assert_allclose(predictions(tmp_path / found.file_name), np.load(FOLDER / f"{name}.npy"), rtol=1e-6)


def test_the_best_iteration_of_a_legacy_forest_is_kept(tmp_path: Path) -> None:
    found = inspect(FOLDER / "early_stopped.model", Format.XGBOOST_BINARY, tmp_path)
    assert found.trees is not None
    assert found.trees.trees == 2
    assert any("iterations are served" in warning for warning in found.warnings)


@pytest.mark.integration
@pytest.mark.usefixtures("in_this_process")
def test_a_legacy_model_loads_through_the_front_door() -> None:
    model = Model.load(FOLDER / "binary.model")
    assert model.format is Format.XGBOOST_UBJSON
    assert "retired binary format" in model.warnings[0]
    np.testing.assert_allclose(predictions(model.file), np.load(FOLDER / "binary.npy"), rtol=1e-6)


def test_a_legacy_linear_booster_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=r"linear booster.*XGBoost 3\.0 or older"):
        inspect(FOLDER / "linear.model", Format.XGBOOST_BINARY, tmp_path)


def test_an_upgrade_that_changes_predictions_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy, "_base_score", lambda old: 0.25)
    with pytest.raises(UnsupportedModel, match="would change predictions"):
        inspect(FOLDER / "binary.model", Format.XGBOOST_BINARY, tmp_path)
