"""scripts/mutate: the changes that it makes, and what it says of tests that find them and of tests that do not."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TABLE: dict[str, Any] = tomllib.loads((ROOT / "scripts/mutations.toml").read_text())

PATH = "src/servefit/sizes_test.py"
"""pytest has a way of its own to import what is called so, and would import it unchanged."""

MODULE = """
def is_large(number: int | None) -> bool:
    return number is not None and number >= 10
"""
THOROUGH = """
from servefit.sizes_test import is_large

def test_ten_is_large() -> None:
    assert [is_large(number) for number in (None, 9, 10, 11)] == [False, False, True, True]
"""
CARELESS = """
from servefit.sizes_test import is_large

def test_a_hundred_is_large() -> None:
    assert is_large(100) and not is_large(1) and not is_large(None)
"""
SURVIVORS = ("number > 10", "number >= 11", "number >= 9")


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts/mutate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Repository:
    """One that has the script, a package of one module, and tests of that."""

    folder: Path

    def mutate(self, test: str, *arguments: str, equivalent: str = "") -> subprocess.CompletedProcess[str]:
        (self.folder / "tests/test_sizes.py").write_text(test)
        table = f'equivalent = [{equivalent}]\n[modules]\n"{PATH}" = ["tests/test_sizes.py"]\n'
        (self.folder / "scripts/mutations.toml").write_text(table)
        return subprocess.run(
            [sys.executable, self.folder / "scripts/mutate.py", *arguments],
            env={**os.environ, "PYTHONPATH": str(self.folder / "src")},
            capture_output=True,
            text=True,
        )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for folder in ("scripts", "src/servefit", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy2(ROOT / "scripts/mutate.py", tmp_path / "scripts")
    (tmp_path / "src/servefit/__init__.py").touch()
    (tmp_path / PATH).write_text(MODULE)
    return Repository(tmp_path)


def test_the_modules_the_tests_and_the_lines_of_the_table_are_there() -> None:
    for module, tests in TABLE["modules"].items():
        paths = [module, *(path for path in tests if not path.startswith("-"))]
        assert [path for path in paths if not (ROOT / path).exists()] == []
    for change in TABLE["equivalent"]:
        lines = [line.strip() for line in (ROOT / change["module"]).read_text().splitlines()]
        assert change["before"] in lines, f"{change['module']} has no such line any more"
        assert change["reason"]


def test_what_decides_is_changed_and_annotations_and_decorators_are_not(script: Any) -> None:
    source = """
@frozen(slots=True)
def judged(values: list[float] | None, *, most: int = 3) -> float | None:
    return max(values, key=rank) if len(values) - most < 0 else None
"""
    mutants = [script.mutant_of("a.py", source, change) for change in script.changes_of(source)]
    made = {mutant.after for mutant in mutants if mutant is not None}
    assert {line for line in made if line.startswith("def")} == {
        "def judged(values: list[float] | None, *, most: int = 4) -> float | None:",
        "def judged(values: list[float] | None, *, most: int = 2) -> float | None:",
    }
    whole = "return max(values, key=rank) if len(values) - most < 0 else None"
    for old, new in (("max", "min"), ("key=rank", "**{}"), ("if", "if not"), (" - ", " + "), ("<", "<="), ("0", "1")):
        assert whole.replace(old, new, 1) in {" ".join(line.split()).replace(", **", ", **") for line in made}
    assert not [line for line in made if line.startswith("@")]


@pytest.mark.thorough
@pytest.mark.integration
def test_changes_that_no_test_finds_are_told_with_their_place(repository: Repository) -> None:
    ran = repository.mutate(CARELESS)
    assert ran.returncode == 1
    for survivor in SURVIVORS:
        assert f"return number is not None and {survivor}" in " ".join(ran.stdout.split())
    assert f"{PATH}:3 survives\n  - return number is not None and number >= 10\n" in ran.stdout
    assert f"below the aim of 90%: {PATH}" in ran.stderr


@pytest.mark.thorough
@pytest.mark.integration
def test_tests_that_find_every_change_but_those_that_change_nothing_reach_the_aim(repository: Repository) -> None:
    before = "return number is not None and number >= 10"
    change = {"module": PATH, "reason": "told", "before": before, "after": [before.replace(">=", ">")]}
    equivalent = ", ".join(f"{name} = {json.dumps(value)}" for name, value in change.items())
    ran = repository.mutate(THOROUGH, equivalent=f"{{{equivalent}}}")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"{PATH}: 100% of 5 mutants killed, of 7 changes" in ran.stdout
    assert (repository.folder / PATH).read_text() == MODULE


@pytest.mark.thorough
@pytest.mark.integration
def test_time_that_is_over_leaves_changes_untried(repository: Repository) -> None:
    ran = repository.mutate(THOROUGH, "--minutes", "0", "--seed", "7")
    assert ran.stdout.startswith("--seed 7\n")
    assert "100% of 0 mutants killed" in ran.stdout


@pytest.mark.thorough
@pytest.mark.integration
def test_tests_that_fail_without_any_change_are_told(repository: Repository) -> None:
    ran = repository.mutate(CARELESS.replace("100", "5"))
    assert ran.returncode == 1
    assert "these tests fail without any change" in ran.stderr


@pytest.mark.thorough
@pytest.mark.integration
def test_a_module_that_is_not_in_the_table_is_refused(repository: Repository) -> None:
    ran = repository.mutate(THOROUGH, "src/servefit/other.py")
    assert ran.returncode == 2
    assert "src/servefit/other.py is not in scripts/mutations.toml" in ran.stderr
