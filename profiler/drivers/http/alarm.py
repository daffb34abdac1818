"""Calls back at a moment, to the microsecond: timers of event loops count in milliseconds, the kernel's do not."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_NS_PER_S = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Calls ``ring`` from ``loop``. It has no moment until one is set, and has none after it rang."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._loop = loop
        self._ring = ring
        self._at = _Itimerspec()
        self._settime = self._libc.timerfd_settime
        loop.add_reader(self._timer, self._rang)

    def set(self, at_ns: int) -> None:
        """Ring at ``at_ns`` (of ``time.monotonic_ns``), or at once if that is past. An earlier moment is forgotten."""
        value = self._at.value
        value.seconds, value.nanoseconds = divmod(max(1, at_ns), _NS_PER_S)
        if self._settime(self._timer, _TFD_TIMER_ABSTIME, ctypes.byref(self._at), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _rang(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return  # it was set anew in the meantime
        self._ring()
