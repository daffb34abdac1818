"""The command line is tested as people use it: as a process, with a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

COMMAND = (sys.executable, "-m", "servefit")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A command that ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


Servefit = Callable[..., Finished]


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def servefit(state: Path) -> Servefit:
    def run(*arguments: str | Path, **environment: str) -> Finished:
        ended = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env={**os.environ, "SERVEFIT_HOME": str(state), **environment},
        )
        return Finished(status=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)

    return run


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Small models of one data set, as files, and a payload for them."""

    xgboost: Path
    lightgbm: Path
    sklearn: Path
    onnx: Path
    payload: Path


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory, servefit: Servefit) -> Sources:
    import pickle

    folder = tmp_path_factory.mktemp("sources")
    bunch = load_breast_cancer()
    rows, labels = bunch.data.astype(np.float32), bunch.target
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4}, xgboost.DMatrix(rows, labels), num_boost_round=20
    )
    booster.save_model(folder / "booster.ubj")
    parameters = {"objective": "binary", "verbose": -1}
    lightgbm.train(parameters, lightgbm.Dataset(rows, labels), 20).save_model(folder / "lightgbm.txt")
    (folder / "forest.pkl").write_bytes(pickle.dumps(RandomForestClassifier(10, random_state=0).fit(rows, labels)))
    compiled = servefit("compile", folder / "booster.ubj", "-b", "onnxruntime", "-o", folder / "compiled")
    assert compiled.status == 0, compiled.stderr
    (onnx,) = (folder / "compiled").rglob("*.onnx")
    np.savetxt(folder / "payload.csv", rows[:200], delimiter=",", fmt="%.7g")
    return Sources(
        xgboost=folder / "booster.ubj",
        lightgbm=folder / "lightgbm.txt",
        sklearn=folder / "forest.pkl",
        onnx=onnx,
        payload=folder / "payload.csv",
    )


@pytest.fixture(scope="session")
def kept(servefit: Servefit, sources: Sources) -> dict[str, Any]:
    """A job called "listed"."""
    quick = ("--backend", "xgboost", "--max-tests", "2", "--profile", "local-1c", "--no-http", "--allow-noise")
    ended = servefit("recommend", sources.xgboost, "--name", "listed", *quick, "--format", "json")
    assert ended.status == 0, ended.stderr
    document: dict[str, Any] = ended.document
    return document
