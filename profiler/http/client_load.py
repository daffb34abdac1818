"""How busy the load clients were: their CPU time, looked at from outside, every now and then while a run goes on."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.telemetry import process_cpu_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.profiler.driving.memory import SharedWords

_LEAST_NS = 20_000_000
"""A shorter plateau says nothing."""


class ClientLoad:
    """Looks at the clients ``pids``, which count in ``words`` what they spent waiting."""

    def __init__(self, pids: Sequence[int], words: SharedWords) -> None:
        self._pids = pids
        self._words = words
        self._at_ns: list[int] = []
        self._busy_ns: list[list[int]] = []
        self.look()

    def look(self) -> None:
        with suppress(ProcessLookupError):  # whoever waits for its answer will raise
            busy = [process_cpu_ns(pid) - self._words.waiting_ns(number) for number, pid in enumerate(self._pids)]
            self._at_ns.append(time.monotonic_ns())
            self._busy_ns.append(busy)

    def busiest_percent(self, plateau_ns: tuple[int, int]) -> float | None:
        """The CPU time of the busiest client between two moments, in per cent of it, by what was seen around them;
        None where they are too close to tell."""
        begin, end = max(plateau_ns[0], self._at_ns[0]), min(plateau_ns[1], self._at_ns[-1])
        if end - begin < _LEAST_NS:
            return None
        edges = np.array([begin, end], dtype=np.float64)
        used = [np.diff(np.interp(edges, self._at_ns, busy))[0] for busy in zip(*self._busy_ns, strict=True)]
        return 100 * max(0.0, float(max(used))) / (end - begin)
