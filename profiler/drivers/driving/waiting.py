"""Waiting for a moment: asleep until shortly before it, then spinning, and counting what that costs."""

from __future__ import annotations

import ctypes
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.profiler.drivers.driving.memory import SharedWords

_PR_SET_TIMERSLACK = 29
"""[linux/prctl.h]"""


class Waiting:
    """Waits for worker ``number``, and counts its CPU time in ``words``. It stops sleeping ``spin_ns`` before a due
    moment, since waking up takes that long now and then."""

    def __init__(self, words: SharedWords, number: int, *, spin_ns: int) -> None:
        self._words = words
        self._number = number
        self._spin_ns = spin_ns

    def until(self, due_ns: int) -> int:
        """Wait until ``due_ns``; give the clock as it was last seen, at or after that."""
        clock = time.monotonic_ns
        cpu_before = time.thread_time_ns()
        while (left_ns := due_ns - clock() - self._spin_ns) > 0:
            time.sleep(left_ns / 1e9)
        cpu_ns = time.thread_time_ns() - cpu_before
        # Counted before the spinning, so that nothing stands between the last look at the clock and the request.
        self._words.add_waiting(self._number, cpu_ns + max(0, due_ns - clock()))
        while (now := clock()) < due_ns:
            pass
        return now


def sleep_punctually() -> None:
    """Have the kernel end this thread's sleeps on time, not up to 50 us later to save wake-ups (prctl(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_TIMERSLACK)")
