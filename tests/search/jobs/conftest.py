"""Packages with a backend each, which does what a test needs, and progress that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost

from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment

BACKEND = """
import sys
import time
{importing}
from servefit.backends.registry import imported
from servefit.backends.types import Availability, Knob

class Backend:
    name = {name!r}
    def probe(self, target):
        return Availability.yes("1.0")
    def supports(self, model):
        return Availability.yes()
    def knobs(self, model, vcpus, target):
        return {knobs}
    def compile_estimate_s(self, model):
        return 0.1
    def cache_key(self):
        return ""
    def compile(self, model, target, workdir):
        {compiling}
        return imported("xgboost").compile(model, target, workdir)
    def load(self, artifact, settings):
        return Predictor(imported("xgboost").load(artifact, settings))

class Predictor:
    def __init__(self, right):
        self.right = right
    def predict(self, rows):
        {predicting}
        return self.right.predict(rows)
    def close(self):
        self.right.close()
"""

Install = Callable[..., None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.ubj"
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=2).save_model(path)
    return path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs packages with a backend each, and gives the job a state folder of its own."""
    folder = tmp_path / "plugins"
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))

    def install(
        name: str, *, importing: str = "", compiling: str = "", predicting: str = "", knobs: str = "()"
    ) -> None:
        described = folder / f"{name}-1.0.dist-info"
        described.mkdir(parents=True, exist_ok=True)
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (described / "entry_points.txt").write_text(f"[servefit.backends]\n{name} = {name}_backend:Backend\n")
        parts = {"name": name, "importing": importing, "compiling": compiling, "predicting": predicting, "knobs": knobs}
        (folder / f"{name}_backend.py").write_text(BACKEND.format(**parts))

    return install


class Slow(SilentProgress):
    """Takes its time when a stage begins."""

    def __init__(self, stage: str, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            time.sleep(self._seconds)
