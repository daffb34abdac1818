"""The worked objective in examples/p95-per-watt, installed like any package, and jobs in which it fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.examples.conftest import EXAMPLES, ROOT, passed_of_contract, run_servefit

if TYPE_CHECKING:
    from tests.examples.conftest import Installed

pytestmark = pytest.mark.thorough

EXAMPLE = EXAMPLES / "p95-per-watt"
QUICK = ("--max-tests", "2", "--profile", "local-1c", "--backend", "xgboost", "--no-http", "--allow-noise", "--quiet")

POWERED = '''
"""Runs servefit where one processor package draws 40 W, whatever this machine has."""

import sys, threading, time
from functools import partial
from pathlib import Path

from servefit.profiler.drivers.inprocess import workers
from servefit.profiler.machine.telemetry.machine import PackageEnergy
from servefit.profiler.machine.telemetry.watching import watching

if __name__ == "__main__":
    root = Path(sys.argv.pop(1))
    package = root / "class/powercap/intel-rapl:0"
    package.mkdir(parents=True, exist_ok=True)
    (package / "max_energy_range_uj").write_text("999999999999")
    counter = (package / "energy_uj").open("w+")

    def count():
        while True:
            counter.seek(0)
            counter.write(f"{round(40e6 * time.monotonic()) % 10**12:012}")
            counter.flush()
            time.sleep(0.005)

    threading.Thread(target=count, daemon=True).start()
    time.sleep(0.1)
    workers.watching = partial(watching, sys=root)
    PackageEnergy.readable = classmethod(lambda cls, sys: True)
    from servefit.cli.app import main

    main()
'''


@pytest.fixture(scope="session")
def installed(installed_example: Installed) -> Path:
    return installed_example("p95-per-watt")


def servefit(folder: Path, plugins: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_servefit(folder / "home", plugins, *arguments)


def powered(folder: Path, plugins: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = folder / "powered.py"
    program.write_text(POWERED)
    return run_servefit(folder / "home", plugins, *arguments, program=(program, folder / "sys"))


def document(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.integration
def test_a_job_is_about_what_the_plug_in_says(installed: Path, model: Path, tmp_path: Path) -> None:
    asked = ("recommend", model, "--goal", "p95-per-watt", "--rate", "200/s", *QUICK, "--format", "json")
    said = document(powered(tmp_path, installed, *asked))
    assert said["goal"] == "p95-per-watt"
    assert said["status"] == "COMPLETED"
    [recommended] = said["recommendations"]
    assert recommended["backend"] == "xgboost"
    assert not any("no test shows" in warning for warning in said["warnings"])


@pytest.mark.integration
def test_the_plug_in_is_completed_and_part_of_the_schema(installed: Path, tmp_path: Path) -> None:
    schema = document(servefit(tmp_path, installed, "schema"))
    assert "p95-per-watt" in schema["properties"]["goal"]["enum"]
    without = document(servefit(tmp_path, tmp_path, "schema"))
    assert "p95-per-watt" not in without["properties"]["goal"]["enum"]
    refused = servefit(tmp_path, tmp_path, "recommend", "model.ubj", "--goal", "p95-per-watt")
    assert refused.returncode == 2
    assert "goal: 'p95-per-watt' is not known" in refused.stderr


@pytest.mark.integration
def test_the_plug_in_keeps_the_promises_of_an_objective(installed: Path, tmp_path: Path) -> None:
    assert passed_of_contract(EXAMPLE / "test_objective.py", installed, tmp_path) >= 14


@pytest.mark.integration
@pytest.mark.parametrize(
    ("instead", "said"),
    [("float('nan')", r"of_trial\(\) gave nan, which cannot be ranked"), ("1 / 0", "raised ZeroDivisionError")],
)
def test_a_plug_in_that_fails_ends_the_job_with_its_name_and_its_package(
    installed: Path, model: Path, tmp_path: Path, instead: str, said: str
) -> None:
    wrong = tmp_path / "plugins"
    shutil.copytree(installed, wrong, ignore=shutil.ignore_patterns("__pycache__"))
    source = wrong / "servefit_p95_per_watt.py"
    right = "return 1000 / p95_ms / watts if p95_ms and watts else None"
    assert right in source.read_text()
    source.write_text(source.read_text().replace(right, f"return {instead}"))
    asked = ("recommend", model, "--goal", "p95-per-watt", "--name", "wrong", *QUICK)
    ended = powered(tmp_path, wrong, *asked)
    assert ended.returncode == 4
    assert re.search(rf"goal 'p95-per-watt' of servefit-p95-per-watt 1\.0 failed: .*{said}", ended.stderr)
    assert ended.stdout == ""
    listed = document(servefit(tmp_path, wrong, "jobs", "--format", "json"))
    assert [job["status"] for job in listed["jobs"]] == ["STOPPED"]
    mended = document(powered(tmp_path, installed, "resume", "wrong", "--format", "json"))
    assert mended["status"] == "COMPLETED"


@pytest.mark.integration
def test_a_job_whose_plug_in_is_gone_is_listed_and_shown_and_says_what_is_missing(
    installed: Path, model: Path, tmp_path: Path
) -> None:
    document(
        powered(
            tmp_path, installed, "recommend", model, "--goal", "p95-per-watt", "--name", "j", *QUICK, "--format", "json"
        )
    )
    listed = document(servefit(tmp_path, tmp_path, "jobs", "--format", "json"))
    assert [job["status"] for job in listed["jobs"]] == ["COMPLETED"]
    shown = servefit(tmp_path, tmp_path, "show", "j")
    assert shown.returncode == 0
    assert "goal 'p95-per-watt' is not known" in shown.stderr


def test_what_the_documentation_shows_is_the_plug_in_as_it_is() -> None:
    page = (ROOT / "docs" / "adding-an-objective.md").read_text()
    shown = re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    files = [
        (EXAMPLE / name).read_text() for name in ("servefit_p95_per_watt.py", "test_objective.py", "pyproject.toml")
    ]
    assert files[0] in [block for _, block in shown]
    for _, block in shown:
        assert any(block in text for text in files), block
