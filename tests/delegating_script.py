"""Calls an artifact with rows, in a child process of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.backends.compilation import load_predictor
from servefit.backends.types import Settings

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.types import Artifact


def predict(artifact: Artifact, rows: np.ndarray) -> np.ndarray:
    """Load the predictor, call it twice, close it twice, and give what it said last."""
    predictor = load_predictor(artifact, Settings(threads=1))
    first = predictor.predict(rows)
    kept = first.copy()
    again = predictor.predict(rows)
    assert (first == kept).all()
    assert (again == first).all()
    predictor.close()
    predictor.close()
    return again
