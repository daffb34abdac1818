"""Slowdown of calls among calls of other sizes, compared to calls among their like, where queues join waiting requests:
caches hold what another size left, and branches are foretold by it. Measuring it is left to others."""

from __future__ import annotations

from math import log2
from typing import TypeAlias

import numpy as np

from servefit.checks import check_above_zero, check_whole
from servefit.errors import SpecError

ChangingSizes: TypeAlias = tuple[tuple[int, float], ...]
"""Pairs, ascending: calls of about so many requests, two or more, take so many times as long. Empty where that is not
known."""


def check_changing_sizes(sizes_and_times: ChangingSizes) -> None:
    """Raise SpecError unless sizes ascend from two or more and all take time."""
    for requests, times in sizes_and_times:
        check_whole("changing_sizes", requests, least=2)
        check_above_zero("changing_sizes", times)
    sizes = [requests for requests, _ in sizes_and_times]
    if sorted(set(sizes)) != sizes:
        raise SpecError("changing_sizes", sizes, "is not ascending")


def times_as_long(requests: int, sizes_and_times: ChangingSizes) -> float:
    """Return the factor by which calls of so many ``requests`` take longer: linear in the logarithm of the size between
    two sizes, that of the nearest size beyond. A single request has the factor 1: its extra time comes after a pause.

    Example:
        >>> times_as_long(4, ((2, 1.0), (8, 1.5)))
        1.25
    """
    if requests == 1 or not sizes_and_times:
        return 1.0
    sizes = [log2(size) for size, _ in sizes_and_times]
    return float(np.interp(log2(requests), sizes, [times for _, times in sizes_and_times]))
