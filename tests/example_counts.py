"""How many examples Hypothesis tries."""

from __future__ import annotations

import hypothesis


def examples(daily: int, *, drawn: int) -> int:
    """Return ``daily``, or ``drawn`` where each run draws other examples (``scripts/test --thorough``)."""
    return daily if hypothesis.settings().derandomize else drawn
