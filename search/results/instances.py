"""How many instances share a rate.

None is planned to be busier than a part of its capacity: what is left is for what no average says.
"""

from __future__ import annotations

import math

PLANNED_UTILISATION = 0.8
"""No instance is planned above this part of its capacity: beyond it, queueing makes latency unpredictable."""

LOWER_UTILISATIONS = (0.8, 0.6, 0.4, 0.2)
"""How busy instances are planned to be, one after the other, until the latency limits hold. Below a fifth of what an
instance can do, nearly every request meets an idle one, and more of them do not help."""


def instances_for(rate_per_s: float, capacity_per_s: float, utilisation: float = PLANNED_UTILISATION) -> int:
    """How many instances share a rate so that none is busier than ``utilisation``; one at least."""
    return max(1, math.ceil(rate_per_s / (capacity_per_s * utilisation)))


def instance_counts(rate_per_s: float, capacity_per_s: float) -> list[int]:
    """The numbers of instances to try, ascending: each leaves them less busy."""
    return sorted({instances_for(rate_per_s, capacity_per_s, one) for one in LOWER_UTILISATIONS})
