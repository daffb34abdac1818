"""``--log-level``, and what servefit logs for a program that asks."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from servefit.cli.logs import LEVELS, log_to_stderr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Servefit, Sources

LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO) servefit(\.\w+)+: \S")
QUICK = ("--backend", "xgboost", "--profile", "local-1c", "--no-http", "--allow-noise", "--max-tests", "1", "--quiet")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("servefit")
    level, before = logger.level, [*logger.handlers]
    yield logger
    logger.setLevel(level)
    logger.handlers[:] = before


@pytest.mark.integration
def test_debug_tells_the_steps_of_a_job_its_processes_and_why_something_was_tried(
    servefit: Servefit, sources: Sources
) -> None:
    ended = servefit("recommend", sources.xgboost, *QUICK, "--format", "json", "--log-level", "debug")
    assert ended.status == 0
    assert ended.document["status"] == "COMPLETED"
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("warning: ")]
    assert all(LINE.match(line) for line in lines)
    said = "\n".join(lines)
    for part in (
        "jobs are kept in /",
        "xgboost (cpu): ",
        "begins: load_test, ",
        "ends: COMPLETED, PASS",
        "envelope by ",
        "worker 1: ",
        "threads of each worker: ",
        "COMPLETED after ",
    ):
        assert part in said


@pytest.mark.integration
def test_the_level_may_stand_before_the_command_and_the_nearer_one_counts(servefit: Servefit) -> None:
    assert "jobs are kept in" in servefit("--log-level", "info", "jobs").stderr
    assert servefit("--log-level", "info", "jobs", "--log-level", "error").stderr == ""
    assert servefit("jobs").stderr == ""


@pytest.mark.integration
@pytest.mark.parametrize("arguments", [("--log-level", "loud", "jobs"), ("jobs", "--log-level", "loud")])
def test_an_unknown_level_is_refused_in_one_line(servefit: Servefit, arguments: tuple[str, ...]) -> None:
    ended = servefit(*arguments)
    assert ended.status == 2
    assert ended.stderr == "servefit: log-level: 'loud' is not known; known: debug, error, info, warning\n"


@pytest.mark.integration
def test_every_command_has_the_option(servefit: Servefit) -> None:
    commands = re.findall(r"^  ([a-z]+) ", servefit("--help").stdout.partition("Commands:")[2], re.MULTILINE)
    assert {"recommend", "load", "jobs", "host"} <= set(commands)
    for command in ("recommend", "host", "serve", "compile"):
        assert "--log-level" in servefit(command, "--help").stdout


@pytest.mark.integration
def test_a_program_that_uses_servefit_configures_logging_itself() -> None:
    code = (
        "import logging, servefit, servefit.search.jobs.lifecycle, servefit.profiler.procedures.profile; "
        "found = logging.getLogger('servefit'); "
        "print(all(isinstance(one, logging.NullHandler) for one in found.handlers), found.level, logging.root.handlers)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["True", "0", "[]"]


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_shows_itself_and_what_is_graver(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    log_to_stderr("debug")
    log_to_stderr(level)
    for name in LEVELS:
        logger.getChild("part").log(logging.getLevelNamesMapping()[name.upper()], "of %s", name)
    said = [line.rpartition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert said == list(LEVELS[LEVELS.index(level) :])
