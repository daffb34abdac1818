"""The work that hosts are compared by: the same steps everywhere, without any library.

Run as a script in a fresh interpreter, on the CPU whose number is its first argument, for the milliseconds that are the
second. It prints what a pass of arithmetic and a pass of memory took on average, in nanoseconds, and the part of the
time for which this process did not have the CPU. Averages, because a CPU that is taken away for half of the time leaves
most short passes as quick as before. It imports nothing else, so that it starts at once.
"""

import gc
import os
import sys
import time

_STEPS = 4_000
"""A pass of arithmetic takes about half a millisecond: the clock of the core, and what stays in its nearest cache."""

_COPIED_BYTES = 16 << 20
"""More than a core's own caches hold, so a pass of memory is about what a core gets from the memory that all share, or
from a last cache that is large."""

_TURN_NS = 5_000_000
"""Arithmetic and memory take turns of so long: what disturbs one disturbs the other."""


def _arithmetic() -> None:
    # A full-period generator modulo a power of two [Hull and Dobell 1962], whose numbers Python keeps in one word.
    number = 1
    for _ in range(_STEPS):
        number = (1_664_525 * number + 1_013_904_223) % 1_073_741_824


def _measure(duration_ns: int) -> tuple[float, float, float]:
    clock = time.perf_counter_ns
    # Written once: pages that were never written are all the same page of zeros.
    source, target = bytearray(b"\1") * _COPIED_BYTES, bytearray(b"\2") * _COPIED_BYTES

    def memory() -> None:
        target[:] = source

    spent, passes, works = [0, 0], [0, 0], (_arithmetic, memory)
    for work in works:
        work()
    first, used = clock(), time.process_time_ns()
    while clock() < first + duration_ns:
        for nth, work in enumerate(works):
            began = ended = clock()
            while ended < began + _TURN_NS:
                work()
                passes[nth] += 1
                ended = clock()
            spent[nth] += ended - began
    used, lasted = time.process_time_ns() - used, clock() - first
    return spent[0] / passes[0], spent[1] / passes[1], max(0.0, 1 - used / lasted)


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    gc.disable()
    sys.stdout.write("{} {} {}\n".format(*_measure(int(sys.argv[2]) * 1_000_000)))
