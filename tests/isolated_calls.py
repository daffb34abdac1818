"""Functions for ``test_isolation`` to call in a child process. Each does something that a hostile model might cause."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from servefit.errors import PayloadMismatch

if TYPE_CHECKING:
    from pathlib import Path


def add(first: int, second: int) -> int:
    return first + second


def variable(name: str) -> str | None:
    return os.environ.get(name)


def process_id() -> int:
    return os.getpid()


def write_to_both_outputs() -> str:
    os.write(1, b"from the C library's stdout\n")
    print("from Python's stderr", file=sys.stderr)
    return "done"


def refuse_payload() -> None:
    raise PayloadMismatch("rows.csv", expected="30 columns", got="29 columns")


def raise_value_error() -> None:
    raise ValueError("bins must be positive")


def chatter_and_end(status: int) -> None:
    print("chatter " * 5000, flush=True)
    print("the last words", flush=True)
    os._exit(status)


def segfault() -> None:
    ctypes.string_at(0)


def die_of(number: int) -> None:
    os.kill(os.getpid(), number)


def allocate(size_bytes: int) -> int:
    return len(bytearray(size_bytes))


def ignore_termination_and_start_two_processes(note: Path) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    started = subprocess.Popen(["sleep", "1000"])
    away = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    note.write_text(f"{os.getpid()} {started.pid} {away.pid}")
    time.sleep(1000)


def note_processes_and_compute_for_ever(note: Path) -> None:
    """Two processes and a compiler, which is two more, and then a loop that never lets go of the interpreter's lock."""
    import psutil

    started = subprocess.Popen(["sleep", "1000"])
    away = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    source = subprocess.Popen(["sleep", "1000"], stdout=subprocess.PIPE)
    gcc = subprocess.Popen(["gcc", "-x", "c", "-c", "-", "-o", os.devnull], stdin=source.stdout)
    while not (cc1 := psutil.Process(gcc.pid).children()):
        time.sleep(0.01)
    complete = note.with_suffix(".complete")
    processes = (os.getpid(), started.pid, away.pid, source.pid, gcc.pid, *(process.pid for process in cc1))
    complete.write_text(" ".join(map(str, processes)))
    complete.rename(note)
    sum(itertools.repeat(0))


def leave_a_process_in_a_session_of_its_own() -> int:
    return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid


def sleep(seconds: float) -> None:
    time.sleep(seconds)
