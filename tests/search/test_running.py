"""What a job does when it is cut short, or short of time."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost

import servefit
from servefit.backends.payload.reading import payload_for
from servefit.profiler.host import describe_host
from servefit.profiler.profiles import local_profiles
from servefit.search.compiling import Compilations, compile_candidates
from servefit.search.job import JobInterrupted
from servefit.search.progress import Silent
from servefit.search.request import JobRequest

if TYPE_CHECKING:
    from servefit.search.recommendation import FailedTrial, Trial


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.ubj"
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=2).save_model(path)
    return path


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path))
    return tmp_path


class Interrupting:
    """Presses Ctrl-C when a compilation begins, when the job can no longer be saved."""

    def __init__(self, jobs: Path) -> None:
        self._jobs = jobs

    def stage(self, text: str) -> None:
        if text.startswith("compiling"):
            shutil.rmtree(self._jobs)
            raise KeyboardInterrupt

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        raise AssertionError("nothing should be tested")


def test_an_interrupted_job_that_cannot_be_saved_is_handed_over_all_the_same(model: Path, state: Path) -> None:
    with pytest.raises(JobInterrupted) as caught:
        servefit.right_size(model, progress=Interrupting(state / "jobs"))
    assert caught.value.job.status == "STOPPED"
    assert "the job was not kept" in caught.value.job.warnings[-1]


class FillingTheDisk:
    """Puts a file where the folder of measurements would be."""

    def __init__(self, job: Path) -> None:
        self._job = job

    def stage(self, text: str) -> None:
        if text == "measuring":
            (self._job / "measurements").write_text("in the way")

    def tested(self, trial: Trial | FailedTrial, tests: int, done: float) -> None:
        pass


def test_samples_that_cannot_be_kept_are_no_reason_to_lose_the_answer(model: Path, state: Path) -> None:
    job = servefit.right_size(
        model,
        supported_instance_types=["local-1c"],
        backends=["xgboost"],
        max_tests=1,
        job_name="job",
        allow_noise=True,
        progress=FillingTheDisk(state / "jobs" / "job"),
    )
    assert job.status == "COMPLETED"
    assert job.best is not None
    assert job.best.trial.kept_in is None
    assert any("raw samples were not kept" in warning for warning in job.warnings)


def test_when_much_of_the_time_is_over_only_the_first_backend_and_those_asked_for_are_compiled(model: Path) -> None:
    opened = servefit.Model.load(model)
    profiles = local_profiles(describe_host())[:1]
    began_s = time.monotonic() - 1000

    def compiled(request: JobRequest) -> Compilations:
        into = Compilations()
        compile_candidates(into, opened, payload_for(opened), request, profiles, Silent(), started_s=began_s)
        return into

    unasked = compiled(JobRequest(name="job", budget_s=60))
    assert [one.backend for one in unasked.reports] == ["xgboost"]
    assert any(one.name == "onnxruntime" and "of the job's 60 s were over" in one.reason for one in unasked.skipped)
    asked = compiled(JobRequest(name="job", budget_s=60, backends=("onnxruntime", "xgboost")))
    assert [one.backend for one in asked.reports] == ["xgboost", "onnxruntime"]
