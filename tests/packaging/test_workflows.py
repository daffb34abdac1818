"""The workflows of GitHub and GitLab run all modes of scripts/test, with each Python that is supported."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOWEST = PROJECT["requires-python"].removeprefix(">=")
PYTHONS = [f"3.{minor}" for minor in range(int(LOWEST.removeprefix("3.")), 15)]
"""Up to 3.14, the newest that there is."""


def github() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    jobs: dict[str, dict[str, Any]] = document["jobs"]
    return jobs


def gitlab() -> dict[str, dict[str, Any]]:
    document = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    return {name: job for name, job in document.items() if "script" in job}


def github_commands(job: dict[str, Any]) -> Iterator[str]:
    """What a job runs, once for each of its Pythons."""
    pythons = job.get("strategy", {}).get("matrix", {}).get("python", [""])
    for python in pythons:
        for step in job["steps"]:
            if "run" in step:
                yield step["run"].replace("${{ matrix.python }}", python)


def gitlab_commands(job: dict[str, Any]) -> Iterator[str]:
    for matrix in job.get("parallel", {}).get("matrix", [{"PYTHON": [""]}]):
        for python in matrix["PYTHON"]:
            for line in job["script"]:
                yield line.replace("$PYTHON", python)


COMMANDS = {
    "github": sorted(command for job in github().values() for command in github_commands(job)),
    "gitlab": sorted(command for job in gitlab().values() for command in gitlab_commands(job)),
}


def test_the_classifiers_name_the_pythons_that_the_tests_have_passed_with() -> None:
    named = [classifier for classifier in PROJECT["classifiers"] if "Python :: 3." in classifier]
    assert named == [f"Programming Language :: Python :: {python}" for python in PYTHONS[: len(named)]]
    assert named


@pytest.mark.parametrize("forge", COMMANDS)
def test_each_way_of_testing_and_each_python_is_run_once(forge: str) -> None:
    expected = [
        f"scripts/test{option}" for option in ("", " --coverage", " --lowest", " --thorough", " --thorough --newest")
    ]
    assert COMMANDS[forge] == sorted([*expected, *(f"scripts/test --python {python}" for python in PYTHONS)])


@pytest.mark.parametrize("forge", COMMANDS)
def test_each_command_is_one_that_the_script_knows(forge: str) -> None:
    known = re.findall(r"^# +(--[a-z]+)", (ROOT / "scripts/test").read_text(), flags=re.MULTILINE)
    for command in COMMANDS[forge]:
        script, *arguments = command.split()
        assert (ROOT / script).is_file()
        assert not arguments or arguments[0] in known


def test_each_python_runs_in_an_image_that_has_it() -> None:
    assert github()["python"]["container"] == "python:${{ matrix.python }}"
    assert gitlab()["python"]["image"] == "python:$PYTHON"
    others = [job["container"] for name, job in github().items() if name != "python"]
    others.append(yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())["default"]["image"])
    assert set(others) == {f"python:{LOWEST}"}
