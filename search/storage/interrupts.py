"""Ctrl-C while the database is written: it counts once what was begun is written.

Python raises KeyboardInterrupt between any two instructions. Within SQLAlchemy or a driver that leaves connections that
nobody gives back, which lock a file for the next writer, and a traceback in the log.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """Holds the SIGINT of this process back, in its main thread; others are not interrupted.

    A second one is not held back: a user who presses Ctrl-C twice does not want to wait.
    """

    def __init__(self) -> None:
        self._holding = False
        self._came = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold an interrupt back until the block ends, and let it through then. Blocks may be within others."""
        if self._holding or threading.current_thread() is not threading.main_thread():
            yield
            return
        before: Any = signal.getsignal(signal.SIGINT)
        if not callable(before):
            # It is ignored, or handled by what is not Python.
            yield
            return

        def hold(number: int, frame: FrameType | None) -> None:
            self._came += 1
            if self._came > 1:
                before(number, frame)

        self._holding, self._came = True, 0
        signal.signal(signal.SIGINT, hold)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            self._holding = False
            if self._came == 1:
                before(signal.SIGINT, None)

    def let_through(self) -> None:
        """Raise what is held back, before a wait within :meth:`held`."""
        if self._holding and self._came and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
