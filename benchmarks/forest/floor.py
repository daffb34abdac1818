"""What predicting cannot do without, for ``claims.forest``: comparisons on the paths of the rows, and cache lines.

Counted: for the rows that are measured, the tests between each root and the leaf that is reached (``visits``), and the
lines of 64 bytes that these nodes and leaves lie in, if every node takes 8 bytes and a tree's nodes lie breadth first
from a new line on. For many rows together a line counts once.

Measured, on one core: how many pairs of bytes numpy compares in a nanosecond where they lie in the first-level cache
(a test as a byte beside a byte, with the widest instructions), and how many bytes memcmp reads in a nanosecond from as
much memory as the lines take.

Assumed: rows cost nothing to read or to encode, and sums nothing. The floor is the longer of comparisons and reading,
over the number of threads. That reading waits for the test before it, which is what a single row mostly waits for, is
left out of it, so nothing can reach it for one row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from servefit.isolation import call_isolated

if TYPE_CHECKING:
    from servefit.backends.model import Model

_LINE, _NODE = 64, 8
_COMPARED_BYTES = 8192
_TIMINGS = 15
_MIN_NS = 2_000_000
_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """For calls of one row and of ``rows`` rows. ``lines`` are those of each of the two, of a mean row for the first;
    ``bytes_per_ns`` are for reading these."""

    rows: int
    visits: float
    lines: tuple[float, float]
    compared_per_ns: float
    bytes_per_ns: tuple[float, float]

    def us(self, rows: int, threads: int) -> float:
        """Return the floor in us of a call with ``rows`` and ``threads``. Raises ValueError for a number of rows that
        was not counted."""
        which = (1, self.rows).index(rows)
        reading_ns = self.lines[which] * _LINE / self.bytes_per_ns[which]
        return max(rows * self.visits / self.compared_per_ns, reading_ns) / threads / 1000


def find_floor(model: Model, rows: np.ndarray, cpu: int) -> Floor:
    """Return the floor for a call with all ``rows``, and for a call with one of them."""
    floor: Floor = call_isolated("benchmarks.forest.floor:count_and_measure", model, rows, cpu, timeout_s=_LIMIT_S)
    return floor


def count_and_measure(model: Model, rows: np.ndarray, cpu: int) -> Floor:
    """Count comparisons and cache lines, and measure their speeds. Runs in a child process, since it loads Treelite."""
    import treelite

    from servefit.backends.libraries.trees import read_trees

    os.sched_setaffinity(0, {cpu})
    trees = read_trees(model, "forest")
    leaves = treelite.gtil.predict_leaf(trees, rows.astype(trees.input_type), nthread=1).astype(np.int64)
    leaves = leaves.reshape(len(rows), trees.num_tree)
    visits, lines_one, lines_all = 0.0, 0.0, 0
    for number in range(trees.num_tree):
        get = trees.get_tree_accessor(number).get_field
        paths = _Paths(get("cleft").astype(np.int64), get("cright").astype(np.int64))
        hit, times = np.unique(leaves[:, number], return_counts=True)
        visits += float(times @ paths.depth[hit]) / len(rows)
        lines_one += float(times @ paths.lines[hit]) / len(rows)
        lines_all += paths.lines_together(hit)
    return Floor(
        rows=len(rows),
        visits=visits,
        lines=(lines_one, lines_all),
        compared_per_ns=_compared_per_ns(),
        bytes_per_ns=(_bytes_per_ns(lines_one * _LINE), _bytes_per_ns(lines_all * _LINE)),
    )


class _Paths:
    """Of every node of a tree: its depth, its line, and the number of lines on the path to it."""

    def __init__(self, left: np.ndarray, right: np.ndarray) -> None:
        self.parent = np.full(len(left), -1)
        self.depth, self.line, self.lines = (np.zeros(len(left), dtype=np.int64) for _ in range(3))
        reached, placed, level = np.array([0]), 0, 0
        while len(reached):
            self.depth[reached] = level
            self.line[reached] = (placed + np.arange(len(reached))) * _NODE // _LINE
            above = self.parent[reached]
            entered = (above < 0) | (self.line[reached] != self.line[above])
            self.lines[reached] = self.lines[above] + entered
            placed, level = placed + len(reached), level + 1
            inner = reached[left[reached] >= 0]
            self.parent[left[inner]] = self.parent[right[inner]] = inner
            reached = np.stack([left[inner], right[inner]], axis=1).ravel()

    def lines_together(self, leaves: np.ndarray) -> int:
        """Return the number of cache lines on the paths to ``leaves``."""
        found: set[int] = set()
        while len(leaves):
            found.update(self.line[leaves].tolist())
            leaves = np.unique(self.parent[leaves])
            leaves = leaves[leaves >= 0]
        return len(found)


def _compared_per_ns() -> float:
    random = np.random.default_rng(0)
    codes, bounds = random.integers(0, 256, (2, _COMPARED_BYTES), dtype=np.uint8)
    below = np.empty(_COMPARED_BYTES, dtype=bool)
    return _COMPARED_BYTES / _shortest_ns(lambda: np.less(bounds, codes, out=below))


def _bytes_per_ns(size: float) -> float:
    half = max(int(size) // 2, _LINE)
    original, copy = bytes(half), bytes(bytearray(half))
    return 2 * half / _shortest_ns(lambda: original == copy)


def _shortest_ns(act: Callable[[], object]) -> float:
    """Return the median of timings of ``act``, each repeated for two milliseconds; about 50 ns of Python are
    included."""
    repeats = 1
    while True:
        times = []
        for _ in range(_TIMINGS):
            began = time.perf_counter_ns()
            for _ in range(repeats):
                act()
            times.append(time.perf_counter_ns() - began)
        if median(times) > _MIN_NS:
            return median(times) / repeats
        repeats *= 2
