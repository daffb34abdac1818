"""Calls in child processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from servefit.errors import OutOfMemory, PayloadMismatch, StateError, TimedOut, WorkerCrashed
from servefit.isolation import STDERR_TAIL_CHARACTERS, call_isolated
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

pytestmark = pytest.mark.integration

MEBIBYTE = 2**20


@pytest.fixture(autouse=True)
def _functions_to_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)


def wait_until_gone(process_ids: list[int]) -> None:
    """Wait for processes to end; one that nobody has reaped has ended too."""
    deadline = time.monotonic() + 10
    for process_id in process_ids:
        while _runs(process_id):
            assert time.monotonic() < deadline, f"process {process_id} is still there"
            time.sleep(0.02)


def _runs(process_id: int) -> bool:
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_result_comes_back_from_another_process() -> None:
    assert call_isolated("isolated_calls:add", 2, 3, timeout_s=60) == 5
    assert call_isolated("isolated_calls:process_id", timeout_s=60) != os.getpid()


def test_variables_are_added_for_the_child_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVEFIT_TEST_KEPT", "kept")
    added = {"SERVEFIT_TEST_ADDED": "added"}
    assert call_isolated("isolated_calls:variable", "SERVEFIT_TEST_KEPT", timeout_s=60, environment=added) == "kept"
    assert call_isolated("isolated_calls:variable", "SERVEFIT_TEST_ADDED", timeout_s=60, environment=added) == "added"
    assert "SERVEFIT_TEST_ADDED" not in os.environ


def test_what_the_child_prints_stays_off_our_outputs(capfd: pytest.CaptureFixture[str]) -> None:
    assert call_isolated("isolated_calls:write_to_both_outputs", timeout_s=60) == "done"
    assert capfd.readouterr() == ("", "")


def test_files_in_the_working_directory_do_not_pass_for_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tempfile.py").write_text("raise RuntimeError('not the standard library')")
    monkeypatch.chdir(tmp_path)
    assert call_isolated("isolated_calls:add", 2, 3, timeout_s=60) == 5


def test_an_error_of_ours_comes_through_with_its_fields() -> None:
    with pytest.raises(PayloadMismatch) as caught:
        call_isolated("isolated_calls:refuse_payload", timeout_s=60)
    assert (caught.value.source, caught.value.expected, caught.value.got) == ("rows.csv", "30 columns", "29 columns")


def test_any_other_exception_is_a_crash_told_by_its_last_line() -> None:
    with pytest.raises(WorkerCrashed) as caught:
        call_isolated("isolated_calls:raise_value_error", timeout_s=60)
    assert str(caught.value) == "ended with status 1: ValueError: bins must be positive"
    assert caught.value.signal is None
    assert "in raise_value_error" in caught.value.stderr


def test_only_the_tail_of_the_output_is_kept() -> None:
    with pytest.raises(WorkerCrashed, match=r"^ended with status 7: the last words$") as caught:
        call_isolated("isolated_calls:chatter_and_end", 7, timeout_s=60)
    assert len(caught.value.stderr) <= STDERR_TAIL_CHARACTERS
    assert caught.value.stderr.endswith("chatter \nthe last words")


def test_a_segmentation_fault_is_a_crash_with_its_signal() -> None:
    with pytest.raises(WorkerCrashed, match="crashed with SIGSEGV") as caught:
        call_isolated("isolated_calls:segfault", timeout_s=60)
    assert caught.value.signal == signal.SIGSEGV


def test_a_signal_without_a_name_is_a_crash_too() -> None:
    nameless = signal.SIGRTMIN + 5
    with pytest.raises(WorkerCrashed, match=f"crashed with signal {nameless}: it said nothing") as caught:
        call_isolated("isolated_calls:die_of", nameless, timeout_s=60)
    assert caught.value.signal == nameless


def test_memory_beyond_the_bound_is_refused() -> None:
    assert call_isolated("isolated_calls:allocate", MEBIBYTE, timeout_s=60, memory_bytes=512 * MEBIBYTE) == MEBIBYTE
    with pytest.raises(OutOfMemory) as caught:
        call_isolated("isolated_calls:allocate", 2048 * MEBIBYTE, timeout_s=60, memory_bytes=512 * MEBIBYTE)
    assert caught.value.limit_bytes == 512 * MEBIBYTE


def test_a_kill_from_outside_is_read_as_a_lack_of_memory() -> None:
    with pytest.raises(OutOfMemory, match="SIGKILL"):
        call_isolated("isolated_calls:die_of", signal.SIGKILL, timeout_s=60)


def test_running_out_of_time_ends_the_child_and_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "processes"
    with pytest.raises(TimedOut) as caught:
        call_isolated("isolated_calls:ignore_termination_and_start_two_processes", note, timeout_s=3)
    assert caught.value.limit_s == 3
    assert str(caught.value) == "ignore_termination_and_start_two_processes did not finish within 3 s"
    processes = [int(process_id) for process_id in note.read_text().split()]
    assert len(processes) == 3
    wait_until_gone(processes)


def test_a_limit_that_becomes_shorter_meanwhile_ends_the_child() -> None:
    over = threading.Event()
    threading.Timer(0.5, over.set).start()
    with time_limit(lambda: 0.0 if over.is_set() else inf), pytest.raises(TimedOut):
        call_isolated("time:sleep", 600, timeout_s=600)


def test_an_interrupt_ends_the_child_and_what_it_started(tmp_path: Path) -> None:
    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def interrupt_once_all_run() -> None:
        while not note.exists() or not note.read_text():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGALRM)

    note = tmp_path / "processes"
    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupting = threading.Thread(target=interrupt_once_all_run, daemon=True)
    interrupting.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call_isolated("isolated_calls:ignore_termination_and_start_two_processes", note, timeout_s=60)
    finally:
        signal.signal(signal.SIGALRM, previous)
    wait_until_gone([int(process_id) for process_id in note.read_text().split()])


def test_temporary_files_are_gone_after_success_and_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert call_isolated("isolated_calls:add", 2, 3, timeout_s=60) == 5
    with pytest.raises(WorkerCrashed):
        call_isolated("isolated_calls:segfault", timeout_s=60)
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_temporary_files_is_told_with_the_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    with pytest.raises(StateError, match="point TMPDIR at a writable folder"):
        call_isolated("isolated_calls:add", 2, 3, timeout_s=60)


CALLER = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from math import inf
from pathlib import Path
from servefit.isolation import call_isolated
def call():
    call_isolated("isolated_calls:note_processes_and_compute_for_ever", Path(sys.argv[2]), timeout_s=600)
if sys.argv[3] == "in a thread":
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
else:
    call()
"""


