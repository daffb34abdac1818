"""The progress of a running job, in terminals of all kinds and without one."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from servefit.cli.progress import BURST, LiveLines, PlainLines
from servefit.profiler.record.types import Configuration
from servefit.report.moments import best_so_far, time_left
from servefit.search.jobs.lifecycle import load_job
from servefit.search.optimizer.progress import Moment
from servefit.search.results.objectives.registry import context_of, objective
from servefit.search.results.price import Price
from servefit.search.results.recommendation import FailedTrial

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Servefit, Sources

JOB = ("--backend", "xgboost", "--profile", "local-1c", "--no-http", "--allow-noise", "--format", "json")
ONE_TEST = (*JOB, "--max-tests", "1")

ESCAPE, HIDDEN_CURSOR, SHOWN_CURSOR = "\x1b", "\x1b[?25l", "\x1b[?25h"
TIMES = re.compile(r"\[\d+ s(, (about|at most) \d+ s left)?\] \S")

CONFIGURATION = Configuration(vcpus=1, backend="xgboost", max_batch=8, batch_delay_us=1000)


@dataclass(frozen=True, kw_only=True)
class Seen:
    status: int
    stdout: str
    terminal: str


def in_a_terminal(
    state: Path, *arguments: str | Path, columns: int = 80, interrupt_at: str | None = None, **environment: str
) -> Seen:
    """Run servefit with stderr on a terminal; send SIGINT when that shows a certain text."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    usual = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "servefit", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**usual, "SERVEFIT_HOME": str(state), "TERM": "xterm-256color", **environment},
    )
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 1.0)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            seen += part
            if interrupt_at is not None and interrupt_at.encode() in seen:
                interrupt_at = None
                process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=60)
    os.close(ours)
    return Seen(status=process.returncode, stdout=stdout.decode(), terminal=seen.decode())


def shown(terminal: str) -> list[str]:
    """The lines that were drawn, one after the other, without what moves the cursor or colours them."""
    return [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal)) if line.strip()]


@pytest.mark.thorough
@pytest.mark.integration
def test_a_narrow_terminal_shows_what_is_measured_the_best_so_far_and_the_time_left(
    state: Path, sources: Sources
) -> None:
    asked = ("recommend", sources.xgboost, *JOB, "--max-tests", "2", "--sla", "p95=500ms")
    seen = in_a_terminal(state, *asked, columns=40)
    assert seen.status == 0
    assert '"recommendations"' in seen.stdout
    lines = shown(seen.terminal)
    assert all(len(line) <= 40 for line in lines if not line.startswith("warning"))
    assert any(re.search(r"1 of 2 tests, \d+ s, about \d+ s left", line) for line in lines)
    assert any(line.startswith("measuring") and "xgboost" in line for line in lines)
    assert any(line.startswith("best so far: 1 vCPU, xgboost") for line in lines)
    assert seen.terminal.rfind(SHOWN_CURSOR) > seen.terminal.rfind(HIDDEN_CURSOR)


@pytest.mark.integration
def test_ctrl_c_leaves_the_terminal_as_it_was(state: Path, sources: Sources) -> None:
    asked = ("recommend", sources.xgboost, *JOB, "--log-level", "info")
    seen = in_a_terminal(state, *asked, interrupt_at="1 test", NO_COLOR="1", PYTHONIOENCODING="ascii")
    assert seen.status == 130
    assert seen.terminal.rfind(SHOWN_CURSOR) > seen.terminal.rfind(HIDDEN_CURSOR)
    assert "\x1b[32m" not in seen.terminal, "colours were not wanted"
    lines = shown(seen.terminal)
    assert any(re.match(r"#*-+ .*1 test, \d+ s, about", line) for line in lines), "no bar in ASCII"
    # What is logged stands above what is drawn, on lines of its own.
    assert any(re.match(r"\d\d:\d\d:\d\d\.\d{3} INFO servefit\.search\.storage\.log: step 1", line) for line in lines)


@pytest.mark.integration
@pytest.mark.thorough
def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(state: Path, sources: Sources) -> None:
    seen = in_a_terminal(state, "recommend", sources.xgboost, *ONE_TEST, TERM="dumb")
    assert seen.status == 0
    assert ESCAPE not in seen.terminal
    assert re.search(r"\[\d+ s, about \d+ s left\] step \d+ begins \(1 of 1 tests\): 1 vCPU, xgboost", seen.terminal)


