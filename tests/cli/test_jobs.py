"""Kept jobs on the command line: listed, shown, stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, get_args

import pytest

from servefit.cli.jobs import STEP_KINDS
from servefit.profiler.machine.slot.holding import measuring_slot
from servefit.search.storage.steps import StepKind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

pytestmark = pytest.mark.integration

ALONE = ("--backend", "xgboost", "--profile", "local-1c", "--no-http", "--allow-noise")


@pytest.mark.usefixtures("simulated")
def test_jobs_are_listed_and_can_be_filtered(servefit: Servefit) -> None:
    (job,) = [job for job in servefit("jobs", "--format", "json").document["jobs"] if job["job"] == "simulated"]
    assert (job["status"], job["job_type"], job["owner"]) == ("COMPLETED", "Advanced", None)

    def names(*filters: str) -> list[str]:
        return [job["job"] for job in servefit("jobs", *filters, "--format", "json").document["jobs"]]

    assert "simulated" in names("--status", "completed", "--model", "fraud")
    assert "simulated" not in names("--status", "failed")
    assert "simulated" not in names("--model", "nothing-like-it")
    assert len(names("--most", "1")) == 1
    assert "simulated" in servefit("jobs").stdout


@pytest.mark.usefixtures("simulated")
def test_an_empty_list_says_that_it_is_empty(servefit: Servefit, tmp_path: Path) -> None:
    fresh = servefit("jobs", SERVEFIT_HOME=str(tmp_path))
    assert fresh.stderr == "there are no jobs yet; servefit recommend begins one\n"
    assert servefit("jobs", "--model", "nothing-like-it").stderr == "no job is like that\n"
    none = servefit("steps", "simulated", "--status", "failed", "--format", "json")
    assert (none.document["steps"], none.stderr) == ([], "job simulated has no step like that\n")


def test_a_kept_job_is_shown_as_it_was_printed(servefit: Servefit, kept: dict[str, Any]) -> None:
    assert servefit("show", "listed", "--format", "json").document == kept
    assert servefit("show", "listed").stdout.strip().startswith("Deploy local-1c as a library with xgboost")


def test_steps_are_listed_with_what_came_of_them_and_can_be_filtered(servefit: Servefit, kept: dict[str, Any]) -> None:
    steps = servefit("steps", "listed", "--format", "json").document["steps"]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    assert {step["kind"] for step in steps} >= {"compilation", "load_test"}
    for step in steps:
        assert step["status"] == "COMPLETED"
        assert step["began_at"] <= step["ended_at"]
    tests = servefit("steps", "listed", "--kind", "load_test", "--format", "json").document["steps"]
    assert all(
        test["metrics"]["max_invocations"] > 0 and test["configuration"]["backend"] == "xgboost" for test in tests
    )
    assert len(tests) + sum(step["kind"] == "confirmation" for step in steps) == kept["tests"]
    assert servefit("steps", "listed", "--status", "failed", "--format", "json").document["steps"] == []
    assert servefit("steps", "listed", "--backend", "onnxruntime", "--format", "json").document["steps"] == []
    assert "load_test" in servefit("steps", "listed").stdout


def fields(document: Any, where: str = "") -> set[str]:
    """The fields of a document, each with those above it."""
    if isinstance(document, list):
        return {field for entry in document for field in fields(entry, where)}
    if not isinstance(document, dict):
        return set()
    return {f"{where}.{name}" for name in document} | {
        field for name, value in document.items() for field in fields(value, f"{where}.{name}")
    }


BY_WHAT_HAPPENED = re.compile(r"\.(problems|model_latency_ms_ci95)\.")
"""Fields that depend on what disturbed a measurement, and on how many samples it has."""


@pytest.mark.parametrize("command", ["show", "steps"])
@pytest.mark.usefixtures("kept", "simulated")
def test_a_told_job_has_the_fields_of_a_real_one(servefit: Servefit, command: str) -> None:
    told, real = (servefit(command, name, "--format", "json").document for name in ("simulated", "listed"))
    assert [field for field in fields(told) ^ fields(real) if not BY_WHAT_HAPPENED.search(field)] == []


def test_every_kind_of_step_that_a_job_may_have_can_be_asked_for() -> None:
    assert get_args(StepKind) == STEP_KINDS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("show", "nothing"), "job: 'nothing' is not known"),
        (("steps", "simulated", "--status", "done"), "status: 'done' is not known"),
        (("steps", "simulated", "--kind", "loadtest"), "did you mean 'load_test'"),
        (("jobs", "--status", "over"), "status: 'over' is not known"),
        (("resume", "simulated"), "is over: COMPLETED"),
        (("jobs", "--storage", "nonsense"), "storage: '***' is not the URL of a database"),
    ],
)
@pytest.mark.usefixtures("simulated")
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


@pytest.mark.usefixtures("simulated")
def test_stopping_a_job_that_nobody_works_on_says_so(servefit: Servefit) -> None:
    ended = servefit("stop", "simulated")
    assert (ended.status, ended.stdout.strip()) == (0, "nobody works on job simulated")


def _started(state: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "servefit", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SERVEFIT_HOME": str(state)},
    )


SAID = re.compile(r"\] step (\d+): ")
"""What came out of a test, on stderr."""


def _numbers_of(process: subprocess.Popen[str], tests: int) -> list[int]:
    """The steps of the first ``tests`` tests that end."""
    assert process.stderr is not None
    numbers = []
    for line in process.stderr:
        numbers += [int(number) for number in SAID.findall(line)]
        if len(numbers) == tests:
            return numbers
    raise AssertionError(f"it ended after {numbers}")


def test_a_killed_job_is_taken_up_again_and_measures_nothing_twice(
    servefit: Servefit, sources: Sources, state: Path
) -> None:
    asked = (
        *ALONE,
        "--max-tests",
        "3",
        "--name",
        "killed",
    )
    with _started(state, "recommend", sources.xgboost, *asked) as process:
        said = _numbers_of(process, 1)
        process.send_signal(signal.SIGKILL)
        said += map(int, SAID.findall(process.communicate()[1]))
    before = servefit("steps", "killed", "--format", "json").document["steps"]
    cut_off = [servefit("show", "killed", "--format", "json").document for _ in range(2)]
    assert [(job["status"], job["owner"]) for job in cut_off] == [("IN_PROGRESS", None)] * 2
    assert cut_off[0]["elapsed_s"] == cut_off[1]["elapsed_s"] >= sum(step["seconds"] or 0 for step in before)
    assert "then cut off: servefit resume killed goes on" in servefit("show", "killed").stdout
    with measuring_slot("another job"):
        assert servefit("resume", "killed", "--no-wait").status == 4
    ended = servefit("resume", "killed", "--format", "json")
    assert ended.status == 0, ended.stderr
    assert ended.document["status"] == "COMPLETED"
    after = servefit("steps", "killed", "--format", "json").document["steps"]
    finished = [step for step in before if step["status"] == "COMPLETED"]
    assert [entry for entry in after if entry["step"] in {step["step"] for step in finished}] == finished
    cut = [step for step in after if step["reason"] == "interrupted"]
    assert len(cut) <= 1
    measured = [
        json.dumps(step["configuration"])
        for step in after
        if step["kind"] == "load_test" and step["status"] == "COMPLETED"
    ]
    assert len(measured) == len(set(measured))
    said += map(int, SAID.findall(ended.stderr))
    _check_numbers(servefit, "killed", said)


def _check_numbers(servefit: Servefit, job: str, said: list[int]) -> None:
    """A test has one number: while it runs, among the steps, in the answer, in the report and in its file."""
    steps = servefit("steps", job, "--format", "json").document["steps"]
    tests = [
        step for step in steps if step["kind"] in ("load_test", "confirmation") and step["reason"] != "interrupted"
    ]
    assert said == [test["step"] for test in tests]
    shown = servefit("show", job, "--format", "json").document
    by_step = {step["step"]: step for step in steps}
    for recommendation in shown["recommendations"]:
        step = by_step[recommendation["step"]]
        assert step["metrics"]["model_latency_ms"] == recommendation["model_latency_ms"]
        assert (
            recommendation["measurement"]
            == step["metrics"]["measurement"]
            == f"measurements/{recommendation['step']:04}.servefit"
        )
    tables = json.loads(servefit("report", job, "--format", "json").stdout)["tables"]
    for name in ("all_tests", "tests_in_their_order"):
        assert [row["step"] for row in tables[name]] == said
        assert "test" not in tables[name][0]
    assert {f"step_{number}_over_time" for number in said} <= tables.keys()


PAUSE_S = 0.2


def _shown_of_one_that_runs(servefit: Servefit, pid: int) -> Any:
    shown = servefit("show", "shared", "--format", "json").document
    assert f"process {pid} on " in shown["owner"]
    time.sleep(PAUSE_S)
    assert re.search(r" in \d+ s, and goes on\)", servefit("show", "shared").stdout)
    return shown


@pytest.mark.thorough
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
        _numbers_of(process, 1)
        shown = [_shown_of_one_that_runs(servefit, process.pid), _shown_of_one_that_runs(servefit, process.pid)]
        assert shown[1]["elapsed_s"] - shown[0]["elapsed_s"] >= PAUSE_S
        second = servefit("resume", "shared")
        assert second.status == 2
        assert f"is being worked on by process {process.pid}" in second.stderr
        assert servefit("stop", "shared").stdout.strip() == "job shared stops after the step that runs"
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert json.loads(stdout)["status"] == "STOPPED"
    assert json.loads(stdout)["recommendations"]
