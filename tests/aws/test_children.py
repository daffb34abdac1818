"""Processes that the API's server starts: where they look for modules, and what they know of the server."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from servefit.aws.endpoints.commands import serving_command
from servefit.aws.jobs.child import JobProcess
from servefit.aws.jobs.files import JobFiles
from servefit.aws.programs.server import server_for_programs
from servefit.cli.commands import app

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def uploaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once code ran which somebody uploaded into the folder that the server was started in: the
    objects servefit/__init__.py and typer/__init__.py of buckets, with --s3-root in that folder."""
    told = tmp_path / "told"
    for bucket in ("servefit", "typer", "numpy"):
        (tmp_path / bucket).mkdir()
        (tmp_path / bucket / "__init__.py").write_text(f"open({str(told)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SERVEFIT_HOME", str(tmp_path / "home"))
    return told


@pytest.mark.integration
def test_an_endpoint_runs_no_code_that_was_uploaded(uploaded: Path) -> None:
    serving = serving_command("m.ubj", "local-1c", {}, name="m", trust_pickle=False)
    ended = subprocess.run([*serving.arguments, "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not uploaded.exists()


@pytest.mark.integration
def test_a_job_runs_no_code_that_was_uploaded(uploaded: Path, tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "job")
    files.folder.mkdir()
    JobProcess.of(files, None, module="servefit.aws.jobs.process").wait(lambda: True)
    assert "plan.json" in (files.folder / "stderr.txt").read_text(), "it came as far as to look for its plan"
    assert not uploaded.exists()


@pytest.mark.integration
def test_a_server_for_programs_runs_no_code_that_was_uploaded(uploaded: Path) -> None:
    with server_for_programs({}, secret=None) as use:
        assert use.variables["AWS_ENDPOINT_URL"]
    assert not uploaded.exists()


def test_what_a_server_starts_is_not_told_what_requests_are_signed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNED_WITH", "deep")
    told = []
    monkeypatch.setattr("servefit.aws.server.serve", lambda options, **_: told.append((options, dict(os.environ))))
    environment = {"SERVEFIT_HOME": str(tmp_path), "SIGNED_WITH": "deep"}
    ended = CliRunner().invoke(app, ["api", "--secret-env", "SIGNED_WITH"], env=environment)
    assert ended.exit_code == 0, ended.output
    [(options, known)] = told
    assert options.secret.secret == "deep"
    assert "SIGNED_WITH" not in known
