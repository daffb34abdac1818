"""A small XGBoost model, opened once, and backends of another package."""

from __future__ import annotations

import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.in_this_process import call_all_here
from tests.installed_packages import write_package

from servefit.backends.model import Model
from servefit.backends.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def home(session_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that tests share, so that the same file is opened once."""
    monkeypatch.setenv("SERVEFIT_HOME", str(session_home))
    return session_home


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty state folder for one test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("SERVEFIT_HOME", str(folder))
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are opened and compiled here, and not in processes that import their libraries again."""
    call_all_here(monkeypatch)


@pytest.fixture(scope="session")
def training_rows() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((400, 5)).astype(np.float32)


@pytest.fixture(scope="session")
def booster(training_rows: np.ndarray) -> Any:
    """A binary classifier of 100 trees whose scores go from 1e-8 to above a half."""
    import xgboost

    labels = training_rows[:, 0] + training_rows[:, 1] > 0
    parameters = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "base_score": 1e-4, "eta": 0.1}
    steep = {"min_child_weight": 0, "reg_lambda": 0, "max_delta_step": 1}
    return xgboost.train(parameters | steep, xgboost.DMatrix(training_rows, labels), 100)


@pytest.fixture(scope="session")
def model(booster: Any, tmp_path_factory: pytest.TempPathFactory, session_home: Path) -> Model:
    path = tmp_path_factory.mktemp("model") / "model.ubj"
    booster.save_model(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(session_home))
        return Model.load(path)


@pytest.fixture
def payload(training_rows: np.ndarray) -> Payload:
    return Payload(rows=training_rows[:50].copy(), source="rows.csv")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make an installed package with one module that offers one backend, here and in child processes."""

    def install(name: str, value: str, source: str, *, package: str | None = None) -> None:
        package = package or name
        folder = tmp_path / f"package-{package}"
        write_package(folder, package, group="servefit.backends", name=name, target=value, source=dedent(source))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.delitem(sys.modules, value.partition(":")[0], raising=False)

    return install
