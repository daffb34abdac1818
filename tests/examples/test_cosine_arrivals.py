"""The worked traffic shape in examples/cosine-arrivals, installed like any package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xgboost

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "cosine-arrivals"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package, installed from a copy: building leaves files beside the source."""
    copy, target = tmp_path_factory.mktemp("example") / "cosine-arrivals", tmp_path_factory.mktemp("installed")
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, str(copy)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = np.random.default_rng(0).standard_normal((200, 4), dtype=np.float32)
    path = tmp_path_factory.mktemp("model") / "model.ubj"
    parameters = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1}
    xgboost.train(parameters, xgboost.DMatrix(rows, rows[:, 0] > 0), 5).save_model(path)
    return path


def profile(home: Path, packages: Path, model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run servefit with what is installed in ``packages``."""
    asked = ("--rate", "200/s", "--allow-noise", "--quiet", "--format", "json", *arguments)
    return subprocess.run(
        [sys.executable, "-m", "servefit", "profile", str(model), *asked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "SERVEFIT_HOME": str(home), "PYTHONPATH": str(packages)},
    )


def test_a_model_is_measured_under_the_shape_and_a_measurement_read_without_its_package(
    installed: Path, model: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    asked = ("--arrivals", "cosine:period=500ms", "--duration", "1s", "--save", str(kept))
    ended = profile(tmp_path, installed, model, *asked)
    assert ended.returncode == 0, ended.stderr
    traffic = json.loads(ended.stdout)["traffic"]
    assert traffic["arrivals"] == "cosine:amplitude=0.5,period=0.5s"
    assert "requests arrived at a rate that begins 50% above its mean" in ended.stderr

    import servefit

    [run] = servefit.load_measurement(kept).runs
    assert servefit.summarize(run).latency_ms_ci95 == {}


def test_without_its_package_the_shape_is_not_known(model: Path, tmp_path: Path) -> None:
    ended = profile(tmp_path, tmp_path, model, "--arrivals", "cosine")
    assert ended.returncode == 2
    assert "arrivals: 'cosine' is not known" in ended.stderr


def test_the_shape_keeps_the_promises_of_arrivals(installed: Path, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "test_arrivals_contract.py", tmp_path)
    suite = ("-p", "tests.conftest", "-p", "no:cacheprovider", "-q")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *suite, "test_arrivals_contract.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"},
    )
    assert ended.returncode == 0, ended.stdout
    [passed] = re.findall(r"(\d+) passed", ended.stdout)
    assert int(passed) > 50
    assert "skipped" not in ended.stdout


def test_what_the_documentation_shows_is_the_shape_as_it_is() -> None:
    page = (ROOT / "docs" / "adding-arrivals.md").read_text()
    shown = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in shown} == {"python", "text", "toml"}
    files = [
        (EXAMPLE / name).read_text() for name in ("servefit_cosine.py", "test_arrivals_contract.py", "pyproject.toml")
    ]
    for _, block in shown:
        assert any(block in text for text in files), block
