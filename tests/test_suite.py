"""The suite's own rules: which parts run, that all of them do, what they may take, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests import suite
from tests.suite import Part, Timed, over_budget, parts_of, run_suite

PASSES, FAILS = ("true",), ("false",)


def names(*arguments: str) -> list[str]:
    return [part.name for parts in parts_of(arguments) for part in parts]


def test_daily_checks_are_all_but_thorough_tests() -> None:
    assert names() == ["ruff", "format", "contracts", "types", "together", "timed"]
    together, timed = parts_of([])[2]
    assert together.command[together.command.index("-m") + 1] == "not timed and not thorough"
    assert timed.command[timed.command.index("-m") + 1] == "timed and not thorough"


def test_thorough_tests_are_of_the_paths_that_are_named_and_draw_their_examples() -> None:
    assert names("--thorough", "tests/aws") == ["ruff", "format", "contracts", "together", "timed"]
    for part in parts_of(["--thorough", "tests/aws"])[2]:
        assert part.command[-2:] == ("--hypothesis-profile=drawing", "tests/aws")


@pytest.mark.thorough
@pytest.mark.integration
def test_paths_without_timed_tests_are_no_failure_and_a_path_that_is_not_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(suite, "RESULTS", tmp_path)
    monkeypatch.setattr(suite, "style", list)
    assert run_suite(["--thorough", "tests/test_quantities.py", "-q"]) == 0
    assert run_suite(["--thorough", "tests/nowhere.py", "-q"]) == 1
    assert run_suite(["--thorough", "tests/test_quantities.py", "-q", "-k", "no_test_has_this_name"]) == 1


def test_unit_tests_and_tests_by_name_run_by_themselves() -> None:
    assert names("--unit") == ["unit"]
    assert names("tests/aws", "-k", "jobs") == ["ruff", "format", "contracts", "types", "tests"]


@pytest.mark.integration
def test_every_part_runs_and_all_failures_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(suite, "RESULTS", tmp_path)
    first = [Part(name="style", command=FAILS)]
    beside = [Part(name="types", command=("sh", "-c", "echo wrong types; false")), Part(name="bodies", command=PASSES)]
    written = ("touch", str(tmp_path / "ran"))
    parts = (first, beside, [Part(name="together", command=FAILS), Part(name="timed", command=written)])
    monkeypatch.setattr(suite, "parts_of", lambda _: parts)
    assert run_suite(["tests"]) == 1
    assert (tmp_path / "ran").exists()
    said = capfd.readouterr().out
    assert "types failed:\nwrong types\n" in said
    assert said.endswith("failed: style, together, types\n")


def test_a_kind_and_a_folder_that_take_more_than_their_budget_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    budgets = tmp_path / "budgets.toml"
    budgets.write_text('[kinds]\nunit = 10\ntimed = 5\n[folders]\naws = 7\n"aws.s3" = 3\n"." = 1\n')
    monkeypatch.setattr(suite, "BUDGETS", budgets)
    durations = [
        Timed(name="tests.aws.test_jobs.test_a", kind="timed", seconds=6),
        Timed(name="tests.aws.s3.test_parts.test_b", kind="unit", seconds=2.5),
        Timed(name="tests.test_checks.test_c", kind="unit", seconds=1.5),
    ]
    assert over_budget(durations) == [
        "kind timed took 6 s of 5 (tests/budgets.toml)",
        "folder . took 2 s of 1 (tests/budgets.toml)",
    ]


STARTS_OTHERS = """
import subprocess, sys, time
from tests.suite import kept_together
sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
def program():
    subprocess.Popen(sleeps, start_new_session=True)
    subprocess.run(["sh", "-c", 'trap "" TERM; "$@" & echo $!; wait', "sh", *sleeps])
    return 0
sys.exit(kept_together(program))
"""


@pytest.mark.integration
@pytest.mark.parametrize("killed", ["outer", pytest.param("inner", marks=pytest.mark.thorough)])
def test_nothing_stays_behind_when_the_suite_is_killed(killed: str) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_OTHERS], stdout=subprocess.PIPE, cwd=suite.ROOT) as started:
        assert started.stdout is not None
        started.stdout.readline()
        outer = psutil.Process(started.pid)
        [inner] = outer.children()
        others = inner.children(recursive=True)
        assert len(others) == 3
        os.kill(outer.pid if killed == "outer" else inner.pid, signal.SIGKILL)
        _, left = psutil.wait_procs([inner, *others], timeout=10)
        assert left == []


@pytest.mark.integration
def test_nothing_stays_behind_of_parents_that_ended_before() -> None:
    orphan = ["sh", "-c", "setsid sleep 600 & echo $!"]
    program = f"""
import subprocess, sys
from tests.suite import kept_together
sys.exit(kept_together(lambda: subprocess.run({orphan!r}).returncode))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=suite.ROOT, check=True)
    assert not psutil.pid_exists(int(ended.stdout))


@pytest.mark.integration
def test_the_status_is_that_of_the_program() -> None:
    program = "import sys; from tests.suite import kept_together; sys.exit(kept_together(lambda: 3))"
    assert subprocess.run([sys.executable, "-c", program], cwd=suite.ROOT, check=False).returncode == 3


@pytest.mark.integration
def test_an_error_of_the_suite_itself_is_told() -> None:
    program = "from tests.suite import kept_together\nkept_together(lambda: 1 // 0)"
    ended = subprocess.run([sys.executable, "-c", program], cwd=suite.ROOT, capture_output=True, text=True, check=False)
    assert "ZeroDivisionError" in ended.stderr
