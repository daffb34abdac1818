"""The number of instances that share a rate, and what they answer a minute.

None is planned to be busier than a part of its capacity: the rest is for queues, which no average shows.
"""

from __future__ import annotations

import math

PLANNED_UTILISATION = 0.8
"""No instance is planned above this part of its capacity: beyond it, queueing makes latency unpredictable. Chosen, not
measured."""

S_PER_MIN = 60
"""Invocations are told by the minute, as in SageMaker IR."""

LOWER_UTILISATIONS = (0.8, 0.6, 0.4, 0.2)
"""Parts of their capacity that instances are planned to be busy for, one after the other, until the latency limits
hold. Below a fifth nearly every request meets an idle instance, and more of them do not help. Chosen, not measured."""


def instances_for(rate_per_s: float, capacity_per_s: float, utilisation: float = PLANNED_UTILISATION) -> int:
    """Return how many instances share a rate so that none is busier than ``utilisation``; one at least."""
    return max(1, math.ceil(rate_per_s / (capacity_per_s * utilisation)))


def instance_counts(rate_per_s: float, capacity_per_s: float) -> list[int]:
    """Return the numbers of instances to try, ascending: each leaves them less busy."""
    return sorted({instances_for(rate_per_s, capacity_per_s, utilisation) for utilisation in LOWER_UTILISATIONS})


def per_minute(rate_per_s: float, instances: int = 1) -> float:
    """Return how many invocations a minute are answered by so many ``instances``, each of which answers
    ``rate_per_s``."""
    return S_PER_MIN * rate_per_s * instances
