"""Jobs on real workers, with as few tests as serve, and listeners that interfere with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.search.jobs.conftest import QUICK
from tests.short_durations import short_durations
from tests.tiny_model import tiny_model

import servefit
from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.optimizer.progress import Moment
    from servefit.search.results.recommendation import FailedTrial, Trial

ONE_TEST = {**QUICK, "max_tests": 1}
"""For tests that do not depend on a search."""


@dataclass(frozen=True, kw_only=True)
class KeptJob:
    """A job, and the state folder that it is kept in."""

    job: RecommendationJob
    state: Path


class Listener(SilentProgress):
    """Calls ``act`` when a stage begins whose text starts with ``stage``."""

    def __init__(self, stage: str, act: Any) -> None:
        self._stage = stage
        self._act = act

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith(self._stage):
            self._act()


class AfterTest(SilentProgress):
    """Calls ``act`` when a test has ended."""

    def __init__(self, act: Any) -> None:
        self._act = act

    def tested(self, trial: Trial | FailedTrial, at: Moment) -> None:
        self._act()


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "model.ubj")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def kept_job(model: Path, tmp_path_factory: pytest.TempPathFactory) -> KeptJob:
    """A job of four tests that is over."""
    with pytest.MonkeyPatch.context() as patch, short_durations():
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("SERVEFIT_HOME", str(folder))
        # Too few tests for all there is, and time enough to time calls before them, however long compiling takes.
        asked = {**QUICK, "max_tests": 4, "batch_sizes": [1, 2, 4], "job_duration_in_seconds": 60}
        job = servefit.right_size(model, **asked)
        return KeptJob(job=job, state=folder)


@pytest.fixture
def finished(kept_job: KeptJob, monkeypatch: pytest.MonkeyPatch) -> RecommendationJob:
    """The job of ``kept_job``, whose state folder is that of the test: no test changes it."""
    monkeypatch.setenv("SERVEFIT_HOME", str(kept_job.state))
    return kept_job.job
