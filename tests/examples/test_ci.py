"""The workflows in examples/ci are carried out as a runner does, without the installation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "ci"
WORKFLOW = yaml.safe_load((EXAMPLE / "servefit.yml").read_text())
GITLAB = yaml.safe_load((EXAMPLE / "gitlab-ci.yml").read_text())["servefit"]
BASH = ("bash", "--noprofile", "--norc", "-eo", "pipefail")  # GitHub's meaning of "shell: bash"

SHORT = "--backend xgboost --profile local-1c --batch 1 --max-tests 1 --budget 20s --no-http --allow-noise"
"""Options of a job of a few seconds."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """A build that ended with the status of the step that failed, or 0."""

    status: int
    log: str
    summary: str


def is_installation(step: dict[str, Any]) -> bool:
    """Actions of GitHub's, and steps that install packages, are not for a test to carry out."""
    return "uses" in step or step["run"].startswith("pip install")


def build(folder: Path, sla: str = "p95=500ms", first_in_path: Path = Path(sys.executable).parent) -> Build:
    """Carry out the workflow in ``folder`` for a limit of its own, with the commands in ``first_in_path`` first."""
    said, summary = list[str](), folder / "summary.md"
    summary.touch()
    outputs: dict[str, str] = {}
    variables = {**os.environ, **resolved(WORKFLOW["env"], folder, outputs), "SLA": sla, "OPTIONS": SHORT}
    variables["PATH"] = f"{first_in_path}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for step in WORKFLOW["jobs"]["sla"]["steps"]:
        if is_installation(step):
            continue
        written = folder / "outputs"
        written.write_text("")
        ended = subprocess.run(
            [*BASH, "-c", step["run"]],
            cwd=folder,
            env={
                **variables,
                **resolved(step.get("env", {}), folder, outputs),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_OUTPUT": str(written),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        said.append(ended.stdout)
        for line in written.read_text().splitlines():
            name, _, value = line.partition("=")
            outputs[f"steps.{step['id']}.outputs.{name}"] = value
        if ended.returncode and not step.get("continue-on-error"):
            return Build(status=ended.returncode, log="".join(said), summary=summary.read_text())
    return Build(status=0, log="".join(said), summary=summary.read_text())


def resolved(variables: dict[str, str], folder: Path, outputs: dict[str, str]) -> dict[str, str]:
    """``variables`` with GitHub's expressions replaced; of these the workflow uses two kinds."""
    known = {"github.workspace": str(folder), **outputs}
    return {
        name: re.sub(r"\$\{\{ (.+?) \}\}", lambda match: known[match[1]], value) for name, value in variables.items()
    }


def training(*, trees: int) -> str:
    """The example's training, of a model of another size."""
    text = (EXAMPLE / "train.py").read_text()
    assert "TREES = 50\n" in text
    return text.replace("TREES = 50\n", f"TREES = {trees}\n")


@pytest.mark.integration
def test_a_model_that_meets_its_sla_passes(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(training(trees=10))
    ended = build(tmp_path)
    assert ended.status == 0, ended.log
    assert "**p95=500ms at 200/s is met.**" in ended.summary
    assert "P95 <= 500 ms at 200 requests/s is met: deploy local-1c as a library with xgboost" in ended.summary
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.integration
def test_a_model_that_has_become_slow_fails_the_build_with_status_3(tmp_path: Path) -> None:
    # Of xgboost a tree takes some 0.4 us, so this is over 100 us a row.
    (tmp_path / "train.py").write_text(training(trees=400))
    ended = build(tmp_path, sla="p95=10us")
    assert ended.status == 3, ended.log
    assert "**p95=10us at 200/s is not met" in ended.summary
    assert "Nothing measured meets p95 <= 10 us at 200 requests/s: nearest is" in ended.summary
    # A run that surely fails ends early, maybe before its p95 is known.
    assert re.search(r"(Measured|In a single test of [\d,]+ requests:) p50 (between )?[\d.,]+ [um]s", ended.summary)
    assert "## Recommendations" in ended.summary
    assert "## Host" not in ended.summary, "the summary is to be read; the rest is in report.html"
    assert "::error::p95=10us at 200/s is not met" in ended.log
    assert "<html" in (tmp_path / "report.html").read_text()


@pytest.mark.integration
def test_a_model_that_cannot_be_read_fails_the_build_with_status_2_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("open('model.ubj', 'w').write('nonsense'); open('payload.csv', 'w').write('1')")
    ended = build(tmp_path)
    assert ended.status == 2, ended.log
    assert re.search(r"Nothing was measured:\*\* .*model\.ubj", ended.summary)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("statuses", "status", "said"),
    [
        ("5 5", 0, "::warning::The runner was too noisy to tell"),
        ("5 3", 3, "::error::p95=500ms at 200/s is not met"),
        ("5 0", 0, "**p95=500ms at 200/s is met.**"),
        ("4", 4, "::error::servefit could not measure the model"),
    ],
)
def test_noise_is_given_a_second_chance_and_then_a_warning(
    tmp_path: Path, statuses: str, status: int, said: str
) -> None:
    (tmp_path / "train.py").write_text("")
    # Noise cannot be had on demand, so what stands for servefit ends with one status after the other.
    (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses.split()))
    commands = tmp_path / "commands"
    commands.mkdir()
    (commands / "servefit").write_text(
        '#!/bin/bash\n[ "$1" = recommend ] || exit 0\n'
        'status=$(head -n 1 statuses); sed -i 1d statuses; exit "$status"\n'
    )
    (commands / "servefit").chmod(0o755)
    ended = build(tmp_path, first_in_path=commands)
    assert ended.status == status, ended.log
    assert said in ended.log + ended.summary
    assert (tmp_path / "statuses").read_text() == ""


@pytest.mark.integration
def test_gitlab_tells_noise_from_a_failure(tmp_path: Path) -> None:
    (tmp_path / "model.ubj").write_text("nonsense")
    (tmp_path / "payload.csv").write_text("1")
    variables = {**GITLAB["variables"], "SERVEFIT_HOME": str(tmp_path / "home"), "CI_JOB_ID": "1"}
    [script] = GITLAB["script"]
    ended = subprocess.run(
        [*BASH, "-c", script],
        cwd=tmp_path,
        env={**os.environ, **variables, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "model.ubj" in ended.stderr
    assert GITLAB["retry"]["exit_codes"] == 5
    assert GITLAB["allow_failure"]["exit_codes"] == [5, 6]


def test_what_the_documentation_shows_is_the_workflow_as_it_is() -> None:
    shown = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE | re.DOTALL)
    files = [(EXAMPLE / name).read_text() for name in ("servefit.yml", "gitlab-ci.yml")]
    assert len(shown) >= 2
    for block in shown:
        assert any(block in text for text in files), block
