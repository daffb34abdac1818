"""Seeds of runs, all from the one that a person gave: each run has arrivals of its own, and they come again with it.

The same arrivals in every run would be one draw of luck, which repeating does not average out.
"""

from __future__ import annotations

import numpy as np


def derived_seed(seed: int, *path: int) -> int:
    """Derive the seed of one run.

    Args:
        seed: The seed of everything, not negative.
        path: Numbers that say which run it is, not negative. What is to be compared has the same ones.

    Returns:
        A seed below 2^32, so that every reader of JSON keeps it, which is the same for the same arguments, and
        otherwise another one, but for one pair in 2^32 [numpy.random.SeedSequence].

    Example:
        >>> derived_seed(0, 3) == derived_seed(0, 3), derived_seed(0, 3) == derived_seed(0, 4)
        (True, False)
    """
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1)[0])
