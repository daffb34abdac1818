"""One small model, compiled once, and bundles of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest
from tests.tiny_model import tiny_model

from servefit.backends.checking import steps
from servefit.backends.types import Artifact, Target
from servefit.profiler.procedures.prepare import Deployment
from servefit.search.deployment.bundle import pip_settings
from servefit.search.deployment.bundle.writing import Bundle, write_bundle
from servefit.search.deployment.deployable import Deployable, deployable_of_model

if TYPE_CHECKING:
    from pathlib import Path

Export = Callable[..., Bundle]
CompiledWith = Callable[[str], Deployable]


@contextmanager
def no_package_index() -> Iterator[None]:
    """pip asks nobody meanwhile, and nothing else is known of how it is set up here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.setenv("PIP_NO_INDEX", "1")
        yield


@pytest.fixture(autouse=True)
def nobody_is_asked() -> Iterator[None]:
    """Unless a test says so."""
    with no_package_index():
        yield


@pytest.fixture(scope="module")
def asked_once() -> Iterator[None]:
    """All bundles of a module have the packages that are installed and the settings of pip that were found first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metadata, "packages_distributions", cache(metadata.packages_distributions))
        patch.setattr(pip_settings, "_run_pip", cache(pip_settings._run_pip))
        yield


@pytest.fixture(scope="session")
def deployable(tmp_path_factory: pytest.TempPathFactory) -> Deployable:
    """A regression with xgboost in one vCPU: two workers, batches of four that wait half a millisecond."""
    folder = tmp_path_factory.mktemp("deployable")
    model = tiny_model(folder / "Fraud_v2.ubj")
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
        return deployable_of_model(model, deployment)


@pytest.fixture
def export(deployable: Deployable, tmp_path: Path) -> Export:
    """Write a bundle of the deployable, with changes, into a folder of the test's own."""

    def write(*, folder: Path | None = None, of: Deployable = deployable, **options: Any) -> Bundle:
        return write_bundle(of, tmp_path / "bundle" if folder is None else folder, **options)

    return write


@pytest.fixture(scope="session")
def plain(deployable: Deployable, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of the deployable, written once for all who only read it."""
    with no_package_index():
        return write_bundle(deployable, tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture
def copied(plain: Bundle, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(plain.folder, tmp_path / "copied")


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
