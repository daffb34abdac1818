"""The score of the best guess that never looks at a row. Where the model's own library is no better, the labels say
nothing of it: they are those of other rows, or the metric is no measure of so rare a class. An artifact that is ruined
would pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from servefit.backends.quality.metrics import Metric
    from servefit.backends.quality.scored import Scored

_CHANCE = {"auc": 0.5, "r2": 0.0}


def best_guess(metric: Metric, reference: Scored) -> float:
    """Return what ``metric`` says of the best guess of the labels of ``reference`` that does not look at rows."""
    labels = reference.labels
    if metric.name in _CHANCE:
        return _CHANCE[metric.name]
    if metric.name == "mae":
        return float(np.abs(labels - np.median(labels)).mean())
    _, counts = np.unique(labels, return_counts=True)
    shares = np.sort(counts)[::-1] / len(labels)
    if metric.name != "f1":
        return float(shares[: metric.largest or 1].sum())
    if reference.classes == 2:
        share = float((labels == 1).mean())
        return 2 * share / (1 + share)
    return float(2 * shares[0] / (1 + shares[0]) / len(shares))
