"""What the documentation's readers have: a small model, rows for it, and the job that the tutorial made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pytest
import xgboost
from tests.docs.pages import ROOT
from tests.docs.running import Reader, reading
from tests.search.conftest import postgresql, postgresql_url  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path

MAKES_IT_ALL = "docs/tutorial.md"
"""The page that makes by itself what all others find."""

ReaderOf = Callable[[str], Reader]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader works with."""
    files = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    rows = random.standard_normal((2000, 12), dtype=np.float32)
    labels = rows[:, 0] * rows[:, 1] + rows[:, 2] > 0.3
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 5}, xgboost.DMatrix(rows, labels), 60)
    booster.save_model(files / "model.ubj")
    with tarfile.open(files / "model.tar.gz", "w:gz") as archive:
        archive.add(files / "model.ubj", "xgboost-model")
    np.savetxt(files / "payload.csv", rows[:500], delimiter=",", fmt="%.6g")
    np.savetxt(files / "rows.csv", rows[:3], delimiter=",", fmt="%.6g")
    return files


@pytest.fixture(scope="session")
def fraud(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with the job "fraud"."""
    state = tmp_path_factory.mktemp("fraud") / "state"
    command = [sys.executable, "-m", "servefit", "recommend", "model.ubj", "--payload", "payload.csv"]
    asked = ["--sla", "p95=10ms", "--rate", "500/s", "--max-tests", "1", "--budget", "2m", "--name", "fraud"]
    # A CPU is left to clients, and little is compiled.
    little = ["--profile", "local-1c", "--backend", "xgboost", "--batch", "1", "--no-http", "--allow-noise"]
    ended = subprocess.run(
        [*command, *asked, *little],
        cwd=files,
        env={**os.environ, "SERVEFIT_HOME": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode in (0, 3), ended.stderr
    return state


@pytest.fixture
def reader_of(files: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ReaderOf]:
    """Somebody who reads the page of that name, in a folder and with a state folder of their own. Who reads of fleets
    has a database on a server."""
    with ExitStack() as stack:

        def reader(page: str) -> Reader:
            folder, state = tmp_path / "folder", tmp_path / "state"
            if page == MAKES_IT_ALL:
                folder.mkdir()
            else:
                shutil.copytree(files, folder)
            text = (ROOT / page).read_text(encoding="utf-8")
            if "fraud" in text and "--name fraud" not in text:
                shutil.copytree(request.getfixturevalue("fraud"), state)
            storage = request.getfixturevalue("postgresql_url") if page == "docs/fleet.md" else None
            return stack.enter_context(reading(folder, state, storage=storage))

        yield reader
