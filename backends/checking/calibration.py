"""The rows of a payload that a backend calibrates on, and those that are left to judge it by.

The two have no row in common: whoever chose its scales by a row is no fair measure of what they do to that row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.errors import CompileFailed

if TYPE_CHECKING:
    from servefit.backends.payload import Payload
    from servefit.backends.types import Capabilities

MIN_ROWS = 100
"""Chosen, not measured: with fewer, the largest values that come by are not seen."""

MAX_ROWS = 300
"""NNCF's own default. More prolong the compilation and change scales little."""

MAX_ROWS_TOGETHER = 32
"""Rows in a call where several are judged together: as many as a search joins first. What an artifact whose predictions
depend on the other rows of a call says among more of them is not known. Chosen, not measured."""

_SHARE = 4
"""One row in so many, within these bounds."""


def calibrating_and_rest(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the rows to calibrate on, and of all others, of a payload of so many ``rows``; the same
    ones every time, in ascending order. A payload of fewer than MIN_ROWS has none to calibrate on."""
    count = min(MAX_ROWS, max(MIN_ROWS, rows // _SHARE)) if rows >= MIN_ROWS else 0
    order = np.random.default_rng(0).permutation(rows)
    return np.sort(order[:count]), np.sort(order[count:])


def calibration_rows(backend: Capabilities, payload: Payload | None) -> np.ndarray | None:
    """Return the rows of ``payload`` that ``backend`` calibrates on; None for one that does not. Raises CompileFailed
    where there is no payload, or where it has too few rows or is the same row again and again."""
    if not backend.calibrates:
        return None
    if payload is None or payload.synthetic:
        raise CompileFailed(
            backend.name,
            "it calibrates on rows of your traffic, and there is no payload",
            remedy=f"give {MIN_ROWS} rows or more with --payload",
        )
    chosen, _ = calibrating_and_rest(len(payload.rows))
    if not len(chosen):
        raise CompileFailed(
            backend.name,
            f"it calibrates on {MIN_ROWS} rows at least, and {payload.source} has {len(payload.rows)}",
            remedy="give more rows, as different as your traffic is",
        )
    rows: np.ndarray = np.ascontiguousarray(payload.rows[chosen])
    if (rows == rows[0]).all():
        raise CompileFailed(
            backend.name,
            f"it calibrates on rows of {payload.source}, and they are all the same",
            remedy="give rows as different as your traffic is",
        )
    return rows
