"""The tether by itself: what SSH starts on a host."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from servefit.processes import process_start
from servefit.search.fleet.launching.tether import NO_URL, NOT_STARTED, STARTED

pytestmark = pytest.mark.integration

URL = "postgresql://fleet:secret@db.lan/servefit"
TETHER = "import sys\nfrom servefit.search.fleet.launching import tether\n{change}\nsys.exit(tether.main(sys.argv[1:]))"
Tethered = Callable[..., subprocess.Popen[str]]
SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def tethered() -> Iterator[Tethered]:
    """Starts tethers, and ends them with the test. ``change`` is a line of Python that is run before."""
    with ExitStack() as stack:

        def start(command: Sequence[str], change: str = "") -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", TETHER.format(change=change), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def started(process: subprocess.Popen[str]) -> int:
    """Hand the URL over, and return the process id of the command."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{URL}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line.startswith(STARTED)
    return int(line.rpartition(" ")[2])


def test_the_command_has_the_url_in_its_environment_and_its_output_and_status_are_passed_on(tethered: Tethered) -> None:
    program = "import os, sys; print(os.environ['SERVEFIT_STORAGE']); print('why', file=sys.stderr); sys.exit(7)"
    process = tethered([sys.executable, "-c", program])
    started(process)
    assert process.wait(20) == 7
    stdout, stderr = process.communicate()
    assert stdout == ""
    assert set(stderr.splitlines()) == {URL, "why"}


def test_without_a_url_nothing_is_started(tethered: Tethered, tmp_path: Path) -> None:
    process = tethered(["touch", str(tmp_path / "made")])
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == NO_URL
    assert "no URL" in stderr
    assert not (tmp_path / "made").exists()


def test_a_command_that_is_not_there_is_named(tethered: Tethered) -> None:
    process = tethered(["/nowhere/python"])
    _, stderr = process.communicate(f"{URL}\n", timeout=20)
    assert process.returncode == NOT_STARTED
    assert "/nowhere/python cannot be run" in stderr


@pytest.mark.parametrize("how", ["the connection ends", "the starter is silent", "SIGHUP", "SIGTERM"])
def test_the_command_ends_when(tethered: Tethered, how: str) -> None:
    process = tethered(SLEEP, "tether.SILENCE_S = 1.0" if "silent" in how else "")
    pid = started(process)
    assert process_start(pid) is not None
    if how == "the connection ends":
        assert process.stdin is not None
        process.stdin.close()
    elif "silent" not in how:
        process.send_signal(signal.Signals[how])
    assert process.wait(10) == 128 + signal.SIGTERM
    assert process_start(pid) is None


@pytest.mark.thorough
@pytest.mark.timed
def test_signs_of_life_keep_the_command(tethered: Tethered) -> None:
    process = tethered(SLEEP, "tether.SILENCE_S = 1.0")
    pid = started(process)
    assert process.stdin is not None
    for _ in range(8):
        time.sleep(0.25)
        process.stdin.write("\n")
        process.stdin.flush()
    assert process_start(pid) is not None
    process.stdin.close()
    process.wait(10)


def test_the_command_ends_when_the_tether_is_killed_outright(tethered: Tethered) -> None:
    process = tethered(SLEEP)
    pid = started(process)
    process.kill()
    process.wait()
    deadline_s = time.monotonic() + 5
    while process_start(pid) is not None:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_what_the_command_leaves_behind_is_ended(tethered: Tethered, tmp_path: Path) -> None:
    program = (
        "import json, subprocess, sys; "
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True); "
        f"open({str(tmp_path / 'child')!r}, 'w').write(json.dumps(child.pid))"
    )
    process = tethered([sys.executable, "-c", program])
    started(process)
    assert process.wait(10) == 0
    assert process_start(json.loads((tmp_path / "child").read_text())) is None
