"""A payload for a model that came without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.backends.payload.types import Payload
from servefit.backends.rows import synthetic_rows

if TYPE_CHECKING:
    from servefit.backends.model import Model


def synthetic_payload(model: Model, rows: int = 1000, seed: int = 0) -> Payload:
    """``rows`` plausible rows drawn from the model's own splits, or standard normal where it has none."""
    return Payload(rows=synthetic_rows(model, rows, seed), source="synthetic payload", synthetic=True)
