"""In which order calls are quick and slow: a machine that is slow for a while makes calls that follow each other slow,
and these make queues that the same calls in another order do not. How it was seen is for those who measure it to say.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from servefit.checks import check_between, check_whole
from servefit.errors import SpecError

SerialOrder: TypeAlias = tuple[int, ...]
"""Of calls that followed each other, how many per cent of their like are quicker than each; empty where that is not
known."""

MAX_ORDER = 4000
"""Calls of an order: as many as a simulation has requests."""


def check_serial_order(order: SerialOrder) -> None:
    """Raise SpecError unless ``order`` holds percentages below 100, at most MAX_ORDER of them."""
    if len(order) > MAX_ORDER:
        raise SpecError("serial_order", len(order), f"is more than {MAX_ORDER} values")
    for percent in order:
        check_whole("serial_order", percent, least=0)
        check_between("serial_order", percent, -1, 100)


def ranks_of(calls: int, order: SerialOrder, random: np.random.Generator) -> np.ndarray:
    """Return ranks (0..1) of ``calls`` consecutive calls, each rank once, float64 (calls,): in the ``order`` observed,
    from a random place on and in a circle; without one in random order.

    Example:
        >>> random = np.random.default_rng(0)
        >>> sorted(ranks_of(4, (), random).tolist())
        [0.125, 0.375, 0.625, 0.875]
    """
    if not order:
        return (random.permutation(calls) + 0.5) / max(calls, 1)
    places = (int(random.integers(len(order))) + np.arange(calls)) % len(order)
    # Equal ones come in random order.
    jittered = np.array(order)[places] + random.random(calls)
    ranks = np.empty(calls)
    ranks[np.argsort(jittered)] = (np.arange(calls) + 0.5) / max(calls, 1)
    return ranks
