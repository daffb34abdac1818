"""The far side of ``isolation``: the process that carries out one call, and the one that watches over it.

Run as ``python -m servefit.isolated REQUEST ANSWER CALLER``. Before any library is imported it forks, and the fork
makes the call. The process itself only waits, and sees to it that nothing is left: whatever the fork has started,
compilers and daemons too, is killed when the fork ends, or when the caller does, killed outright or not. A native loop
that holds the fork's interpreter cannot keep it from that. It ends as the fork did, by the same signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from servefit.errors import MeasurementError, ServefitError
from servefit.processes import adopt_orphans, descendants, die_with_parent, end_processes

_AWAITED_SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
"""The signals that the watching process waits for: a child has ended, or the caller has."""

_LAST_THREAD_S = 2.0
"""For the other threads of a process that is killed to end: milliseconds, on a busy machine a second. Chosen."""


def main(request: Path, answer: Path, caller: int) -> None:
    _watch_over_fork(request.parent, caller)
    _carry_out(request, answer)


def _watch_over_fork(folder: Path, caller: int) -> None:
    """Return in a fork; this process ends when that does, or together with the process ``caller``. Then nothing else
    would remove ``folder``."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED_SIGNALS)
    adopt_orphans()
    # By a signal that is waited for below. The caller's thread lives as long as it waits for the answer.
    die_with_parent(caller, by=signal.SIGTERM)
    watching = os.getpid()
    fork = os.fork()
    if fork == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        die_with_parent(watching)
        return
    status = _status_of(fork)
    with suppress(ChildProcessError, MeasurementError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # raises where there are no children
        end_processes(lambda: descendants(watching))
    _reap()
    if _is_orphaned(caller, waits=status is None):
        import shutil

        shutil.rmtree(folder, ignore_errors=True)
    _end_like(signal.SIGKILL if status is None else status)


def _status_of(fork: int) -> int | None:
    """Wait until the fork has ended, and give its wait status; None where all is to end before."""
    while signal.sigwait(_AWAITED_SIGNALS) != signal.SIGTERM:
        if (status := _reap().get(fork)) is not None:
            return status
    return None


def _is_orphaned(caller: int, *, waits: bool) -> bool:
    """Return whether ``caller`` is gone. The signal that it dies comes with the end of its thread, and another process
    is the parent only once its last thread has ended, which it ``waits`` for."""
    until_s = time.monotonic() + (_LAST_THREAD_S if waits else 0.0)
    while os.getppid() == caller:
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.01)
    return True


def _reap() -> dict[int, int]:
    """Return the wait statuses of the children that have ended since the last time."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            ended[child[0]] = child[1]
    return ended


def _end_like(status: int) -> NoReturn:
    """End this process with the wait status of another."""
    if os.WIFSIGNALED(status):
        import resource

        # One core dump will do.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        number = os.WTERMSIG(status)
        with suppress(OSError):  # SIGKILL has no handler to take away
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _carry_out(request: Path, answer: Path) -> NoReturn:
    """Unpack the request, bound the memory, call, leave the answer."""
    import pickle
    from importlib import import_module

    sys.path, memory_bytes, function, pickled_arguments = pickle.loads(request.read_bytes())
    if memory_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    module, _, name = function.partition(":")
    try:
        arguments = pickle.loads(pickled_arguments)
        outcome = (True, getattr(import_module(module), name)(*arguments))
    except ServefitError as error:
        outcome = (False, error)
    complete = answer.with_suffix(".complete")
    complete.write_bytes(pickle.dumps(outcome))
    complete.rename(answer)
    # Native libraries may crash while they tear down; the answer is already safe.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
