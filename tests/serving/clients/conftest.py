"""Endpoints of two small xgboost models, one of them also as an exported bundle runs it, and what xgboost predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost
from tests.in_this_process import call_all_here
from tests.search.deployment.bundle.conftest import no_package_index

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.profiler.drivers.hosted_endpoint import endpoint_config, hosted_endpoint
from servefit.profiler.procedures.prepare import Deployment
from servefit.profiler.record.types import Configuration
from servefit.search.deployment.bundle.writing import write_bundle
from servefit.search.deployment.deployable import deployable_of_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.backends.types import Artifact

FEATURES = 5


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A compiled model; ``predictions`` are xgboost's own of ``rows``, (n,) or (n, classes). Some values of ``rows``
    are missing."""

    model: Model
    artifact: Artifact
    rows: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Served:
    """An endpoint at ``address`` ("127.0.0.1:41234") of a model that is called ``name`` in URLs."""

    address: str
    name: str
    rows: np.ndarray
    predictions: np.ndarray

    @property
    def url(self) -> str:
        return f"http://{self.address}"


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        yield


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained({"objective": "binary:logistic"}, 2, tmp_path_factory.mktemp("two_classes"))


@pytest.fixture(scope="session")
def three_classes(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return _trained({"objective": "multi:softprob", "num_class": 3}, 3, tmp_path_factory.mktemp("three_classes"))


@pytest.fixture(scope="module", params=["endpoint", pytest.param("bundle", marks=pytest.mark.thorough)])
def fraud(request: pytest.FixtureRequest) -> Served:
    """A classifier of two classes, whose calls join up to 8 requests, in this environment and in a bundle."""
    served: Served = request.getfixturevalue(f"fraud_{request.param}")
    return served


@pytest.fixture(scope="module")
def fraud_endpoint(two_classes: Trained) -> Iterator[Served]:
    with _served("fraud", two_classes, max_batch=8) as served:
        yield served


@pytest.fixture(scope="session")
def bundle(two_classes: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    deployment = Deployment(backend="xgboost", profile="local-1c", batch=8)
    with pytest.MonkeyPatch.context() as patch, no_package_index():
        patch.setenv("SERVEFIT_HOME", str(folder / "state"))
        write_bundle(deployable_of_model(two_classes.model, deployment), folder / "bundle", name="fraud")
    return folder / "bundle"


@pytest.fixture(scope="module")
def fraud_bundle(bundle: Path, two_classes: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """It has its own copy of servefit, and an interpreter where that is not installed."""
    python = _python_without_servefit(tmp_path_factory.mktemp("python"))
    ready, told = os.pipe()
    command = [str(bundle / "run"), "serve", "--port", "0", "--ready-fd", str(told)]
    environment = {**os.environ, "SERVEFIT_PYTHON": str(python)}
    with subprocess.Popen(command, pass_fds=[told], env=environment) as process:
        os.close(told)
        try:
            port = json.loads(os.read(ready, 4096))["port"]
            rows, predictions = two_classes.rows, two_classes.predictions
            yield Served(address=f"127.0.0.1:{port}", name="fraud", rows=rows, predictions=predictions)
        finally:
            os.close(ready)
            process.terminate()
    assert process.returncode == 0


def _python_without_servefit(folder: Path) -> Path:
    """This interpreter with all packages that are installed here but servefit."""
    packages, python = folder / "packages", folder / "python"
    packages.mkdir()
    for path in Path(sysconfig.get_path("platlib")).iterdir():
        if "servefit" not in path.name:
            (packages / path.name).symlink_to(path)
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    python.write_text(f'#!/bin/sh\nexport PYTHONPATH="$PYTHONPATH:{packages}"\nexec {base} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.fixture(scope="module")
def species(three_classes: Trained) -> Iterator[Served]:
    """A classifier of three classes, in two workers."""
    with _served("species.v2", three_classes, workers=2) as served:
        yield served


def _trained(parameters: dict[str, Any], classes: int, folder: Path) -> Trained:
    random = np.random.default_rng(7)
    rows = random.normal(size=(200, FEATURES)).astype(np.float32)
    labels = np.digitize(rows[:, 0] + rows[:, 1], np.arange(classes - 1) - 0.5)
    rows[random.random(rows.shape) < 0.1] = np.nan
    common = {"max_depth": 3, "nthread": 1, "seed": 7}
    booster = xgboost.train(common | parameters, xgboost.DMatrix(rows, labels), num_boost_round=5)
    booster.save_model(folder / "model.ubj")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(folder / "state"))
        call_all_here(patch)
        model = Model.load(folder / "model.ubj")
        artifact = compile_model(model, "xgboost").artifact
    asked = rows[:20]
    predictions = booster.predict(xgboost.DMatrix(asked))
    return Trained(model=model, artifact=artifact, rows=asked, predictions=predictions)


@contextmanager
def _served(name: str, trained: Trained, *, workers: int = 1, max_batch: int = 1) -> Iterator[Served]:
    configuration = Configuration(vcpus=1, backend="xgboost", workers=workers, max_batch=max_batch)
    config = endpoint_config(configuration, trained.artifact, trained.model.signature, name=name)
    with hosted_endpoint(config, cpus=os.sched_getaffinity(0)) as hosted:
        address = f"127.0.0.1:{hosted.port}"
        yield Served(address=address, name=name, rows=trained.rows, predictions=trained.predictions)
        hosted.check()
