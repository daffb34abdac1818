"""Jobs that are kept, from the command line: listed, shown, stopped, killed and taken up again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.slot.holding import measuring_slot

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

ALONE = ("--backend", "xgboost", "--profile", "local-1c", "--no-http", "--allow-noise")


@pytest.mark.usefixtures("kept")
def test_jobs_are_listed_and_can_be_filtered(servefit: Servefit) -> None:
    (job,) = [one for one in servefit("jobs", "--format", "json").document["jobs"] if one["job"] == "listed"]
    assert (job["status"], job["job_type"], job["owner"]) == ("COMPLETED", "Advanced", None)

    def names(*filters: str) -> list[str]:
        return [one["job"] for one in servefit("jobs", *filters, "--format", "json").document["jobs"]]

    assert "listed" in names("--status", "completed", "--model", "booster")
    assert "listed" not in names("--status", "failed")
    assert "listed" not in names("--model", "nothing-like-it")
    assert len(names("--most", "1")) == 1
    assert "listed" in servefit("jobs").stdout


def test_a_kept_job_is_shown_as_it_was_printed(servefit: Servefit, kept: dict[str, Any]) -> None:
    assert servefit("show", "listed", "--format", "json").document == kept
    assert servefit("show", "listed").stdout.strip().startswith("Deploy local-1c with xgboost")


def test_steps_are_listed_with_what_came_of_them_and_can_be_filtered(servefit: Servefit, kept: dict[str, Any]) -> None:
    steps = servefit("steps", "listed", "--format", "json").document["steps"]
    assert [one["step"] for one in steps] == list(range(1, len(steps) + 1))
    assert {one["kind"] for one in steps} >= {"compilation", "load_test"}
    for one in steps:
        assert one["status"] == "COMPLETED"
        assert one["began_at"] <= one["ended_at"]
    tests = servefit("steps", "listed", "--kind", "load_test", "--format", "json").document["steps"]
    assert all(one["metrics"]["max_invocations"] > 0 and one["configuration"]["backend"] == "xgboost" for one in tests)
    assert len(tests) + sum(one["kind"] == "confirmation" for one in steps) == kept["tests"]
    assert servefit("steps", "listed", "--status", "failed", "--format", "json").document["steps"] == []
    assert servefit("steps", "listed", "--backend", "onnxruntime", "--format", "json").document["steps"] == []
    assert "load_test" in servefit("steps", "listed").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nothing"), "job: 'nothing' is not known"),
        (("steps", "listed", "--status", "done"), "status: 'done' is not known"),
        (("steps", "listed", "--kind", "loadtest"), "did you mean 'load_test'"),
        (("jobs", "--status", "over"), "status: 'over' is not known"),
        (("resume", "listed"), "is over: COMPLETED"),
        (("jobs", "--storage", "nonsense"), "storage: '***' is not the URL of a database"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_what_cannot_be_done_is_said_in_one_line(servefit: Servefit, arguments: tuple[str, ...], said: str) -> None:
    ended = servefit(*arguments)
    assert ended.status == 2
    assert said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_database_that_cannot_be_opened_is_no_mistake_in_what_was_asked(servefit: Servefit) -> None:
    ended = servefit("jobs", "--storage", "sqlite:////nowhere/jobs.db")
    assert ended.status == 4
    assert "unable to open database file" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.usefixtures("kept")
def test_stopping_a_job_that_nobody_works_on_says_so(servefit: Servefit) -> None:
    ended = servefit("stop", "listed")
    assert (ended.status, ended.stdout.strip()) == (0, "nobody works on job listed")


def _started(state: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "servefit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SERVEFIT_HOME": str(state)},
    )


def _wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"it ended without saying {text!r}")


def test_a_killed_job_is_taken_up_again_and_measures_nothing_twice(
    servefit: Servefit, sources: Sources, state: Path
) -> None:
    asked = (
        *ALONE,
        "--max-tests",
        "4",
        "--name",
        "killed",
    )
    with _started(state, "recommend", sources.xgboost, *asked) as process:
        _wait_for(process, "test 2: ")
        process.send_signal(signal.SIGKILL)
    before = servefit("steps", "killed", "--format", "json").document["steps"]
    assert servefit("show", "killed", "--format", "json").document["status"] == "IN_PROGRESS"
    with measuring_slot("another job"):
        assert servefit("resume", "killed", "--no-wait").status == 4
    ended = servefit("resume", "killed", "--format", "json")
    assert ended.status == 0, ended.stderr
    assert ended.document["status"] == "COMPLETED"
    after = servefit("steps", "killed", "--format", "json").document["steps"]
    finished = [one for one in before if one["status"] == "COMPLETED"]
    assert [one for one in after if one["step"] in {step["step"] for step in finished}] == finished
    cut = [one for one in after if one["reason"] == "interrupted"]
    assert len(cut) <= 1
    measured = [
        json.dumps(one["configuration"]) for one in after if one["kind"] == "load_test" and one["status"] == "COMPLETED"
    ]
    assert len(measured) == len(set(measured))


def test_a_second_process_is_told_who_works_on_a_job_and_can_stop_it(
    servefit: Servefit, sources: Sources, state: Path
) -> None:
    asked = (
        *ALONE,
        "--budget",
        "60s",
        "--name",
        "shared",
    )
    with _started(state, "recommend", sources.xgboost, *asked, "--format", "json") as process:
        _wait_for(process, "test 1: ")
        second = servefit("resume", "shared")
        assert second.status == 2
        assert f"is being worked on by process {process.pid}" in second.stderr
        assert servefit("stop", "shared").stdout.strip() == "job shared stops after the step that runs"
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert json.loads(stdout)["status"] == "STOPPED"
    assert json.loads(stdout)["recommendations"]
