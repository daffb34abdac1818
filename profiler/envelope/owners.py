"""Who owns an envelope, and how what is left of it is ended once nobody does.

An envelope is named after the process that opened it, so that any later servefit can tell one that is in use from one
whose owner was killed before it could clean up.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from servefit.errors import MeasurementError

WAIT_S = 10.0
"""How long killed processes may take to go. One that holds gigabytes, or waits for a disk, needs a while."""

PAUSE_S = 0.002

_NAME = re.compile(r"servefit-(\d+)-(\d+)-(\d+)-(\d+)")
_NUMBER_BITS = 48


def envelope_name() -> str:
    """A new ``servefit-NAMESPACE-PID-START-NUMBER`` of this process.

    The namespace is that of process ids: a container and its host may see each other's groups, and must not take each
    other's process ids for their own. The start time tells a process from a later one with the same id. The number
    tells its envelopes apart, and is drawn, since several threads may open them at the same time.
    """
    return f"{_own_prefix()}{secrets.randbits(_NUMBER_BITS)}"


def is_own(name: str) -> bool:
    """Whether ``name`` is that of an envelope of this process."""
    return name.startswith(_own_prefix())


def is_abandoned(name: str) -> bool:
    """Whether ``name`` is that of an envelope whose owner is dead. False for any other name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    namespace, pid, start, _ = map(int, match.groups())
    return namespace == _namespace() and process_start(pid) != start


def process_start(pid: int) -> int | None:
    """When ``pid`` was started, in clock ticks since boot; None once it is dead, waited for or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def end_processes(find: Callable[[], Iterable[int]]) -> None:
    """Kill the processes that ``find`` gives, again and again until it finds none and all of them are gone.

    Raises MeasurementError for processes that are still there after 10 seconds.
    """
    deadline = time.monotonic() + WAIT_S
    killed: dict[int, int] = {}
    while True:
        living = {pid: start for pid in find() if (start := process_start(pid)) is not None}
        for pid in living:
            # One of another user cannot be killed. It stays on the list, and ends in the error below.
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= living
        killed = {pid: start for pid, start in killed.items() if process_start(pid) == start}
        if not killed and not living:
            return
        if time.monotonic() > deadline:
            names = ", ".join(map(str, sorted(killed or living)))
            raise MeasurementError(f"processes in an envelope could not be killed: {names}")
        # Something that forks faster than it is killed is not waited for.
        if killed:
            time.sleep(PAUSE_S)


def _own_prefix() -> str:
    return f"servefit-{_namespace()}-{os.getpid()}-{process_start(os.getpid())}-"


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
