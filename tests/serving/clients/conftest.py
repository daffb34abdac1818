"""Endpoints of two small xgboost models, and what xgboost itself predicts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import xgboost

from servefit.backends.compilation import compile_model
from servefit.backends.model import Model
from servefit.profiler.hosting import endpoint_config, hosted_endpoint
from servefit.profiler.types import Configuration

if TYPE_CHECKING:
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


@pytest.fixture(scope="module")
def fraud(two_classes: Trained) -> Iterator[Served]:
    """A classifier of two classes, whose calls join up to 8 requests."""
    with _served("fraud", two_classes, max_batch=8) as served:
        yield served


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
