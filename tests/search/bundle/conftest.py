"""One small model, compiled once, and bundles of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from servefit.backends import steps
from servefit.backends.types import Artifact, Target
from servefit.profiler.preparing import Deployment
from servefit.search.bundle.writing import Bundle, write_bundle
from servefit.search.deploying import Deployable, deployable_of_model

Export = Callable[..., Bundle]
CompiledWith = Callable[[str], Deployable]


@pytest.fixture(autouse=True)
def no_package_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip asks nobody unless a test says so, and nothing else is known of how it is set up here."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture(scope="session")
def deployable(tmp_path_factory: pytest.TempPathFactory) -> Deployable:
    """A regression with xgboost in one vCPU: two workers, batches of four that wait half a millisecond."""
    folder = tmp_path_factory.mktemp("deployable")
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(rows, rows[:, 0]), num_boost_round=2)
    booster.save_model(folder / "Fraud_v2.ubj")
    deployment = Deployment(
        backend="xgboost",
        profile="local-1c",
        workers=2,
        batch=4,
        batch_delay_us=500,
        environment={"GREETING": 'say "50 %" \\ done'},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(folder / "state"))
        return deployable_of_model(folder / "Fraud_v2.ubj", deployment)


@pytest.fixture
def export(deployable: Deployable, tmp_path: Path) -> Export:
    """Write a bundle of the deployable, with changes, into a folder of the test's own."""

    def write(*, folder: Path | None = None, of: Deployable = deployable, **options: Any) -> Bundle:
        return write_bundle(of, tmp_path / "bundle" if folder is None else folder, **options)

    return write


@pytest.fixture(scope="session")
def compiled_with(deployable: Deployable, tmp_path_factory: pytest.TempPathFactory) -> CompiledWith:
    """The same model compiled with another backend."""

    def compiled(backend: str) -> Deployable:
        folder = tmp_path_factory.mktemp(backend)
        artifact = Artifact(
            backend=backend,
            backend_version="1",
            model_digest=deployable.model.digest,
            target=Target.CPU,
            folder=folder,
            facts=steps.compile_artifact(backend, deployable.model, Target.CPU, folder),
        )
        return replace(deployable, artifact=artifact, configuration=replace(deployable.configuration, backend=backend))

    return compiled
