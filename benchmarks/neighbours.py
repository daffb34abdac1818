"""A neighbour: a process that wants a CPU for a part of every second."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAM = """
import os, time
os.sched_setaffinity(0, [{cpu}])
print(flush=True)
while True:
    began = time.monotonic()
    while time.monotonic() < began + {duty}:
        pass
    time.sleep(1 - {duty})
"""


@contextmanager
def neighbour(cpu: int, duty: float) -> Iterator[None]:
    """Run a process that uses ``cpu`` for this part of every second within the block; none for 0."""
    if not duty:
        yield
        return
    program = _PROGRAM.format(cpu=cpu, duty=duty)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
