"""Processes as those that come later see them: whose something is, whether its owner lives, and how what the dead have
left behind is found and ended.

A process is known by its number and by when it was started, which tells it from a later one with the same number; both
mean something within one boot of a kernel, and in it within one namespace of process numbers. All four are a *mark*. It
stands in the names of temporary files and of control groups, and in the environment of processes that may outlive their
owner, so that any later servefit knows what is in use from what nobody will ever clean up.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from servefit.errors import MeasurementError

MARK = r"[0-9a-f]{8}(?:-[0-9]{1,20}){3}"
"""The pattern of marks."""

WAIT_S = 10.0
"""The time that killed processes may take to go. One that holds gigabytes, or waits for a disk, needs a while."""

PAUSE_S = 0.002
"""Killed processes are looked for again so often. Chosen, not measured."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
"""As <linux/prctl.h> has them."""


def own_mark() -> str:
    """Return the mark of this process: BOOT-NAMESPACE-PID-START."""
    return mark_of(os.getpid())


def mark_of(pid: int) -> str:
    """Return the mark of a process of this user."""
    return f"{_boot()}-{pid_namespace()}-{pid}-{process_start(pid)}"


def living(mark: str) -> int | None:
    """Return the number of the process with that mark; None where it is dead, or cannot be seen from here."""
    boot, namespace, pid, start = mark.split("-") if re.fullmatch(MARK, mark) else ("", "", "0", "")
    if (boot, namespace) != (_boot(), str(pid_namespace())) or str(process_start(int(pid))) != start:
        return None
    return int(pid)


def is_abandoned(mark: str) -> bool:
    """Return whether ``mark`` is that of a process that is dead. False where that cannot be known from here: of another
    boot, which may be that of another machine, of another namespace, and for what is no mark."""
    if re.fullmatch(MARK, mark) is None:
        return False
    boot, namespace, pid, start = mark.split("-")
    if (boot, namespace) != (_boot(), str(pid_namespace())) or _is_hidden(int(pid)):
        return False
    return str(process_start(int(pid))) != start


def boot_id() -> str:
    """Return the ID of the running boot of this machine's kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> int:
    """Return the number of the namespace of process numbers that this process is in."""
    return Path("/proc/self/ns/pid").stat().st_ino


def process_start(pid: int) -> int | None:
    """Return the time when ``pid`` was started, in clock ticks since boot; None once it is dead, waited for or not."""
    fields = _stat(pid)
    return None if fields is None or fields[0] in ("Z", "X") else int(fields[19])


def own_age_s() -> float:
    """Return the seconds since this process was started, zero where that cannot be known."""
    started = process_start(os.getpid())
    if started is None:
        return 0.0
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"))


def all_processes() -> list[int]:
    """Return the ids of all processes that can be seen from here."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - a tenth of the time


def descendants(pid: int) -> set[int]:
    """Return the processes started by ``pid``, directly or through others."""
    children: dict[int, list[int]] = {}
    for process in all_processes():
        if (fields := _stat(process)) is not None:
            children.setdefault(int(fields[1]), []).append(process)
    started: set[int] = set()
    waiting = [pid]
    while waiting:
        new = children.get(waiting.pop(), [])
        started.update(new)
        waiting.extend(new)
    return started


def processes_with_variable(variable: str, is_meant: Callable[[str], bool]) -> list[int]:
    """Return the processes whose initial environment has ``variable`` with a value that ``is_meant``. Processes that
    this user may not read are left out."""
    start = f"{variable}=".encode()
    pids = []
    for pid in all_processes():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue  # a process of another user, or one that has ended
        values = (entry.removeprefix(start).decode(errors="replace") for entry in variables if entry.startswith(start))
        if any(map(is_meant, values)):
            pids.append(pid)
    return pids


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
            raise MeasurementError(f"processes could not be killed: {names}")
        # Something that forks faster than it is killed is not waited for.
        if killed:
            time.sleep(PAUSE_S)


def die_with_parent(parent: int | None = None, *, by: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process by a signal when the thread that started it ends, even if that is killed
    outright. Holds for what the process becomes too, and not for what it starts.

    ``parent`` is the process that it was started by, where that may be dead already.
    """
    _prctl(_PR_SET_PDEATHSIG, by)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), by)


def adopt_orphans() -> None:
    """Have descendants of this process whose own parents end become its children, in place of pid 1's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the third on, the state; None for a process that is gone, or hidden."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _is_hidden(pid: int) -> bool:
    """Return whether there is a process of another user that /proc does not show (its option hidepid)."""
    if _stat(pid) is not None:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return False


def _boot() -> str:
    """Return the part of the boot's ID that is in marks."""
    return boot_id()[:8]
