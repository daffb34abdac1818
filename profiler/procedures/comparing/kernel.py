"""The work that a host's noise floor is measured with: a walk through memory that takes the same steps every time.

Run as a script in a fresh interpreter, on the CPU whose number is its first argument, for the milliseconds that are the
second. It prints the median time of one walk in nanoseconds. It imports nothing else, so that it starts at once.
"""

import gc
import os
import sys
import time

_NODES = 32_768
"""A power of two, as the generator wants it. List and numbers take 1.2 MB, more than the nearest cache holds."""

_STEPS = 1_000
"""A walk takes 14 us on the machine of the benchmarks, hundreds of times what reading the clock costs."""


def _median_walk_ns(duration_ns: int) -> int:
    # A full-period generator modulo a power of two [Hull and Dobell 1962]: every node leads to another, none twice.
    following = [(1_664_525 * node + 1_013_904_223) % _NODES for node in range(_NODES)]
    clock = time.perf_counter_ns
    walks: list[int] = []
    node = 0
    ended = clock()
    last = ended + duration_ns
    while ended < last:
        began = clock()
        for _ in range(_STEPS):
            node = following[node]
        ended = clock()
        walks.append(ended - began)
    return sorted(walks)[len(walks) // 2]


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    gc.disable()
    sys.stdout.write(f"{_median_walk_ns(int(sys.argv[2]) * 1_000_000)}\n")
