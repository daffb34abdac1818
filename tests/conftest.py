"""What all tests need."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

Hog = Callable[[int], AbstractContextManager[None]]


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_interrupts() -> None:
    """A suite that is started in the background inherits an ignored SIGINT, and so would every command it tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def hog() -> Hog:
    """Starts a process that wants all of a CPU, for as long as the block lasts."""

    @contextmanager
    def start(cpu: int) -> Iterator[None]:
        program = f"import os\nos.sched_setaffinity(0, [{cpu}])\nprint(flush=True)\nwhile True: pass"
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                process.stdout.readline()
                yield
            finally:
                process.kill()

    return start
