"""Run one function in a fresh process of its own, bounded in time and memory.

Native libraries abort or segfault on hostile model files, print to stdout, and keep threads for ever. Whatever opens
a model or runs a converter goes through :func:`call_isolated`; the calling process never loads those libraries.
Measurement workers live longer and talk back, so they have a launcher of their own in the profiler.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from servefit.errors import OutOfMemory, TimedOut, WorkerCrashed
from servefit.state import writing

STDERR_TAIL_CHARACTERS = 4000

REPORTS_NOTHING: Mapping[str, str] = {"ORT_DISABLE_TELEMETRY": "1"}
"""ONNX Runtime from 1.32 on starts a thread that uploads how it is used. Nothing that servefit starts reports home, and
no thread of a reporter runs beside what is measured."""

_PR_SET_PDEATHSIG = 1
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
    What the child prints is captured and only seen as the tail of stderr in an error. The child and its process group
    are gone on return.

    Raises TimedOut, OutOfMemory, WorkerCrashed (with the signal and the tail of stderr), and StateError where there
    is no room for temporary files.
    """
    with _call_folder() as folder:
        request, answer, output = (folder / name for name in ("request", "answer", "output"))
        with writing(request, variable="TMPDIR"):
            request.write_bytes(pickle.dumps((sys.path, memory_bytes, function, pickle.dumps(arguments))))
        with output.open("wb") as sink:
            # -P: whatever lies in the working directory must not pass for a library.
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "servefit.isolation", str(request), str(answer)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **REPORTS_NOTHING, **(environment or {})},
                start_new_session=True,
            )
            try:
                status = child.wait(timeout_s)
            except subprocess.TimeoutExpired as error:
                raise TimedOut(function.rpartition(":")[2], limit_s=timeout_s) from error
            finally:
                end_process_group(child)
        printed = tail(output)
        if not answer.exists():
            raise death(status, printed, memory_bytes)
        succeeded, result = pickle.loads(answer.read_bytes())
    if not succeeded:
        raise result
    return result


@contextmanager
def _call_folder() -> Iterator[Path]:
    prefix = "servefit-call-"
    with writing(Path(prefix), variable="TMPDIR"):
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    with folder as path:
        yield Path(path)


def end_process_group(child: subprocess.Popen[bytes]) -> None:
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


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends, even if that is killed outright. Holds
    for what the process becomes too."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def tail(output: Path) -> str:
    """The last characters of a captured output file."""
    with output.open("rb") as stream:
        stream.seek(max(0, output.stat().st_size - STDERR_TAIL_CHARACTERS))
        return stream.read().decode(errors="replace").strip()


def death(status: int, printed: str, memory_bytes: int | None) -> WorkerCrashed | OutOfMemory:
    """The error for a child that ended with ``status`` without an answer, having ``printed`` this last."""
    last_line = printed.splitlines()[-1] if printed else "it said nothing"
    # What C++ cannot allocate for ends in abort(); other signals have reasons of their own.
    if status in (*range(1, 256), -signal.SIGABRT) and any(sign in printed for sign in _SIGNS_OF_REFUSED_MEMORY):
        return OutOfMemory(f"out of memory: {last_line}", limit_bytes=memory_bytes)
    if status == -signal.SIGKILL:
        return OutOfMemory("killed by SIGKILL, most likely by the kernel for memory", limit_bytes=memory_bytes)
    if status < 0:
        # The system has signals that Python has no name for.
        name = next((known.name for known in signal.Signals if known == -status), f"signal {-status}")
        return WorkerCrashed(f"crashed with {name}: {last_line}", signal=-status, stderr=printed)
    return WorkerCrashed(f"ended with status {status}: {last_line}", stderr=printed)


def _main(request: Path, answer: Path) -> None:
    """The child's side: unpack the request, bound the memory, call, leave the answer."""
    from importlib import import_module

    from servefit.errors import ServefitError

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
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
