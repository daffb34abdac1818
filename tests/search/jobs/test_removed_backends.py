"""Jobs that are taken up again when the package of a backend is not installed any more."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

import servefit
from servefit.backends.engines.torch import TorchBackend
from servefit.backends.engines.treelite import TreeliteBackend
from servefit.backends.types import Availability
from servefit.errors import SpecError
from servefit.search.jobs.job import JobInterrupted
from servefit.search.jobs.lifecycle import load_job, resume_job
from servefit.search.optimizer.progress import SilentProgress

if TYPE_CHECKING:
    from pathlib import Path

    from tests.search.jobs.conftest import Install

    from servefit.search.optimizer.progress import Moment

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("short"), pytest.mark.thorough]

ASKED: dict[str, Any] = {
    "job_name": "job",
    "supported_instance_types": ["local-1c"],
    "batch_sizes": [1],
    "job_duration_in_seconds": 60,
    "max_tests": 1,
    "allow_noise": True,
    "over_http": False,
}


class Interrupting(SilentProgress):
    """Interrupts the job when everything is compiled."""

    def stage(self, text: str, at: Moment | None = None) -> None:
        if text.startswith("measuring"):
            raise KeyboardInterrupt


def remove(folder: Path, name: str) -> None:
    """Uninstall the package of the backend."""
    shutil.rmtree(folder / "plugins" / f"{name}-1.0.dist-info")


def test_a_backend_that_was_compiled_and_is_gone_is_reported_as_left_out(
    install: Install, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fleeting")
    # All other backends would take part too, and their time.
    names = ["xgboost", "fleeting"]
    monkeypatch.setattr("servefit.backends.finding.registry.backend_names", lambda: tuple(names))
    with pytest.raises(JobInterrupted) as caught:
        servefit.right_size(model, progress=Interrupting(), **ASKED)
    compiled = [step.backend for step in caught.value.job.steps if step.kind == "compilation"]
    assert sorted(compiled) == ["fleeting", "xgboost"]
    remove(tmp_path, "fleeting")
    names.remove("fleeting")
    job = resume_job("job", progress=SilentProgress())
    left_out = [(it.kind, it.name, it.reason) for it in job.skipped if it.name in compiled]
    assert left_out == [
        ("backend", "fleeting", "no package offers it any more; install again what offered it when the job began")
    ]
    assert {trial.configuration.backend for trial in job.trials} == {"xgboost"}


@pytest.mark.usefixtures("install")
def test_nobody_is_told_to_install_what_does_not_serve_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = Availability.no("it is not installed", remedy="pip install it")
    for backend in (TorchBackend, TreeliteBackend):
        monkeypatch.setattr(backend, "probe", lambda *_: missing)
    monkeypatch.setattr("servefit.backends.finding.registry.backend_names", lambda: ("xgboost", "torch", "treelite"))
    with pytest.raises(JobInterrupted) as caught:
        servefit.right_size(model, progress=Interrupting(), **ASKED)
    reasons = {skipped.name: skipped.reason for skipped in caught.value.job.skipped}
    assert reasons["torch"] == "it serves modules of PyTorch, and this is one of xgboost"
    assert reasons["treelite"] == "it is not installed; pip install it"


@pytest.mark.thorough
def test_a_job_is_not_taken_up_without_a_backend_that_it_names_and_can_be_once_that_is_back(
    install: Install, model: Path, tmp_path: Path
) -> None:
    install("fleeting")
    with pytest.raises(JobInterrupted):
        servefit.right_size(model, progress=Interrupting(), **ASKED, backends=["fleeting"])
    remove(tmp_path, "fleeting")
    with pytest.raises(SpecError, match="'fleeting' is not known"):
        resume_job("job", progress=SilentProgress())
    assert load_job("job").status == "STOPPED"
    install("fleeting")
    with pytest.raises(JobInterrupted):
        resume_job("job", progress=Interrupting())
