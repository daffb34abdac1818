"""Jobs that asked for traffic and figures of other packages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tests.examples.conftest import run_servefit
from tests.golden.kept import assert_kept, kept, of_each
from tests.golden.packages import install

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("packages") / "installed")


@of_each("packages/*.json")
def test_a_job_is_shown_with_the_figures_of_its_packages(copy: Path, packages: Path, name: str) -> None:
    shown = run_servefit(copy / "home", packages, "show", name, "--format", "json")
    assert shown.returncode == 0, shown.stderr
    assert_kept(json.loads(shown.stdout), kept(copy, "packages", name))


@pytest.mark.thorough
@of_each("packages/*.json")
def test_a_job_is_read_without_its_packages(copy: Path, tmp_path: Path, name: str) -> None:
    shown = run_servefit(copy / "home", tmp_path, "show", name, "--format", "json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)["recommendations"]
    assert found
    assert all(recommendation["figures"] == {} for recommendation in found)
