"""How far predictions are off, over many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def spread(errors: Sequence[float]) -> dict[str, float]:
    """Return the median and the 90th percentile of the sizes of ``errors``, as parts of what is true, and the median of
    the signed ones; of those that are known."""
    known = np.array(errors)[np.isfinite(errors)]
    sizes = np.abs(known)
    return {
        "median": round(float(np.median(sizes)), 4),
        "p90": round(float(np.percentile(sizes, 90)), 4),
        "bias": round(float(np.median(known)), 4),
    }
