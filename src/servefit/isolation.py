"""Run one function in a fresh process of its own, bounded in time and memory.

Native libraries abort or segfault on hostile model files, print to stdout, and keep threads for ever. Whatever opens
a model or runs a converter goes through :func:`call_isolated`; the calling process never loads those libraries. What
happens in the fresh process is in ``isolated``. Measurement workers live longer and talk back, so they have a launcher
of their own in the profiler.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

from servefit.errors import MeasurementError, OutOfMemory, WorkerCrashed
from servefit.processes import end_processes, is_abandoned, own_mark, processes_with_variable
from servefit.state import left_behind, sweep, temporary_folder, writing
from servefit.time_limit import allowed_s, timed_out

STDERR_TAIL_CHARACTERS = 4000
"""Some fifty lines: a stack trace, or what else was said last. Chosen, not measured."""

REPORTS_NOTHING: Mapping[str, str] = {"ORT_DISABLE_TELEMETRY": "1"}
"""ONNX Runtime from 1.32 on starts a thread that uploads how it is used. Nothing that servefit starts reports home, and
no thread of a reporter runs beside what is measured."""

_VARIABLE = "SERVEFIT_CALLER"
"""In the environment of a call and of what it starts: whose call it is."""

_LOOK_S = 0.2
"""A call looks so often whether what waits for it has ended. Chosen, not measured."""

# What Python, C++, the system and the dynamic linker say.
_SIGNS_OF_REFUSED_MEMORY = ("MemoryError", "bad_alloc", "Cannot allocate memory", "failed to map segment")


def call_isolated(
    function: str,
    /,
    *arguments: Any,
    timeout_s: float,
    memory_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Any:
    """Call ``function`` ("package.module:name") with picklable ``arguments`` in a fresh interpreter; give its result.

    The child imports from where this process does. ``memory_bytes`` bounds the address space of the child and of what
    it starts. ``environment`` is added to this process's own. A ServefitError raised by the function is raised here.
    What the child prints is captured and only seen as the tail of stderr in an error. The child and all that it started
    are gone on return, and also when this process, or the thread that calls, is killed outright.

    Raises TimedOut, OutOfMemory, WorkerCrashed (with the signal and the tail of stderr), and StateError where there
    is no room for temporary files.
    """
    sweep_calls()
    with temporary_folder("call") as folder:
        request, answer, output = (folder / name for name in ("request", "answer", "output"))
        with writing(request, variable="TMPDIR"):
            request.write_bytes(pickle.dumps((sys.path, memory_bytes, function, pickle.dumps(arguments))))
        with output.open("wb") as sink:
            # -P: whatever lies in the working directory must not pass for a library.
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "servefit.isolated", str(request), str(answer), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # A compiler that is killed leaves its temporary files.
                env={
                    **os.environ,
                    **REPORTS_NOTHING,
                    "TMPDIR": str(folder),
                    **(environment or {}),
                    _VARIABLE: own_mark(),
                },
                start_new_session=True,
            )
            limit_s = allowed_s(timeout_s)
            try:
                status = _status_of(child, timeout_s)
            finally:
                end_process_group(child)
        if status is None:
            raise timed_out(function.rpartition(":")[2], limit_s=limit_s, timeout_s=timeout_s)
        printed = tail(output)
        if not answer.exists():
            raise exit_error(status, printed, memory_bytes)
        succeeded, result = pickle.loads(answer.read_bytes())
    if not succeeded:
        raise result
    return result


def _status_of(child: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Wait for ``child``, and return its status; None where the time is over. A limit around may become shorter
    meanwhile."""
    ends_s = time.monotonic() + timeout_s
    while True:
        left_s = allowed_s(ends_s - time.monotonic())
        try:
            return child.wait(min(left_s, _LOOK_S))
        except subprocess.TimeoutExpired:
            if left_s <= _LOOK_S:
                return None


def begin_isolated(
    function: str,
    /,
    *arguments: Any,
    timeout_s: float,
    memory_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Future[Any]:
    """Begin what :func:`call_isolated` does, and go on meanwhile. The future has its result, or what it raises. A call
    that nobody waited for ends with this process, if not before."""
    future: Future[Any] = Future()

    def call() -> None:
        try:
            future.set_result(
                call_isolated(
                    function,
                    *arguments,
                    timeout_s=timeout_s,
                    memory_bytes=memory_bytes,
                    environment=environment,
                )
            )
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result is told
            future.set_exception(error)

    # A thread of its own: a call ends with the thread that made it, and who asks for this one's result may be another.
    threading.Thread(target=copy_context().run, args=(call,), daemon=True).start()
    return future


def sweep_calls() -> None:
    """End what is left of calls whose callers were killed together with what watched over them, and remove what they,
    and others, left among temporary files. If there is anything, there is a folder too."""
    temporary = Path(tempfile.gettempdir())
    if left_behind(temporary):
        with suppress(MeasurementError):  # that somebody else's cannot be killed is no concern of this call
            end_processes(lambda: processes_with_variable(_VARIABLE, is_abandoned))
        sweep(temporary)


def end_process_group(child: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Kill ``child`` and everything it started, also what left its process group for a session of its own."""
    import psutil

    descendants: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        descendants = psutil.Process(child.pid).children(recursive=True)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for descendant in descendants:
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    child.wait()


def tail(output: Path) -> str:
    """Return the last characters of a captured output file."""
    with output.open("rb") as stream:
        stream.seek(max(0, output.stat().st_size - STDERR_TAIL_CHARACTERS))
        return stream.read().decode(errors="replace").strip()


def exit_error(status: int, printed: str, memory_bytes: int | None) -> WorkerCrashed | OutOfMemory:
    """Return the error for a child that ended with ``status`` without an answer, having ``printed`` this last."""
    last_line = printed.splitlines()[-1] if printed else "it said nothing"
    # A failed allocation in C++ ends in abort(); other signals have other reasons.
    if status in (*range(1, 256), -signal.SIGABRT) and any(sign in printed for sign in _SIGNS_OF_REFUSED_MEMORY):
        return OutOfMemory(f"out of memory: {last_line}", limit_bytes=memory_bytes)
    if status == -signal.SIGKILL:
        return OutOfMemory("killed by SIGKILL, most likely by the kernel for memory", limit_bytes=memory_bytes)
    if status < 0:
        # Python has no name for some signals of the system.
        name = next((member.name for member in signal.Signals if member == -status), f"signal {-status}")
        return WorkerCrashed(f"crashed with {name}: {last_line}", signal=-status, stderr=printed)
    return WorkerCrashed(f"ended with status {status}: {last_line}", stderr=printed)
