"""The core works where the folders of the annexes are deleted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.report.story import Story, simulated_host
from tests.tiny_model import tiny_model

from servefit.annexed import FOLDERS
from servefit.search.request.job_request import JobRequest
from servefit.search.storage.header import JobHost, PlanRequest
from servefit.search.storage.jobs import JobStore

PACKAGE = Path(__file__).parents[2] / "src/servefit"
ALL = [folder for folders in FOLDERS.values() for folder in folders]
FIRST = {folders[0] for folders in FOLDERS.values()}
OF_ANNEXES = {"fleet", "agent", "api"}
"""The commands that are gone with them."""


@dataclass(frozen=True)
class Core:
    """A copy of servefit without some folders, with a state folder of its own."""

    folder: Path

    @classmethod
    def copied(cls, folder: Path, without: list[str]) -> Core:
        shutil.copytree(PACKAGE, folder / "servefit")
        for package in without:
            shutil.rmtree(folder / package.replace(".", "/"))
        return cls(folder)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "SERVEFIT_HOME": str(self.home), "COLUMNS": "200"},
        )

    def servefit(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "servefit", *arguments)

    def out(self, *arguments: str | Path) -> str:
        ended = self.servefit(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    return Core.copied(tmp_path_factory.mktemp("core"), ALL)


def commands(core: Core) -> set[str]:
    listed = core.out("--help").partition("\nCommands:\n")[2]
    return {line.split()[0] for line in listed.splitlines()}


@pytest.mark.integration
def test_the_commands_of_an_annex_are_gone_with_it(core: Core) -> None:
    left = commands(core)
    assert len(left) > 15
    assert not left & OF_ANNEXES
    assert "No such command 'fleet'" in core.servefit("fleet", "hosts").stderr


@pytest.mark.integration
@pytest.mark.parametrize(
    "folder", [folder if folder in FIRST else pytest.param(folder, marks=pytest.mark.thorough) for folder in ALL]
)
def test_an_annex_of_which_one_folder_is_deleted_is_gone(tmp_path: Path, folder: str) -> None:
    left = commands(Core.copied(tmp_path, [folder]))
    gone = {"fleet", "agent"} if folder in FOLDERS["fleet"] else {"api"}
    assert OF_ANNEXES - left == gone


@pytest.mark.integration
def test_python_has_all_names_but_those_of_the_annex(core: Core) -> None:
    program = "from servefit import *; import servefit; print(*dir(servefit), hasattr(servefit, 'sagemaker'))"
    *names, has_sagemaker = core.python("-c", program).stdout.split()
    assert {"recommend", "load_job", "errors"} <= set(names)
    assert not {"right_size", "Phase", "sagemaker"} & set(names)
    assert has_sagemaker == "False"


@pytest.mark.thorough
@pytest.mark.integration
def test_a_job_is_run_shown_and_reported(core: Core) -> None:
    model = tiny_model(core.folder / "tiny.ubj")
    quick = (
        "--backend",
        "xgboost",
        "--max-tests",
        "1",
        "--batch",
        "1",
        "--profile",
        "local-1c",
        "--no-http",
        "--allow-noise",
    )
    ran = json.loads(core.out("recommend", model, "--name", "tiny", *quick, "--quiet", "--format", "json"))
    assert ran["recommendations"][0]["backend"] == "xgboost"
    assert json.loads(core.out("show", "tiny", "--format", "json")) == ran
    core.out("report", "tiny", "-o", core.folder / "tiny.html")
    assert (core.folder / "tiny.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.integration
@pytest.mark.parametrize(
    "arguments",
    [
        ("recommend", "tiny.ubj", "--fleet"),
        pytest.param(("show", "farm"), marks=pytest.mark.thorough),
        pytest.param(("load", "http://127.0.0.1:9", "--from", "*"), marks=pytest.mark.thorough),
        pytest.param(("export", "farm", "-o", "balancer", "--balancer", "nginx"), marks=pytest.mark.thorough),
        pytest.param(("report", "farm", "--format", "json"), marks=pytest.mark.thorough),
        pytest.param(("resume", "farm"), marks=pytest.mark.thorough),
    ],
    ids=" ".join,
)
def test_what_only_an_annex_can_do_says_what_is_missing(
    core: Core, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(core.home))
    tiny_model(core.folder / "tiny.ubj")
    begin_job_on_a_fleet("farm")
    ended = core.servefit(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.endswith("needs servefit.annexes.fleet, which is not here; install servefit again\n")
    assert len(ended.stderr.splitlines()) == 1


def begin_job_on_a_fleet(name: str) -> None:
    with JobStore.open(None) as store:
        if name not in [job.name for job in store.overview()]:
            host = JobHost(name="one", host=simulated_host(), profiles=(), host_class="")
            story = Story.of(JobRequest(name=name), hosts=(host,), plan=PlanRequest())
            store.create(story.header)
