"""Shell completion, asked for as the shells' scripts ask."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from servefit.backends.finding.registry import backend_names
from servefit.cli.commands import app
from servefit.cli.jobs import STEP_KINDS
from servefit.search.request.job_request import GOALS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit

pytestmark = pytest.mark.integration


@pytest.fixture
def state_with_jobs(tmp_path: Path) -> Path:
    for name in ("fraud-1", "fraud-2", "churn", ".half-written"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    return tmp_path


def bash(servefit: Servefit, line: str, home: Path) -> list[str]:
    """What bash is told for ``line``, whose last word is being typed."""
    words = line.split(" ")
    ended = servefit(
        SERVEFIT_HOME=str(home), _SERVEFIT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1)
    )
    assert (ended.status, ended.stderr) == (0, "")
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "completions"),
    [
        ("servefit reco", ["recommend"]),
        ("servefit show ", ["churn", "fraud-1", "fraud-2"]),
        ("servefit scale fr", ["fraud-1", "fraud-2"]),
        pytest.param("servefit recommend --conf", ["--config"], marks=pytest.mark.thorough),
        pytest.param("servefit recommend m.ubj --backend ", list(backend_names()), marks=pytest.mark.thorough),
        (
            "servefit compile m.ubj -b onnx",
            ["onnxruntime", "onnxruntime/int8-dynamic", "onnxruntime/int8-static"],
        ),
        pytest.param("servefit recommend m.ubj --profile local-1c", ["local-1c"], marks=pytest.mark.thorough),
        pytest.param("servefit recommend --goal ", list(GOALS), marks=pytest.mark.thorough),
        ("servefit recommend --config gone.yaml --flat-invocations s", ["stop"]),
        pytest.param(
            "servefit jobs --status ", ["in_progress", "completed", "failed", "stopped"], marks=pytest.mark.thorough
        ),
        pytest.param("servefit scale fraud-1 --policy ", ["hpa", "keda"], marks=pytest.mark.thorough),
        pytest.param("servefit recommend m.ubj --deploy ", ["endpoint", "library"], marks=pytest.mark.thorough),
        pytest.param("servefit steps fraud-1 --kind ", list(STEP_KINDS), marks=pytest.mark.thorough),
        pytest.param(
            "servefit show fraud-1 --format ", ["table", "json", "csv", "markdown"], marks=pytest.mark.thorough
        ),
    ],
)
def test_names_and_words_are_completed(
    servefit: Servefit, state_with_jobs: Path, line: str, completions: list[str]
) -> None:
    assert bash(servefit, line, state_with_jobs) == completions


@pytest.mark.thorough
def test_zsh_and_fish_are_told_the_same(servefit: Servefit, state_with_jobs: Path) -> None:
    home = str(state_with_jobs)
    zsh = servefit(SERVEFIT_HOME=home, _SERVEFIT_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="servefit show fr")
    assert zsh.stdout == '_arguments \'*: :(("fraud-1"\n"fraud-2"))\'\n'
    fish = {"_SERVEFIT_COMPLETE": "complete_fish", "SERVEFIT_HOME": home}
    asked = servefit(**fish, _TYPER_COMPLETE_FISH_ACTION="get-args", _TYPER_COMPLETE_ARGS="servefit show fr")
    assert asked.stdout == "fraud-1\nfraud-2\n"
    for line, status in (("servefit show fr", 0), ("servefit recommend mod", 1)):
        ended = servefit(**fish, _TYPER_COMPLETE_FISH_ACTION="is-args", _TYPER_COMPLETE_ARGS=line)
        assert (ended.status, ended.stdout, ended.stderr) == (status, "", "")


def test_an_option_and_what_is_said_about_it_is_one_line_for_fish(servefit: Servefit) -> None:
    asked = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "servefit recommend --"}
    lines = servefit(_SERVEFIT_COMPLETE="complete_fish", **asked).stdout.splitlines()
    assert all(line.startswith("--") and "\t" in line for line in lines)
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    assert len(lines) >= len([one for one in group.commands["recommend"].params if one.param_type_name == "option"])


def test_what_is_said_about_options_has_no_apostrophes_which_zsh_drops() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    helps = [getattr(option, "help", None) for command in group.commands.values() for option in command.params]
    assert [text for text in helps if text and "'" in text] == []


@pytest.mark.parametrize("line", ["servefit show ", "servefit recommend --profile "])
def test_a_state_folder_that_cannot_be_read_completes_to_nothing(servefit: Servefit, tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text("in the way")
    assert bash(servefit, line, tmp_path / "file") == []


def test_a_file_of_profiles_with_a_mistake_completes_to_nothing(servefit: Servefit, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text("[profiles")
    assert bash(servefit, "servefit recommend --profile ", tmp_path) == []


def test_completing_loads_no_library(state_with_jobs: Path) -> None:
    program = """
import sys
from servefit.cli import commands, completion
names = [*completion.job_names(""), *completion.profile_names("local"), *completion.backend_names("")]
print(sorted({"numpy", "optuna", "sqlalchemy", "xgboost", "onnxruntime", "rich"} & sys.modules.keys()))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SERVEFIT_HOME": str(state_with_jobs)},
    )
    assert ended.stdout == "[]\n"


def test_the_script_for_bash_works_in_bash(state_with_jobs: Path, tmp_path: Path) -> None:
    command = tmp_path / "bin" / "servefit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m servefit "$@"\n')
    command.chmod(0o755)
    script = f"""
export SERVEFIT_HOME={shlex.quote(str(state_with_jobs))} PATH={shlex.quote(str(command.parent))}:$PATH
eval "$(servefit --show-completion)"
COMP_WORDS=(servefit show fr) COMP_CWORD=2
_servefit_completion servefit
echo "${{COMPREPLY[@]}}"
"""
    ended = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr) == ("fraud-1 fraud-2\n", "")
