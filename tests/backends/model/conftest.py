"""Small models of every library, trained once."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)


@pytest.fixture(scope="session")
def labels(rows: np.ndarray) -> np.ndarray:
    positive: np.ndarray = rows[:, 0] + rows[:, 1] > 0
    return positive.astype(int)


@pytest.fixture(scope="session")
def booster(rows: np.ndarray, labels: np.ndarray) -> Any:
    import xgboost

    parameters = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    return xgboost.train(parameters, xgboost.DMatrix(rows, labels), 4)


@pytest.fixture(scope="session")
def xgboost_json(booster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xgboost") / "model.json"
    booster.save_model(path)
    return path


@pytest.fixture(scope="session")
def xgboost_ubjson(booster: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("xgboost") / "model.ubj"
    booster.save_model(path)
    return path


@pytest.fixture(scope="session")
def lightgbm_text(rows: np.ndarray, labels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import lightgbm

    path = tmp_path_factory.mktemp("lightgbm") / "model.txt"
    parameters = {"objective": "binary", "num_leaves": 5, "verbose": -1, "num_threads": 1}
    lightgbm.train(parameters, lightgbm.Dataset(rows, labels), 3).save_model(path)
    return path


@pytest.fixture
def edited_xgboost(xgboost_json: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Make a copy of the XGBoost model whose first tree a function has changed."""

    def edit(change: Callable[[dict[str, Any]], None]) -> Path:
        document = json.loads(xgboost_json.read_text())
        change(document["learner"]["gradient_booster"]["model"]["trees"][0])
        path = tmp_path / "edited.json"
        path.write_text(json.dumps(document))
        return path

    return edit


@pytest.fixture
def write_archive() -> Callable[[Path, dict[str, bytes]], Path]:
    """Write a gzipped tar archive of members by name and content."""

    def write(path: Path, members: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w:gz") as stream:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                stream.addfile(member, io.BytesIO(content))
        return path

    return write
