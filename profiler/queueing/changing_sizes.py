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


def check_changing_sizes(known: ChangingSizes) -> None:
    """Raise SpecError unless sizes ascend from two or more and all take time."""
    for requests, times in known:
        check_whole("changing_sizes", requests, least=2)
        check_above_zero("changing_sizes", times)
    sizes = [requests for requests, _ in known]
    if sorted(set(sizes)) != sizes:
        raise SpecError("changing_sizes", sizes, "is not ascending")


def times_as_long(requests: int, known: ChangingSizes) -> float:
    """Return how many times longer calls of so many ``requests`` take: in between, on a line over the doublings of the
    size, beyond as the nearest. A single request joins nothing, so what it takes longer it takes after a pause.

    Example:
        >>> times_as_long(4, ((2, 1.0), (8, 1.5)))
        1.25
    """
    if requests == 1 or not known:
        return 1.0
    sizes = [log2(size) for size, _ in known]
    return float(np.interp(log2(requests), sizes, [times for _, times in known]))
