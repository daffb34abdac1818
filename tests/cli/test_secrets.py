"""Secrets in the environment of workers are not printed, logged, reported or kept, except in files that only their
owner reads.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Finished, Servefit, Sources

pytestmark = pytest.mark.integration

SECRETS = ("hunter2-of-the-first", "hunter2-of-the-second", "s3kr1t-w1thout-a-name")
"""Two values of a variable whose name says it, and one of a variable that is marked."""

FORMATS = ("table", "json", "csv", "markdown")


def without_secrets(ended: Finished) -> Finished:
    for value in SECRETS:
        assert value not in ended.stdout
        assert value not in ended.stderr
    return ended


def readable_by_others(folder: Path) -> list[Path]:
    """The files below ``folder`` that hold a secret and that somebody else may read."""
    return [path for path in holding_secrets(folder) if path.stat().st_mode & 0o077]


def holding_secrets(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    values = [form for value in SECRETS for form in (value.encode(), b64encode(value.encode()))]
    return [path for path in files if any(value in path.read_bytes() for value in values)]


# Where tests are handed from one process to another, those of a module need not follow each other: it would be made
# twice, and a name can be used once.
@pytest.fixture(scope="session")
def job(servefit: Servefit, sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a job called "secretive" has written to, with its report, its configuration and its bundle."""
    folder = tmp_path_factory.mktemp("secretive")
    asked = ("--env", f"API_TOKEN={SECRETS[0]},{SECRETS[1]}", "--env", f"PLAIN={SECRETS[2]}", "--secret-env", "PLAIN")
    quick = (
        "--backend",
        "xgboost",
        "--max-tests",
        "2",
        "--profile",
        "local-1c",
        "--batch",
        "1",
        "--deploy",
        "library",
        "--budget",
        "10s",
        "--no-http",
        "--allow-noise",
    )
    ended = servefit(
        "recommend", sources.xgboost, "--name", "secretive", *asked, *quick, "--sla", "p95=5s",
        "--save-config", folder / "job.yaml", "--log-level", "debug", "--format", "json",
    )  # fmt: skip
    assert ended.status == 0, ended.stderr
    (folder / "stdout").write_text(ended.stdout)
    (folder / "stderr").write_text(ended.stderr)
    for suffix in ("html", "json", "csv", "md"):
        assert servefit("report", "secretive", "-o", folder / f"report.{suffix}").status == 0
    exported = without_secrets(servefit("export", "secretive", "-o", folder / "bundle"))
    assert exported.status == 0, exported.stderr
    return folder


def test_nothing_that_a_job_prints_or_writes_holds_a_secret_but_files_of_its_owners_own(job: Path, state: Path) -> None:
    assert readable_by_others(job) == []
    assert readable_by_others(state) == []
    assert [path.name for path in holding_secrets(state)] == ["secrets.json"]
    assert {path.name for path in holding_secrets(job)} == {"secrets.env", "secret.yaml"}


@pytest.mark.parametrize("command", ["show", "steps"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.usefixtures("job")
def test_nor_does_what_is_said_of_it_later(servefit: Servefit, command: str, form: str) -> None:
    assert without_secrets(servefit(command, "secretive", "--format", form)).stdout


def test_values_that_were_tried_are_told_apart(job: Path) -> None:
    document = json.loads((job / "stdout").read_text())
    assert {recommendation["environment"]["API_TOKEN"] for recommendation in document["recommendations"]} <= {
        "***1",
        "***2",
    }
    assert {recommendation["environment"]["PLAIN"] for recommendation in document["recommendations"]} == {"***"}
