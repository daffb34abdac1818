"""The signals of a supervisor: those that say stop, and those that say that a worker has ended.

It loads next to nothing, so that signals are heard from the first moments on: the system drops them for the first
process of a container as long as that has no handlers.
"""

from __future__ import annotations

import signal
import socket
from contextlib import suppress
from types import FrameType

STOPS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


class Signals:
    """The signals since it was made. ``stops`` is 0 until one says stop, and more than 1 when that is urgent.

    A second SIGTERM or SIGINT says so. SIGHUP never does, since some send it together with the other; it is not heard
    where it was ignored before, as nohup has it. ``fileno`` is readable when a signal has come, until :meth:`clear`.
    """

    def __init__(self) -> None:
        self.stops = 0
        self._stop_requests = 0
        self._ends = (self._wakes, self._woken) = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in STOPS:
            if signal.getsignal(number) is not signal.SIG_IGN or number is not signal.SIGHUP:
                signal.signal(number, self._count)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def fileno(self) -> int:
        return self._woken.fileno()

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def close(self) -> None:
        """Wake nobody any more. Signals are still counted."""
        signal.set_wakeup_fd(-1)
        for end in self._ends:
            end.close()

    def _count(self, number: int, _: FrameType | None) -> None:
        self._stop_requests += number != signal.SIGHUP
        self.stops = max(1, self._stop_requests)
