"""Packages with a backend each, which does what a test needs, and progress that takes its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.delegating_backends import delegating_backend
from tests.installed_packages import write_package
from tests.short_durations import short_durations
from tests.tiny_model import tiny_model

from servefit.search.jobs.lifecycle import run_job
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob
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


@pytest.fixture
def short() -> Iterator[None]:
    """Loads of half a second, where their length is no subject."""
    with short_durations():
        yield


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
    """Has ``seconds`` pass on the job's clock ``now`` when a stage first begins, or the time until ``until_s`` of the
    job."""

    def __init__(self, stage: str, *, seconds: float = 0.0, until_s: float = 0.0) -> None:
        self._stage = stage
        self._seconds = seconds
        self._until_s = until_s
        self._passed_s = 0.0

    def now(self) -> float:
        return time.monotonic() + self._passed_s

    def stage(self, text: str, at: Moment | None = None) -> None:
        if not self._passed_s and text.startswith(self._stage) and at is not None:
            self._passed_s = max(self._seconds, self._until_s - at.elapsed_s)


def slow_job(model: Path, slow: Slow, **asked: Any) -> RecommendationJob:
    """A job by the clock of ``slow``; ``asked`` are fields of its request."""
    usual: dict[str, Any] = {
        "name": "job",
        "profiles": ("local-1c",),
        "batch_sizes": (1,),
        "max_tests": 2,
        "allow_noise": True,
        "over_http": False,
    }
    return run_job(model, None, JobRequest(**usual | asked), trust_pickle=False, progress=slow, now=slow.now)
