"""Packages with a backend each, which does what a test needs, and progress that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.delegating_backends import delegating_backend
from tests.tiny_model import tiny_model

from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment

Install = Callable[..., None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


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
        source = delegating_backend(name, importing=importing, compiling=compiling, predicting=predicting, knobs=knobs)
        (folder / f"{name}_backend.py").write_text(source)

    return install


class Slow(SilentProgress):
    """Takes its time when a stage begins."""

    def __init__(self, stage: str, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            time.sleep(self._seconds)
