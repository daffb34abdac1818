"""Two versions beside each other: how the command ends, and which folders it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.claims.versions import MOVED, NOT_MEASURED, main
from benchmarks.versions.figures import MEASURES

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
ALL_BUT_HELP = [f"--skip={name}" for name in MEASURES if name != "help"]
WASTE_TIME = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"

MakeCheckout = Callable[..., Path]


@pytest.fixture
def checkout(tmp_path: Path) -> MakeCheckout:
    """Makes a folder that has this tree's servefit, with a Python that does something else ``first``."""

    def make(name: str, *, first: str = "") -> Path:
        folder = tmp_path / name
        python = folder / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        (folder / "src").symlink_to(REPOSITORY / "src")
        python.write_text(f'#!/bin/sh\n{first}\nPYTHONPATH="{folder}/src" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        return folder

    return make


@pytest.mark.thorough
def test_a_tree_beside_itself_has_not_moved(checkout: MakeCheckout, capsys: pytest.CaptureFixture[str]) -> None:
    same = checkout("same")
    assert main([str(same), str(same), "--rounds", "1", *ALL_BUT_HELP]) == 0
    header, line = capsys.readouterr().out.splitlines()
    assert header.split()[:4] == ["figure", "old", "new", "new"]
    assert line.startswith("servefit --help, CPU (ms)")
    assert line.endswith("undecided")


@pytest.mark.thorough
def test_a_version_that_starts_more_slowly_is_told_by_the_exit_status(
    checkout: MakeCheckout, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = checkout("old"), checkout("new", first=WASTE_TIME)
    assert main([str(old), str(new), "--rounds", "3", "--format", "json", *ALL_BUT_HELP]) == MOVED
    (figure,) = json.loads(capsys.readouterr().out)["figures"].values()
    assert figure["verdict"] == "beyond"
    assert figure["ci95"][0] > 1.03


def test_a_folder_without_an_environment_is_refused(
    checkout: MakeCheckout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(checkout("old")), str(tmp_path / "empty"), "--rounds", "1", *ALL_BUT_HELP]) == NOT_MEASURED
    assert "has no .venv/bin/python" in capsys.readouterr().err


def test_an_environment_with_another_folders_servefit_is_refused(
    checkout: MakeCheckout, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = checkout("old"), checkout("new")
    (new / ".venv/bin/python").write_text((old / ".venv/bin/python").read_text())
    assert main([str(old), str(new), "--rounds", "1", *ALL_BUT_HELP]) == NOT_MEASURED
    assert "install this folder into it" in capsys.readouterr().err
