"""The command line is tested as people use it: as a process, with a state folder of its own. Most of those are forks of
one that has imported everything (forks.py).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from tests.report.story import PROFILES, Story, configuration

from servefit.backends.model.keeping import file_digest
from servefit.search.request.job_request import JobRequest

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
def forks() -> Iterator[Path]:
    """The socket of forks.py."""
    with TemporaryDirectory(prefix="servefit-") as folder, socket.socket(socket.AF_UNIX) as lifeline:
        path = Path(folder) / "socket"
        subprocess.run([sys.executable, Path(__file__).with_name("forks.py"), path], check=True)
        lifeline.connect(str(path))
        yield path


@pytest.fixture(scope="session")
def servefit(state: Path, forks: Path) -> Servefit:
    """Carries a command out; one whose variables may change what is imported, in a process of its own."""

    def run(*arguments: str | Path, **environment: str) -> Finished:
        words = [str(argument) for argument in arguments]
        variables = {**os.environ, "SERVEFIT_HOME": str(state), **environment}
        if environment.keys() <= {"SERVEFIT_HOME"}:
            return forked(forks, words, variables)
        ended = subprocess.run(
            [*COMMAND, *words], capture_output=True, text=True, timeout=240, check=False, env=variables
        )
        return Finished(status=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)

    return run


def forked(forks: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Finished:
    outputs = {name: forks.with_name(name) for name in ("stdout", "stderr")}
    for output in outputs.values():
        output.write_bytes(b"")
    command = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
    with socket.socket(socket.AF_UNIX) as connection, connection.makefile("r") as lines:
        connection.connect(str(forks))
        connection.sendall(f"{json.dumps(command | outputs, default=str)}\n".encode())
        status = int(lines.readline())
    return Finished(status=status, **{name: output.read_text() for name, output in outputs.items()})


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Small models of one data set, as files, and a payload for them."""

    xgboost: Path
    lightgbm: Path
    sklearn: Path
    payload: Path
    servefit: Servefit

    @cached_property
    def onnx(self) -> Path:
        folder = self.xgboost.with_name("compiled")
        compiled = self.servefit("compile", self.xgboost, "-b", "onnxruntime", "-o", folder)
        assert compiled.status == 0, compiled.stderr
        (onnx,) = folder.rglob("*.onnx")
        return onnx


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
    np.savetxt(folder / "payload.csv", rows[:200], delimiter=",", fmt="%.7g")
    return Sources(
        xgboost=folder / "booster.ubj",
        lightgbm=folder / "lightgbm.txt",
        sklearn=folder / "forest.pkl",
        payload=folder / "payload.csv",
        servefit=servefit,
    )


@contextmanager
def model_gone(file: Path, state: Path) -> Iterator[None]:
    """Nobody has the model in ``file`` any more, neither there nor in the state folder, while the block runs."""
    places = (file, state / "models" / file_digest(file))
    for place in places:
        place.rename(place.with_suffix(".moved"))
    try:
        yield
    finally:
        for place in places:
            place.with_suffix(".moved").rename(place)


@pytest.fixture(scope="session")
def kept(servefit: Servefit, sources: Sources) -> dict[str, Any]:
    """A job called "listed"."""
    quick = (
        "--backend", "xgboost", "--max-tests", "1", "--profile", "local-1c", "--batch", "1", "--no-http",
        "--allow-noise",
    )  # fmt: skip
    ended = servefit("recommend", sources.xgboost, "--name", "listed", *quick, "--format", "json")
    assert ended.status == 0, ended.stderr
    document: dict[str, Any] = ended.document
    return document


MADE = ("told", pytest.param("measured", marks=[pytest.mark.timed, pytest.mark.thorough]))
"""How a job is made whose output is tested: on simulated workers, or measured for as long as that takes."""


def keep_told(state: Path, name: str, tell: Callable[[str], object]) -> str:
    """Have a job of that name told (tests/report/story.py), and return the name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(state))
        tell(name)
    return name


def _two_tests(name: str) -> None:
    story = Story.of(JobRequest(name=name, max_tests=2), profiles=PROFILES[:1])
    story.compiles("xgboost")
    for workers in (1, 2):
        story.tests(configuration("xgboost", workers=workers))
    story.keep()


@pytest.fixture(scope="session")
def simulated(state: Path) -> str:
    """The name of a job that was measured on simulated workers, for what is only looked at."""
    return keep_told(state, "simulated", _two_tests)
