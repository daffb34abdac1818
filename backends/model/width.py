"""The limit of how wide the rows of a model may be: a file says so in a few bytes, and every row drawn for it takes the
memory."""

from __future__ import annotations

from servefit.errors import UnsupportedModel

MAX_FEATURES = 2**23
"""A row of so many float32 takes 32 MiB; an image of 1920 x 1080 in three colours takes 24 MiB, and the endpoint takes
bodies of 25 MiB unless it is told otherwise."""

MAX_DRAWN_BYTES = 2**28
"""Of all rows that are drawn for a model at once."""


def check_width(features: int) -> None:
    """Raise UnsupportedModel for a model whose rows are too wide."""
    if features > MAX_FEATURES:
        raise UnsupportedModel(f"its rows have {features:,} features, and servefit takes {MAX_FEATURES:,} at most")


def affordable_rows(wanted: int, features: int) -> int:
    """Return how many float32 rows of so many features are drawn where ``wanted`` would be good: as many as there is
    memory for, and at least one."""
    return max(1, min(wanted, MAX_DRAWN_BYTES // (4 * max(features, 1))))
