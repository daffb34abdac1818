"""The worked traffic shape in examples/cosine-arrivals, installed like any package."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.examples.conftest import EXAMPLES, ROOT, passed_of_contract, run_servefit

if TYPE_CHECKING:
    from tests.examples.conftest import Installed

pytestmark = pytest.mark.thorough

EXAMPLE = EXAMPLES / "cosine-arrivals"


@pytest.fixture(scope="session")
def installed(installed_example: Installed) -> Path:
    return installed_example("cosine-arrivals")


def profile(home: Path, packages: Path, model: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run servefit with what is installed in ``packages``."""
    asked = ("--rate", "200/s", "--allow-noise", "--quiet", "--format", "json", *arguments)
    return run_servefit(home, packages, "profile", model, *asked)


@pytest.mark.integration
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


@pytest.mark.integration
def test_without_its_package_the_shape_is_not_known(model: Path, tmp_path: Path) -> None:
    ended = profile(tmp_path, tmp_path, model, "--arrivals", "cosine")
    assert ended.returncode == 2
    assert "arrivals: 'cosine' is not known" in ended.stderr


@pytest.mark.integration
def test_the_shape_keeps_the_promises_of_arrivals(installed: Path, tmp_path: Path) -> None:
    assert passed_of_contract(EXAMPLE / "test_arrivals_contract.py", installed, tmp_path) > 50


def test_what_the_documentation_shows_is_the_shape_as_it_is() -> None:
    page = (ROOT / "docs" / "adding-arrivals.md").read_text()
    shown = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {language for language, _ in shown} == {"python", "text", "toml"}
    files = [
        (EXAMPLE / name).read_text() for name in ("servefit_cosine.py", "test_arrivals_contract.py", "pyproject.toml")
    ]
    for _, block in shown:
        assert any(block in text for text in files), block