@pytest.mark.integration
def test_without_a_terminal_every_event_is_a_plain_line_with_its_times(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("recommend", sources.xgboost, *ONE_TEST)
    assert ended.status == 0
    lines = [line for line in ended.stderr.splitlines() if not line.startswith("warning: ")]
    assert all(line.isprintable() for line in lines)
    assert all(TIMES.match(line) for line in lines), lines
    assert any(re.search(r"\] step \d+: 1 vCPU, xgboost .*; best so far: ", line) for line in lines)
    promised = [sum(map(int, found)) for line in lines for found in re.findall(r"\[(\d+) s, about (\d+) s left", line)]
    assert promised
    assert "left" in lines[0], "even the first says how long it takes at most"


@pytest.mark.integration
@pytest.mark.thorough
def test_quiet_leaves_warnings_of_the_result(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("recommend", sources.xgboost, *ONE_TEST, "--quiet")
    assert ended.status == 0
    lines = ended.stderr.splitlines()
    assert lines
    assert all(line.startswith("warning: ") for line in lines)


@pytest.mark.integration
def test_profile_says_how_long_it_will_take(servefit: Servefit, sources: Sources) -> None:
    ended = servefit("profile", sources.xgboost, "--duration", "1s", "--allow-noise")
    assert ended.status == 0, ended.stderr
    assert re.search(r"\[\d+ s, about 2 s left\] measuring", ended.stderr)


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def moment(elapsed_s: float, **known: Any) -> Moment:
    return Moment(elapsed_s=elapsed_s, left_s=30.0 - elapsed_s, **known)


def test_plain_lines_are_about_one_a_second_and_results_are_never_left_out() -> None:
    now, lines = Now(), list[str]()
    plain = PlainLines(lines.append, now)
    tests = 40
    for nth in range(1, tests + 1):
        at = moment(now.seconds, tests=nth, step=10 + nth)
        plain.testing(CONFIGURATION, at)
        now.seconds += 0.6
        plain.tested(FailedTrial(configuration=CONFIGURATION, reason="no"), at)
    assert sum(": failed, no" in line or ": 1 vCPU, xgboost" in line for line in lines if "begins" not in line) == tests
    assert len(lines) <= tests + BURST
    assert lines[0].startswith("[0 s, about 30 s left] step 11 begins: 1 vCPU, xgboost 1 x 1, batch 8 and 1 ms")


def test_a_long_test_is_announced_before_it_ends() -> None:
    now, lines = Now(), list[str]()
    plain = PlainLines(lines.append, now)
    for nth in range(1, 30):
        plain.testing(CONFIGURATION, moment(now.seconds, tests=nth, most_tests=30, step=10 + nth))
        now.seconds += 120
        plain.tested(FailedTrial(configuration=CONFIGURATION, reason="no"), moment(now.seconds, tests=nth))
    assert sum("begins" in line for line in lines) == 29
    assert "step 39 begins (29 of 30 tests)" in lines[-2]


def drawn(lines: LiveLines, *, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(lines)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [10, 40, 200])
def test_three_live_lines_fit_into_any_terminal(width: int) -> None:
    live = LiveLines(Now())
    live.stage("measuring the best in turns", moment(3.0))
    live.testing(CONFIGURATION, moment(3.0, tests=12, most_tests=40))
    lines = drawn(live, width=width)
    assert len(lines) == 2, "nothing is the best so far"
    assert all(len(line) <= width for line in lines)


def test_time_passes_between_two_events() -> None:
    now = Now()
    live = LiveLines(now)
    live.stage("measuring", moment(10.0))
    now.seconds += 5
    assert drawn(live, width=80)[-1].endswith("15 s, about 15 s left")
    now.seconds += 60
    assert drawn(live, width=80)[-1].endswith("1 min 15 s, about 1 s left")


def test_what_nobody_knows_is_not_said() -> None:
    assert time_left(None, at_most=False) == ""
    assert time_left(12.0, at_most=True) == "at most 12 s left"
    assert best_so_far(Moment(elapsed_s=1.0)) == ""


@pytest.mark.integration
@pytest.mark.usefixtures("simulated")
@pytest.mark.parametrize(
    ("goal", "price", "said"),
    [
        ("cost", 2e-9, r": \$0\.002 a million, meets the SLA$"),
        ("cost", None, r": [\d.,]+ vCPU-s a million, meets the SLA$"),
        ("throughput", 2e-9, r": [\d,]+ a minute, meets the SLA$"),
        ("latency", 2e-9, r": p95 [\d.]+ [mu]s, meets the SLA$"),
        ("balanced", 2e-9, r": \$0\.002 a million, p95 [\d.]+ [mu]s, meets the SLA$"),
    ],
)
def test_the_best_so_far_is_told_by_what_the_job_is_about(
    state: Path, monkeypatch: pytest.MonkeyPatch, goal: Any, price: float | None, said: str
) -> None:
    monkeypatch.setenv("SERVEFIT_HOME", str(state))
    job = load_job("simulated")
    best = job.best
    assert best is not None
    recommendation = replace(best, cost_per_inference=price, trial=replace(best.trial, verdict="PASS"))
    figure = objective(goal).figure_text(recommendation, context_of(job.request, Price.of(0.1, 1)))
    text = best_so_far(Moment(elapsed_s=1.0, best=recommendation, figure=figure, asked=True))
    assert re.search(said, text), text
