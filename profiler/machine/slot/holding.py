"""Takes the slot, waits for it, and says for whom.

The lock belongs to an open file description (flock(2)), which is handed down: a process that measures is started with
``Slot.descriptors`` among those that it inherits. The kernel gives the lock back when the last of them is dead.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

from servefit.checks import check_at_least
from servefit.errors import SlotTaken
from servefit.profiler.machine.envelope.opening import sweep_envelopes
from servefit.profiler.machine.slot.holder import Holder, read_holder, write_holder, write_nobody
from servefit.profiler.machine.slot.place import Scope, SlotFile, open_slot_file
from servefit.quantities import span_text

_log = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.2
"""Between two looks of a waiting process, each of which takes a few microseconds on a machine that is being measured.
Nobody can give up waiting for a lock in the kernel."""

LOG_INTERVAL_S = 30.0
"""Often enough to show that it still waits, and seldom enough to fill no log. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The slot, held. Processes that measure inherit ``descriptors``. ``waited_s`` is how long it took to get it."""

    descriptors: tuple[int, ...]
    waited_s: float


_PLAIN = {"plain": True}
"""Marks log entries for the person at the terminal: a command prints them as sentences."""


@contextmanager
def measuring_slot(
    job: str,
    *,
    wait_s: float | None = None,
    before_waiting: Callable[[], object] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Slot]:
    """Hold the measuring slot of this host for as long as the block lasts, and whatever it started lives.

    ``job`` tells others who has it ("job fraud"). Where another process has it this waits, for ``wait_s`` at most
    (None: for as long as it takes), and logs at once for whom, and again now and then. ``before_waiting`` is called
    once if it has to wait: nobody waits for a request that turns out to be wrong. The slot belongs to a process: while
    one of its threads has it others enter at once, under the ``job`` of the first. It waits by the clock ``now`` and
    ``sleep``.

    Raises SlotTaken after ``wait_s``, SpecError for less than nothing, StateError and MeasurementError where there is
    no file to lock.
    """
    if wait_s is not None:
        check_at_least("wait", wait_s, 0)
    waiting = _SlotWait(inf if wait_s is None else wait_s, before_waiting, now, sleep)
    while (descriptor := _OWN_HOLD.enter(job, waiting.pause)) is None:
        pass
    try:
        yield Slot(descriptors=(descriptor,), waited_s=waiting.end())
    finally:
        _OWN_HOLD.leave()


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotState:
    """The slot as seen from outside: its file, whom it keeps apart, and its holder; None where nobody has it."""

    path: Path
    scope: Scope
    holder: Holder | None


def slot_state() -> SlotState:
    """Return the slot as it is now. Raises StateError and MeasurementError as :func:`measuring_slot` does."""
    file = open_slot_file()
    try:
        holder = None if _try_to_lock(file) else read_holder(file)
    finally:
        os.close(file.descriptor)
    return SlotState(path=file.path, scope=file.scope, holder=holder)


class _SlotWait:
    """Waits for whoever has the slot, for ``most_s``."""

    def __init__(
        self,
        most_s: float,
        before_waiting: Callable[[], object] | None,
        now: Callable[[], float],
        sleep: Callable[[float], object],
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._most_s = most_s
        self._before_waiting = before_waiting
        self._began_s: float | None = None
        self._say_at_s = 0.0
        self._swept = False

    def pause(self, file: SlotFile) -> None:
        """Wait a little. Raises SlotTaken when it has been long enough."""
        if self._before_waiting is not None and self._most_s > 0:
            check, self._before_waiting = self._before_waiting, None
            check()
        now_s = self._now()
        if self._began_s is None:
            self._began_s = self._say_at_s = now_s
        left_s = self._began_s + self._most_s - now_s
        if now_s >= self._say_at_s or left_s <= 0:
            holder = read_holder(file)
            if not holder.lives and not self._swept:
                # Then it may be free at once.
                self._swept = True
                sweep_envelopes()
                return
            if left_s <= 0:
                raise SlotTaken(
                    str(holder), job=holder.job, pid=holder.pid, since=holder.since, waited_s=now_s - self._began_s
                )
            _log.warning("%s", _told(holder), extra=_PLAIN)
            self._say_at_s, self._swept = now_s + LOG_INTERVAL_S, False
        self._sleep(min(POLL_INTERVAL_S, left_s))

    def end(self) -> float:
        """Return how long it took, in seconds, and log that."""
        if self._began_s is None:
            return 0.0
        waited_s = self._now() - self._began_s
        _log.info("waited for %.1f s to measure", waited_s)
        return waited_s


def _told(holder: Holder) -> str:
    """Return that this process waits for ``holder``, for the person who waits."""
    who = str(holder)
    if holder.lives and holder.since is not None:
        where = "" if holder.host is None else f" on {holder.host}"
        span = span_text(max(0.0, time.time() - holder.since))
        who = f"another servefit command ({holder.job}, pid {holder.pid}{where}, for {span})"
    return f"Waiting for {who}. --no-wait (wait_s=0) gives up at once."


class _OwnHold:
    """The hold that this process has on the slot, whichever of its threads took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._descriptor = -1
        self._is_told_of_forks = False

    def enter(self, job: str, when_taken: Callable[[SlotFile], None]) -> int | None:
        """Take the slot, or a further share of it, and give its descriptor. Where another process has it call
        ``when_taken`` and give None."""
        with self._lock:
            if self._entered:
                self._entered += 1
                return self._descriptor
            file = open_slot_file()
            try:
                if self._take(file, job):
                    return self._descriptor
            except BaseException:
                os.close(file.descriptor)
                raise
        try:
            when_taken(file)
        finally:
            os.close(file.descriptor)
        return None

    def leave(self) -> None:
        """Give a share back; with the last one the slot is free, unless something that was started goes on."""
        with self._lock:
            if not self._entered:
                return  # this is a fork
            self._entered -= 1
            if not self._entered:
                write_nobody(self._descriptor)
                os.close(self._descriptor)

    def _take(self, file: SlotFile, job: str) -> bool:
        """Take the slot, unless another process has it."""
        if not _try_to_lock(file):
            return False
        if not self._is_told_of_forks:
            self._is_told_of_forks = True
            os.register_at_fork(after_in_child=self._forget)
        write_holder(file.descriptor, job)
        self._descriptor, self._entered = file.descriptor, 1
        return True

    def _forget(self) -> None:
        """Let go in a fork: the child of a program that measures, such as a pool of processes, does not measure."""
        if self._entered:
            os.close(self._descriptor)
        self._lock = threading.Lock()
        self._entered = 0


def _try_to_lock(file: SlotFile) -> bool:
    """Take the lock if it is free. One on a file that is not there any more is none."""
    try:
        fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.descriptor), file.path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


_OWN_HOLD = _OwnHold()
"""The lock is the process's, as the kernel sees it."""
