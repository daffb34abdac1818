"""A timer of an event loop that keeps microseconds, for endpoints and for load clients. The loop's own rounds to
milliseconds."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_ABSOLUTE = 1
"""TFD_TIMER_ABSTIME of <sys/timerfd.h>."""

_NS_PER_S = 1_000_000_000
"""The kernel has seconds and nanoseconds."""


class _Setting(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class Timer:
    """Calls ``expired`` once at the time of the monotonic clock that it was last set to."""

    def __init__(self, loop: AbstractEventLoop, expired: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # The flags are those of open(2).
        self._descriptor = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._expired = expired
        self._setting = _Setting()
        self._arguments = (self._descriptor, _ABSOLUTE, ctypes.byref(self._setting), None)
        self._settime = libc.timerfd_settime
        loop.add_reader(self._descriptor, self._read)

    def set(self, at_ns: int) -> None:
        """Expire at ``at_ns``, or at once when that is over, and no longer at what was set before."""
        self._setting.at_s, self._setting.at_ns = divmod(max(1, at_ns), _NS_PER_S)
        if self._settime(*self._arguments) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Expire no more, and give the timer back to the kernel."""
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return  # it has been set anew since the loop saw it expire
        self._expired()
