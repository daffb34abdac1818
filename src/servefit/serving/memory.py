"""Gives the memory of what was received back to the system, which the C library keeps for itself after a burst."""

from __future__ import annotations

import ctypes

_WORTH_IT_BYTES = 2**20
"""Looking for memory to give back takes a millisecond or so: less is not worth it."""


class ReceivedBytes:
    """Counts bytes that are held of what clients send."""

    def __init__(self) -> None:
        # Other C libraries than glibc have no such function, and keep less.
        self._give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._most_bytes = 0
        self.bytes = 0

    def add(self, more_bytes: int) -> None:
        self.bytes += more_bytes
        self._most_bytes = max(self._most_bytes, self.bytes)

    def trim(self) -> None:
        """Give memory back where much less is held than was. To be called every now and then."""
        if self._most_bytes - self.bytes > max(_WORTH_IT_BYTES, self._most_bytes // 2):
            self._most_bytes = self.bytes
            if self._give_back is not None:
                self._give_back(0)
