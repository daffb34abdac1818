"""Whatever a test of workers does, nothing of it may remain."""

from __future__ import annotations

import os
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def open_files() -> set[str]:
    return {f"{entry.name} {entry.readlink()}" for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()}


@pytest.fixture(autouse=True)
def nothing_remains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No child process, open file, thread, named shared memory, control group or temporary file outlives a test."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    files_before, threads_before, shared_before = open_files(), threading.active_count(), own_shared_memory()
    yield
    assert psutil.Process().children(recursive=True) == []
    assert len(open_files()) == len(files_before), open_files() ^ files_before
    assert threading.active_count() == threads_before
    assert own_shared_memory() == shared_before
    assert own_control_groups() == []
    assert list(temporary.iterdir()) == []


def own_control_groups() -> list[Path]:
    """The groups that this process made, in any hierarchy."""
    mine = re.compile(rf"servefit[-_].*[-_]{os.getpid()}[-_]")
    folders = [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup")]
    return [folder for folder in folders if mine.match(folder.name)]


def own_shared_memory() -> set[str]:
    return {entry.name for entry in Path("/dev/shm").iterdir() if "servefit" in entry.name or "psm_" in entry.name}


@pytest.fixture
def is_gone() -> Callable[[int], bool]:
    """Tells whether all processes of a group have ended, giving those that were just killed a moment to do so."""

    def check(group: int) -> bool:
        deadline = time.monotonic() + 3
        while _living(group):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    return check


def _living(group: int) -> int:
    """How many processes of the group have not ended. Zombies have; whether they are reaped is up to init."""
    living = 0
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            living += os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return living
