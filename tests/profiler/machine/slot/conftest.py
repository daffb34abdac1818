"""Other processes that hold the measuring slot, and a check whether it is free."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.machine.slot.place import open_slot_file

if TYPE_CHECKING:
    from pathlib import Path

HOLDS = """
import subprocess, sys
from servefit.profiler.machine.slot.holding import measuring_slot
with measuring_slot("job fraud") as slot:
    if sys.argv[1:] == ["starts one"]:
        print(subprocess.Popen(["sleep", "600"], pass_fds=slot.descriptors).pid, flush=True)
    else:
        print("held", flush=True)
    sys.stdin.read()
"""

Hold = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture(autouse=True)
def own_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slot"
    folder.mkdir()
    monkeypatch.setenv("SERVEFIT_SLOT", str(folder))
    return folder


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that has the slot until its stdin is closed; gives it, and what it said."""
    with ExitStack() as stack:

        def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
            process = subprocess.Popen(
                [sys.executable, "-c", HOLDS, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        yield start


@pytest.fixture
def is_free() -> Callable[[], bool]:
    """Tells whether nobody has the slot, this process included."""

    def look() -> bool:
        file = open_slot_file()
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(file.descriptor)
        return True

    return look