@contextmanager
def calling(folder: Path, where: str = "in the main thread") -> Iterator[tuple[subprocess.Popen[bytes], list[int]]]:
    """A process that makes a call without end, with temporary files in ``folder``; and the processes of the call."""
    note = folder.parent / "processes"
    arguments = [str(Path(__file__).parent), str(note), where]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen([sys.executable, "-c", CALLER, *arguments], env=environment) as caller:
        deadline = time.monotonic() + 30
        while not note.exists():
            assert caller.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes = [int(process_id) for process_id in note.read_text().split()]
        try:
            yield caller, processes
        finally:
            for process_id in (caller.pid, *processes):
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while found := list(folder.iterdir()):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


@pytest.mark.parametrize("where", ["in the main thread", "in a thread"])
def test_a_caller_that_is_killed_takes_the_call_and_what_it_started_along(where: str, temporary: Path) -> None:
    with calling(temporary, where) as (caller, processes):
        assert len(processes) == 6
        assert len(list(temporary.glob("servefit-call.*"))) == 1
        caller.kill()
        wait_until_gone(processes)
        wait_until_empty(temporary)


def test_what_is_left_where_the_watching_process_was_killed_too_is_ended_by_the_next_call(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with calling(temporary) as (caller, (fork, *started)):
        watching = psutil.Process(fork).parent()
        assert watching is not None
        for pid in (watching.pid, caller.pid, fork):
            with suppress(ProcessLookupError):  # the fork may have seen by now that the others are gone
                os.kill(pid, signal.SIGKILL)
        caller.wait()
        assert psutil.pid_exists(started[1])
        assert len(list(temporary.iterdir())) == 1
        call_isolated("isolated_calls:add", 2, 3, timeout_s=60)
        wait_until_gone(started)
        assert list(temporary.iterdir()) == []


def test_the_next_call_leaves_one_that_still_goes_on_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with calling(temporary) as (_, processes):
        call_isolated("isolated_calls:add", 2, 3, timeout_s=60)
        assert all(psutil.Process(pid).is_running() for pid in processes)
        assert len(list(temporary.iterdir())) == 1


def test_what_left_the_session_of_a_call_ends_with_it_too() -> None:
    wait_until_gone([call_isolated("isolated_calls:leave_a_process_in_a_session_of_its_own", timeout_s=60)])
