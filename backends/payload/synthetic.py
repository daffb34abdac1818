"""A payload for a model that came without one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.width import affordable_rows
from servefit.backends.payload.types import Payload
from servefit.backends.rows import synthetic_rows

if TYPE_CHECKING:
    from servefit.backends.model import Model


def synthetic_payload(model: Model, rows: int = 1000, seed: int = 0) -> Payload:
    """``rows`` plausible rows drawn from the model's own splits, or standard normal where it has none; fewer where they
    are very wide."""
    count = affordable_rows(rows, model.signature.features)
    return Payload(rows=synthetic_rows(model, count, seed), source="synthetic payload", synthetic=True)


def random_payload(features: int, rows: int = 1000, seed: int = 0) -> Payload:
    """``rows`` standard normal rows for a model of which no more is known than how wide they are; fewer where they
    are very wide."""
    count = affordable_rows(rows, features)
    drawn = np.random.default_rng(seed).standard_normal((count, features), dtype=np.float32)
    return Payload(rows=drawn, source="synthetic payload", synthetic=True)
