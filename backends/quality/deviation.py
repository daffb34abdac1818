"""Deviation of predictions from the reference's, without labels: by share of the scale, by cosine, or by the class.

Of a share that must hold, such as rows in the same class, what was counted is not enough: a bound of it is held against
the limit (``binomial``). A largest deviation is held against the limit on the rows that were seen, and what is shown of
others is said beside it: of n rows within, the rule of three has at most 3 / n of all beyond.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.checking.parity import output_blocks
from servefit.backends.model.packing import of_one_width
from servefit.backends.quality.binomial import lower_bound, rows_to_show, upper_bound
from servefit.backends.quality.findings import Deviation
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.model import Signature
    from servefit.backends.quality.findings import QualityVerdict, Way
    from servefit.backends.quality.limits import DeviationLimit, Measure


def judged_deviation(
    limit: DeviationLimit, signature: Signature, reference: np.ndarray, candidates: Mapping[Way, np.ndarray]
) -> Deviation:
    """Judge the predictions of the first rows of ``reference``, in every way of calling, by ``limit``. Raises SpecError
    for a measure that the outputs do not have."""
    deviations = [
        _judged(limit, by_row(limit.measure, signature, reference[: len(got)], got), way)
        for way, got in candidates.items()
    ]
    return max(deviations, key=lambda deviation: (_RANK[deviation.verdict], deviation.found * _SIGN[limit.measure]))


_RANK: dict[QualityVerdict, int] = {"PASS": 0, "UNDECIDED": 1, "FAIL": 2}
_SIGN: dict[Measure, int] = {"share": 1, "cosine": -1, "top1": -1}


def _judged(limit: DeviationLimit, values: np.ndarray, way: Way) -> Deviation:
    rows = len(values)
    if limit.measure == "top1":
        same = int(values.sum())
        bound = lower_bound(same, rows)
        verdict: QualityVerdict = "PASS" if bound >= limit.limit else "UNDECIDED"
        if upper_bound(same, rows) < limit.limit:
            verdict = "FAIL"
        needed = rows_to_show(limit.limit, same / rows) if verdict == "UNDECIDED" else None
        return _deviation(limit, verdict, same / rows, bound, rows, way, needed)
    worst = float(values.max() if limit.measure == "share" else values.min())
    beyond = values > limit.limit if limit.measure == "share" else ~(values >= limit.limit)
    count = int(beyond.sum())
    return _deviation(limit, "FAIL" if count else "PASS", worst, upper_bound(count, rows), rows, way, None)


def _deviation(
    limit: DeviationLimit,
    verdict: QualityVerdict,
    value: float,
    bound: float,
    rows: int,
    way: Way,
    needed: int | None,
) -> Deviation:
    return Deviation(
        measure=limit.measure,
        limit=limit.limit,
        verdict=verdict,
        found=value,
        bound=bound,
        rows=rows,
        way=way,
        rows_needed=needed,
    )


def by_row(measure: Measure, signature: Signature, reference: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Return the measure of each row, (rows,), the worst of several outputs. A row has the worst measure possible if a
    value is finite on one side alone.

    The scale of a row is the largest value of the output in it; for an output of one value, the largest in any row.
    """
    if signature.output_sizes:
        reference, got = of_one_width(reference, got)
    first, second = (_table(predictions) for predictions in (reference, got))
    sizes = len(signature.output_sizes)
    worst = np.zeros(len(first)) if measure == "share" else np.ones(len(first))
    compared = False
    for tensor, rows, columns in output_blocks(signature, first):
        one, other = first[rows, columns], second[rows, columns]
        shape = (1,) if tensor is None else tensor.shape
        if measure == "share":
            worst[rows] = np.maximum(worst[rows], _shares(one, other))
            compared = True
        elif one.shape[1] > 1 or measure == "top1":
            values = _cosines(one, other) if measure == "cosine" else _same_class(one, other, shape, signature)
            worst[rows] = np.minimum(worst[rows], values)
            compared = True
    if not compared:
        raise SpecError(
            "max_deviation", measure, "compares vectors, and no output of this model is one", remedy="give a share"
        )
    differ = (first[:, :sizes] != second[:, :sizes]).any(axis=1)
    worst[differ] = np.inf if measure == "share" else 0.0
    return worst


def _table(predictions: np.ndarray) -> np.ndarray:
    return predictions.astype(np.float64).reshape(len(predictions), -1)


def _shares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    magnitude = np.abs(np.nan_to_num(one, nan=0, posinf=0, neginf=0))
    scale = magnitude.max(axis=1, initial=0)
    if one.shape[1] == 1:
        scale = np.full(len(one), scale.max(initial=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(other - one)
        error[(one == other) | (np.isnan(one) & np.isnan(other))] = 0
        error[np.isnan(error)] = np.inf
        largest = error.max(axis=1, initial=0)
        return np.asarray(np.where(largest == 0, 0.0, largest / scale))


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosine = np.where((one == other).all(axis=1), 1.0, (one * other).sum(axis=1) / lengths)
    return np.asarray(np.clip(np.nan_to_num(cosine, nan=-1.0), -1, 1))


def _same_class(one: np.ndarray, other: np.ndarray, shape: tuple[int | str, ...], signature: Signature) -> np.ndarray:
    """Return 1 for a row of the same class on both sides, else 0. In outputs of more dimensions all places must
    agree."""
    if one.shape[1] == 1:
        if "int" in signature.output_datatype:
            return np.asarray((one == other)[:, 0], dtype=np.float64)
        threshold = 0.5 if ((one >= 0) & (one <= 1)).all() else 0.0
        return np.asarray(((one > threshold) == (other > threshold))[:, 0], dtype=np.float64)
    last = shape[-1] if len(shape) > 1 and isinstance(shape[-1], int) and shape[-1] > 1 else one.shape[1]
    first, second = (
        np.where(np.isnan(predictions), -np.inf, predictions).reshape(len(one), -1, last)
        for predictions in (one, other)
    )
    same = (first.argmax(axis=2) == second.argmax(axis=2)).all(axis=1)
    return np.asarray(same & (np.isnan(one) == np.isnan(other)).all(axis=1), dtype=np.float64)
