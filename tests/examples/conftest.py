"""Shared by the tests of worked examples: packages installed like any other, a model, and servefit with both."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xgboost

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

Installed = Callable[[str], Path]


@pytest.fixture(scope="session")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install a package of the examples by name, and return the folder that it is in."""
    done: dict[str, Path] = {}

    def install(name: str) -> Path:
        if name not in done:
            # From a copy: building leaves files beside the source.
            copy, target = tmp_path_factory.mktemp("example") / name, tmp_path_factory.mktemp("installed")
            shutil.copytree(EXAMPLES / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
            offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target))
            command = [sys.executable, "-m", "pip", "install", *offline, str(copy)]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, ended.stderr
            done[name] = target
        return done[name]

    return install


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(0).standard_normal((300, 6), dtype=np.float32)
    matrix = xgboost.DMatrix(rows, rows[:, 0] * rows[:, 1] > 0)
    path = tmp_path_factory.mktemp("model") / "model.ubj"
    xgboost.train({"objective": "binary:logistic", "max_depth": 4, "nthread": 1}, matrix, 20).save_model(path)
    return path


def run_servefit(
    home: Path, packages: Path, *arguments: str | Path, program: tuple[str | Path, ...] = ("-m", "servefit")
) -> subprocess.CompletedProcess[str]:
    """Run servefit with what is installed in ``packages``, and its state in ``home``."""
    return subprocess.run(
        [sys.executable, *map(str, program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "SERVEFIT_HOME": str(home), "PYTHONPATH": str(packages)},
    )


def passed_of_contract(suite: Path, packages: Path, folder: Path, *, fixtures: str = "tests.conftest") -> int:
    """Run the contract suite of an example in an empty ``folder``, with the ``fixtures``, and count what passes."""
    shutil.copy(suite, folder)
    # Authors of plug-ins mark no tests.
    options = ("-p", "tests.conftest", "-p", fixtures, "-p", "no:kinds", "-p", "no:cacheprovider", "-q")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, suite.name],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{packages}{os.pathsep}{ROOT}"},
    )
    assert ended.returncode == 0, ended.stdout
    assert "skipped" not in ended.stdout
    [passed] = re.findall(r"(\d+) passed", ended.stdout)
    return int(passed)
