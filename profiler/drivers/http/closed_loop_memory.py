"""The memory of a closed loop: what clients count, and when the run was ended before its time."""

from __future__ import annotations

import time
from typing import Self

from servefit.profiler.drivers.driving.memory import SharedWords

_STOPPED_NS = 0
"""The header word that says when the run was stopped."""


class ClosedLoopMemory:
    """A view of ``words``, as ``RunProgress`` and ``ClosedLoopEnd`` use it. Every client has users of its own."""

    def __init__(self, words: SharedWords) -> None:
        self.words = words

    @classmethod
    def write(cls, memory: int, *, clients: int) -> Self:
        """Lay out new memory for so many clients."""
        return cls(SharedWords.create(memory, workers=clients, body_words=0))

    def stop(self) -> None:
        self.words.header[_STOPPED_NS] = time.monotonic_ns()

    @property
    def stopped_ns(self) -> int | None:
        return self.words.header[_STOPPED_NS] or None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.words.__exit__()
