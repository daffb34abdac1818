"""The figures of a process and its threads in /proc."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.machine.telemetry.processes import process_cpu_ns, process_snapshot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timed

MIB = 2**20


def test_the_cpu_time_of_a_process_is_that_which_it_sees_itself() -> None:
    before = time.process_time_ns()
    seen = process_cpu_ns(os.getpid())
    assert before <= seen <= time.process_time_ns()


def test_a_process_that_is_gone_is_said_to_be() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        process_snapshot(process.pid)


def test_memory_is_that_of_the_process_and_not_what_it_shares() -> None:
    before = process_snapshot(os.getpid()).memory_bytes
    shared = mmap.mmap(-1, 64 * MIB)
    shared.write(b"x" * 64 * MIB)
    with_shared = process_snapshot(os.getpid()).memory_bytes
    own = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    own.write(b"x" * 64 * MIB)
    with_own = process_snapshot(os.getpid()).memory_bytes
    shared.close()
    own.close()
    assert with_shared - before < 72 * MIB  # the string that was written may still be there, the pages are not counted
    assert with_own - with_shared > 56 * MIB


def test_every_thread_is_seen() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    threads = process_snapshot(os.getpid()).threads
    stop.set()
    thread.join()
    assert {os.getpid(), thread.native_id} <= set(threads)
    assert threads[os.getpid()].voluntary_switches is not None


def test_a_kernel_that_does_not_count_delays_says_none(tmp_path: Path) -> None:
    for number, schedstat in ((os.getpid(), "0 0 0\n"), (os.getpid() + 1, None)):
        folder = tmp_path / str(os.getpid()) / "task" / str(number)
        folder.mkdir(parents=True)
        (folder / "status").write_text("Name:\tx\nRssAnon:\t  100 kB\nRssFile:\t  20 kB\nRssShmem:\t  5000 kB\n")
        if schedstat is not None:
            (folder / "schedstat").write_text(schedstat)
    snapshot = process_snapshot(os.getpid(), tmp_path)
    assert snapshot.memory_bytes == 120 * 1024
    assert [thread.delay_ns for thread in snapshot.threads.values()] == [None, None]
    assert [thread.voluntary_switches for thread in snapshot.threads.values()] == [None, None]
