"""Predictions as a metric reads them: classes, scores or values, beside the labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.model.types import Task
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.model import Signature

HALF = 0.5
"""The threshold of a probability. That of a raw score is 0."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """``predictions`` (rows, outputs), and ``labels``, (rows,), of as many ``classes``. ``threshold`` divides the two
    classes of a single output; None where an output tells the class itself. ``raw`` says that two outputs are no
    probabilities: then it is their difference that tells how likely the second class is."""

    predictions: np.ndarray
    labels: np.ndarray
    threshold: float | None = HALF
    raw: bool = False
    own_decisions: np.ndarray | None = None

    @property
    def classes(self) -> int:
        """The number of classes: that of the outputs, or what the labels have."""
        return max(2, int(self.predictions.shape[1]), int(self.labels.max()) + 1)

    @cached_property
    def decisions(self) -> np.ndarray:
        """The class that each row is put into, (rows,)."""
        if self.own_decisions is not None:
            return self.own_decisions
        if self.predictions.shape[1] > 1:
            return np.asarray(self.predictions.argmax(axis=1))
        only = self.predictions[:, 0]
        return only if self.threshold is None else (only > self.threshold).astype(np.int64)

    @property
    def scores(self) -> np.ndarray:
        """The score of the second of two classes, (rows,)."""
        if self.raw and self.predictions.shape[1] > 1:
            return np.asarray(self.predictions[:, 1] - self.predictions[:, 0])
        return self.predictions[:, -1]

    @property
    def values(self) -> np.ndarray:
        """The predictions as numbers, (rows, outputs)."""
        return self.predictions

    @property
    def targets(self) -> np.ndarray:
        """The labels as numbers, (rows, 1)."""
        return self.labels[:, None]

    def among(self, largest: int) -> np.ndarray:
        """Return whether the label is among the ``largest`` outputs of each row. Of equal outputs the first counts."""
        ranked = np.argsort(-self.predictions, axis=1, kind="stable")[:, :largest]
        return np.asarray((ranked == self.labels[:, None]).any(axis=1))

    def deciding(self, decisions: np.ndarray) -> Scored:
        """Return the same rows, put into other classes."""
        return replace(self, own_decisions=decisions)

    def scoring(self, scores: np.ndarray) -> Scored:
        """Return the same rows with other scores of the second class."""
        return replace(self, predictions=scores[:, None])


def scored_columns(signature: Signature) -> slice:
    """Return the columns of a prediction that metrics read: those of the first output of floats, or of the first one.
    Raises SpecError for outputs whose sizes depend on the request, and for several targets."""
    if signature.output_sizes:
        raise SpecError(
            "quality",
            None,
            "cannot be scored: the outputs of this model have sizes that depend on the request",
            remedy="give a --max-deviation in its place",
        )
    if signature.task is Task.LABELS:
        raise SpecError(
            "quality",
            None,
            "cannot be scored: this model predicts several targets, and labels hold one",
            remedy="give a --max-deviation in its place",
        )
    tensors = signature.output_tensors
    if not tensors:
        return slice(None)
    chosen = next((tensor for tensor in tensors if tensor.datatype.startswith("float")), tensors[0])
    return slice(chosen.start, chosen.stop)


def classes_told(signature: Signature) -> int | None:
    """Return how many classes a prediction tells apart: as many as it has outputs that are scored, two of a single one,
    and None where that is the class itself. Raises as ``scored_columns``."""
    columns = scored_columns(signature)
    outputs = len(range(*columns.indices(signature.outputs)))
    if outputs > 1:
        return outputs
    return None if _tells_class(signature) else 2


def threshold_for(signature: Signature, reference: np.ndarray) -> float | None:
    """Return the threshold of the single output that ``reference`` (rows, outputs) has: a half for probabilities, 0 for
    raw scores, and None where it is the class itself."""
    if _tells_class(signature):
        return None
    return 0.0 if is_raw(reference) else HALF


def is_raw(reference: np.ndarray) -> bool:
    """Return whether the outputs that are scored, ``reference`` (rows, outputs), are no probabilities."""
    return not bool(((reference >= 0) & (reference <= 1)).all())


def _tells_class(signature: Signature) -> bool:
    return "int" in signature.output_datatype or signature.task is Task.MULTICLASS
