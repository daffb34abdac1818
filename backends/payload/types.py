"""The sample payload as the rest of servefit sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Rows to send: a C-contiguous float32 array (rows, features), NaN meaning missing.

    ``source`` is the file's name, or "synthetic payload". ``truncated_from`` is the number of rows in the file where
    only the first ones were kept.
    """

    rows: np.ndarray
    source: str
    synthetic: bool = False
    truncated_from: int | None = None
