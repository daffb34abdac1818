"""Packages with a backend each, which does what a test needs, and progress that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.delegating_backends import delegating_backend
from tests.installed_packages import write_package
from tests.tiny_model import tiny_model

from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.optimizer.progress import Moment

QUICK: dict[str, Any] = {
    "supported_instance_types": ["local-1c"],
    "backends": ["xgboost"],
    "max_tests": 2,
    "batch_sizes": [1, 2],
    "allow_noise": True,
    "over_http": False,
    "job_name": "job",
}
"""A job of two tests, with the names of the SageMaker SDK."""

Install = Callable[..., None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(scope="module")
def state_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A state folder that all jobs of a module share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(tmp_path_factory.mktemp("state")))
        yield


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
        source = delegating_backend(name, importing=importing, compiling=compiling, predicting=predicting, knobs=knobs)
        target = f"{name}_backend:Backend"
        write_package(folder, name, group="servefit.backends", name=name, target=target, source=source)

    return install


class Slow(SilentProgress):
    """Takes its time when a stage begins."""

    def __init__(self, stage: str, seconds: float) -> None:
        self._stage = stage
        self._seconds = seconds

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            time.sleep(self._seconds)
