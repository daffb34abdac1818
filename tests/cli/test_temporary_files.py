"""Nothing is left among temporary files by commands that end or are interrupted, and what a kill leaves goes next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Sources

pytestmark = pytest.mark.integration

LEFT = """
import os, signal
from servefit.serving.private_folders import own_folder
from servefit.state import temporary_folder
folder, lock = own_folder()
(folder / "model.bin").write_bytes(b"weights")
with temporary_folder("call") as other:
    (other / "answer").write_bytes(b"")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def variables(state: Path, temporary: Path) -> dict[str, str]:
    return {**os.environ, "SERVEFIT_HOME": str(state), "TMPDIR": str(temporary)}


@pytest.mark.parametrize("command", ["schema", pytest.param("figures", marks=pytest.mark.thorough)])
def test_the_next_command_of_any_kind_removes_what_a_kill_has_left(state: Path, temporary: Path, command: str) -> None:
    environment = variables(state, temporary)
    killed = subprocess.run([sys.executable, "-c", LEFT], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(temporary.iterdir())) == 2
    subprocess.run([*COMMAND, command], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("interrupted", [pytest.param(False, marks=pytest.mark.thorough), True])
def test_a_measurement_over_http_leaves_nothing_whether_it_ends_or_is_interrupted(
    sources: Sources, state: Path, temporary: Path, interrupted: bool
) -> None:
    asked = ("--driver", "http", "--users", "1", "--allow-noise", "--duration", "60s" if interrupted else "0.3s")
    command = [*COMMAND, "profile", str(sources.xgboost), *asked]
    with subprocess.Popen(command, env=variables(state, temporary), stdout=subprocess.DEVNULL) as process:
        while interrupted and not list(temporary.glob("servefit-artifact-*")):
            assert process.poll() is None
            time.sleep(0.02)
        if interrupted:
            process.send_signal(signal.SIGINT)
        status = process.wait(60)
    assert status == (130 if interrupted else 0)
    assert list(temporary.iterdir()) == []
