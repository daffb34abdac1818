"""The worked backend in examples/numpy-backend, installed like any package, and broken variants of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.examples.conftest import EXAMPLES, ROOT, passed_of_contract, run_servefit
from tests.installed_packages import write_package

if TYPE_CHECKING:
    from tests.examples.conftest import Installed

EXAMPLE = EXAMPLES / "numpy-backend"
QUICK = ("--max-tests", "1", "--profile", "local-1c", "--no-http", "--allow-noise", "--budget", "20s", "--quiet")


@pytest.fixture(scope="session")
def installed(installed_example: Installed) -> Path:
    return installed_example("numpy-backend")


def servefit(home: Path, plugins: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run servefit with what is installed in ``plugins``."""
    return run_servefit(home, plugins, *arguments, "--format", "json")


def document(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.integration
def test_the_plug_in_is_listed_and_takes_a_model(installed: Path, model: Path, tmp_path: Path) -> None:
    said = document(servefit(tmp_path, installed, "backends", model))
    [listed] = [backend for backend in said["backends"] if backend["name"] == "numpy"]
    assert listed["version"] == "1.0"
    assert listed["targets"]["cpu"]["available"]
    assert listed["targets"]["cuda"]["reason"] == "NumPy computes on the CPU only"
    assert listed["takes_model"]["available"]


@pytest.mark.thorough
@pytest.mark.integration
def test_the_plug_in_is_recommended(installed: Path, model: Path, tmp_path: Path) -> None:
    said = document(servefit(tmp_path, installed, "recommend", model, "--backend", "numpy", *QUICK))
    [recommended] = said["recommendations"]
    assert recommended["backend"] == "numpy"
    assert recommended["environment"] == {"OMP_NUM_THREADS": "1", "MODEL_SERVER_WORKERS": "1"}


@pytest.mark.thorough
@pytest.mark.integration
def test_the_plug_in_keeps_the_promises_of_a_backend(installed: Path, tmp_path: Path) -> None:
    assert (
        passed_of_contract(EXAMPLE / "test_contract.py", installed, tmp_path, fixtures="tests.conformance.conftest")
        > 60
    )


@pytest.mark.thorough
@pytest.mark.integration
def test_a_plug_in_that_predicts_something_else_is_found_out(installed: Path, model: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "plugins"
    shutil.copytree(installed, wrong, ignore=shutil.ignore_patterns("__pycache__"))
    source = wrong / "servefit_numpy.py"
    right = "return self._finish(np.concatenate(parts))"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, f"{right} + 0.01"))
    ended = servefit(tmp_path / "home", wrong, "compile", model, "-b", "numpy", "-o", tmp_path / "compiled")
    assert ended.returncode == 4
    assert "numpy: predictions differ from the reference on" in ended.stderr
    assert "largest error 0.01 absolute" in ended.stderr
    assert not (tmp_path / "compiled").exists()


@pytest.mark.thorough
@pytest.mark.integration
def test_a_plug_in_that_cannot_be_imported_stops_nothing_else(model: Path, tmp_path: Path) -> None:
    write_package(
        tmp_path / "plugins",
        "servefit-broken",
        group="servefit.backends",
        name="broken",
        target="servefit_broken:Backend",
        source="import a_library_that_nobody_has\n",
    )
    said = document(servefit(tmp_path / "home", tmp_path / "plugins", "backends", model))
    [listed] = [backend for backend in said["backends"] if backend["name"] == "broken"]
    assert not listed["targets"]["cpu"]["available"]
    assert "a_library_that_nobody_has" in listed["targets"]["cpu"]["reason"]
    asked = ("--backend", "xgboost", "--backend", "broken")
    said = document(servefit(tmp_path / "home", tmp_path / "plugins", "recommend", model, *asked, *QUICK))
    assert [recommendation["backend"] for recommendation in said["recommendations"]] == ["xgboost"]
    [reason] = [skipped["reason"] for skipped in said["skipped"] if skipped.get("backend") == "broken"]
    assert "a_library_that_nobody_has" in reason


def test_what_the_documentation_shows_is_the_plug_in_as_it_is() -> None:
    page = (ROOT / "docs" / "writing-a-backend.md").read_text()
    shown = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in shown} == {"python", "text", "toml"}
    files = [(EXAMPLE / name).read_text() for name in ("servefit_numpy.py", "test_contract.py", "pyproject.toml")]
    for _, block in shown:
        assert any(block in text for text in files), block
