"""Holds an artifact that predicts less exactly against the limits that the user set, once, before any load test.

It is judged on rows of the payload that no backend calibrates on (``checking.calibration``). Within the limits it is
one more backend of the job; else it is a failed compilation, with its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.checking.calibration import MIN_ROWS, calibrating_and_rest
from servefit.backends.checking.parity import TENSOR_TOLERANCE
from servefit.backends.model.packing import join, of_one_width
from servefit.backends.payload.table import MAX_ROWS
from servefit.backends.quality.deviation import by_row, judged_deviation
from servefit.backends.quality.drop import drop_found, judged_drop, reference_score, rows_for_bounds, worst_of
from servefit.backends.quality.findings import Quality
from servefit.backends.quality.labels import fitting_labels, read_labels
from servefit.backends.quality.metrics import metric_named
from servefit.backends.quality.own_metric import own_bounds, own_score
from servefit.backends.quality.scored import Scored, classes_told, is_raw, scored_columns, threshold_for
from servefit.backends.quality.ways import candidate_predictions, reference_predictions
from servefit.errors import CompileFailed, LimitNotKept, SpecError

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.payload import Payload
    from servefit.backends.quality.findings import QualityDrop, Way
    from servefit.backends.quality.limits import PrecisionLimits, QualityLimit
    from servefit.backends.types import Artifact

MIN_JUDGED_ROWS = 300
"""On fewer, even rows that all agree show no more than that they mostly do: by the rule of three, at least 99 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRows:
    """The rows of a payload that artifacts are judged on, and the ``labels`` of these, if there are some."""

    rows: np.ndarray
    labels: np.ndarray | None


def with_labels(limits: PrecisionLimits) -> PrecisionLimits:
    """Return ``limits`` with the labels read. Raises SpecError."""
    quality = limits.quality
    if quality is None or quality.labels:
        return limits
    return replace(limits, quality=replace(quality, labels=read_labels(quality.source)))


def judged_rows(
    limits: PrecisionLimits, model: Model, payload: Payload | None, *, calibrating: bool = False
) -> JudgedRows:
    """Return the rows to judge on, or those that backends are ``calibrating`` on. Raises SpecError for a payload that
    has too few, and for labels that do not fit."""
    field = "max_deviation" if limits.quality is None else "quality"
    if payload is None or payload.synthetic:
        raise SpecError(field, None, "is held against rows of your traffic, and there is no payload", remedy=_REMEDY)
    to_calibrate, rest = calibrating_and_rest(len(payload.rows))
    if len(rest) < MIN_JUDGED_ROWS or not len(to_calibrate):
        raise SpecError(
            field,
            None,
            f"takes {MIN_JUDGED_ROWS + MIN_ROWS} rows at least, {MIN_ROWS} to calibrate on and {MIN_JUDGED_ROWS} to "
            f"judge on, and {payload.source} has {len(payload.rows)}",
            remedy=_REMEDY,
        )
    if (different := _different(payload.rows, MIN_JUDGED_ROWS + MIN_ROWS)) < MIN_JUDGED_ROWS + MIN_ROWS:
        raise SpecError(
            field,
            None,
            f"takes {MIN_JUDGED_ROWS + MIN_ROWS} different rows at least, {MIN_ROWS} to calibrate on and "
            f"{MIN_JUDGED_ROWS} to judge on, and {payload.source} has {different} of them in {len(payload.rows):,}",
            remedy=_REMEDY,
        )
    chosen = to_calibrate if calibrating else rest
    labels, quality = None, limits.quality
    if quality is not None:
        metric, classes = metric_named(quality.metric), classes_told(model.signature)
        labels = fitting_labels(quality.labels, payload, quality.source, metric, classes)[chosen]
    return JudgedRows(rows=np.ascontiguousarray(payload.rows[chosen]), labels=labels)


def _different(rows: np.ndarray, enough: int) -> int:
    """Return the number of different ``rows``, at most ``enough``: a repeated row is no new evidence, and may have been
    used for calibration."""
    digests: set[bytes] = set()
    for row in rows:
        digests.add(sha256(np.ascontiguousarray(row).tobytes()).digest())
        if len(digests) >= enough:
            break
    return len(digests)


_REMEDY = "give a payload of that many rows, as different as your traffic is, with --payload"


def check_limits(limits: PrecisionLimits, model: Model, payload: Payload | None) -> None:
    """Raise SpecError for limits that no artifact can be held against: too few rows, labels that do not fit, a metric
    that is none on them. Where the model's own library does not predict, that is for whoever compiles to say."""
    if limits.allows_nothing:
        return
    judged = judged_rows(limits, model, payload)
    if limits.quality is None and not limits.deviations:
        return
    try:
        reference = reference_predictions(model, judged.rows, backend=model.reference)
    except CompileFailed:
        return
    for limit in limits.deviations:
        by_row(limit.measure, model.signature, reference[:1], reference[:1])
    if limits.quality is not None and judged.labels is not None:
        _reference_score(limits.quality, model, reference, judged.labels)


def judge(
    artifact: Artifact, model: Model, judged: JudgedRows, limits: PrecisionLimits, precision: str, *, spared: int = 0
) -> Quality:
    """Hold ``artifact``, of which ``spared`` layers are in float32, against ``limits``, and return what was found.
    Raises LimitNotKept where they are not kept or that stays undecided, and as ``found_on``."""
    quality = found_on(judged, artifact, model, limits, precision, spared=spared)
    if quality.verdict != "PASS":
        raise LimitNotKept(
            artifact.backend,
            verdict=quality.verdict,
            found=quality.text,
            rows=quality.rows,
            rows_needed=quality.rows_needed,
            all_rows=None if quality.rows_needed is None else _payload_rows(quality.rows_needed),
            most_rows=MAX_ROWS,
        )
    return quality


def found_on(
    judged: JudgedRows, artifact: Artifact, model: Model, limits: PrecisionLimits, precision: str, *, spared: int = 0
) -> Quality:
    """Return what is found of ``artifact`` on these rows. Raises CompileFailed where predictions cannot be made, and
    SpecError for a metric that fails."""
    name = artifact.backend
    reference = reference_predictions(model, judged.rows, backend=name)
    candidates = candidate_predictions(artifact, judged.rows)
    together = candidates["together"]
    if together.ndim != reference.ndim or (
        not model.signature.output_sizes and together.shape[1:] != reference.shape[1:]
    ):
        raise CompileFailed(name, f"it gives predictions of shape {together.shape} instead of {reference.shape}")
    alone = len(candidates["alone"])
    return Quality(
        precision=precision,
        rows=len(judged.rows),
        rows_alone=alone,
        batch_dependent=_depends_on_batch(model, candidates),
        largest_deviation=max(
            float(by_row("share", model.signature, reference[: len(got)], got).max(initial=0))
            for got in candidates.values()
        ),
        largest_error=max(_largest_error(reference[: len(got)], got) for got in candidates.values()),
        deviations=tuple(
            judged_deviation(
                limit, model.signature, reference, _all_rows(candidates) if limit.measure == "top1" else candidates
            )
            for limit in limits.deviations
        ),
        drop=None
        if limits.quality is None or judged.labels is None
        else _drop(limits.quality, model, reference, _all_rows(candidates), judged.labels),
        spared=spared,
    )


def _largest_error(reference: np.ndarray, got: np.ndarray) -> float:
    """Return the largest difference of two numbers."""
    first, second = of_one_width(reference, got) if reference.ndim == got.ndim == 2 else (reference, got)
    with np.errstate(invalid="ignore"):
        error = np.abs(first.astype(np.float64) - second.astype(np.float64))
    return float(np.nan_to_num(error, nan=0, posinf=0).max(initial=0))


def _payload_rows(judged: int) -> int:
    """Return how many rows a payload has of which so many are ``judged``."""
    rows = judged + MIN_ROWS
    while len(calibrating_and_rest(rows)[1]) < judged:
        rows += max(1, (judged - len(calibrating_and_rest(rows)[1])))
    return rows


def _all_rows(candidates: dict[Way, np.ndarray]) -> dict[Way, np.ndarray]:
    """Return predictions of all rows in each way that differs from the first: where there was no time to call a row
    alone, as it was together. A share of rows is then told of as many."""
    together, alone = candidates["together"], candidates["alone"]
    rest = together[len(alone) :]
    whole = join([alone, rest]) if together.ndim > 1 else np.concatenate([alone, rest])
    return {
        way: predictions
        for way, predictions in {**candidates, "alone": whole}.items()
        if way == "together" or not np.array_equal(predictions, together, equal_nan=True)
    }


def _depends_on_batch(model: Model, candidates: dict[Way, np.ndarray]) -> bool:
    """Return whether predictions of a row differ between the ways of calling by more than two runtimes may."""
    for way in ("shuffled", "alone"):
        other = candidates[way]
        first = candidates["together"][: len(other)]
        if float(by_row("share", model.signature, first, other).max(initial=0)) > TENSOR_TOLERANCE:
            return True
    return False


def _scored(model: Model, reference: np.ndarray, predictions: np.ndarray, labels: np.ndarray) -> Scored:
    columns = scored_columns(model.signature)
    table, expected = (values.reshape(len(values), -1)[:, columns] for values in (predictions, reference))
    return Scored(
        predictions=table.astype(np.float64),
        labels=labels,
        threshold=threshold_for(model.signature, expected),
        raw=is_raw(expected),
    )


def _reference_score(limit: QualityLimit, model: Model, reference: np.ndarray, labels: np.ndarray) -> float:
    scored = _scored(model, reference, reference, labels)
    metric = metric_named(limit.metric)
    if metric is not None:
        _check_width(limit, scored)
        return reference_score(metric, scored)
    score = own_score(limit.metric, labels, scored.predictions)
    if score == 0:
        raise SpecError("metric", limit.metric, "of the reference is 0: nothing is a share of that")
    return score


def _check_width(limit: QualityLimit, scored: Scored) -> None:
    outputs = scored.predictions.shape[1]
    if limit.metric in ("r2", "mae") and outputs > 1:
        raise SpecError(
            "metric", limit.metric, f"is of one output, and the model has {outputs}", remedy="name a function"
        )
    if limit.metric == "auc" and outputs > 2:
        raise SpecError("metric", limit.metric, f"is of two classes, and the model has {outputs}")


def _drop(
    limit: QualityLimit, model: Model, reference: np.ndarray, candidates: dict[Way, np.ndarray], labels: np.ndarray
) -> QualityDrop:
    before = _reference_score(limit, model, reference, labels)
    scored = {way: _scored(model, reference, got, labels) for way, got in candidates.items()}
    if any(not np.isfinite(scores.predictions).all() for scores in scored.values()):
        raise SpecError("metric", limit.metric, "cannot be computed: the artifact predicts what is no finite number")
    metric, own = metric_named(limit.metric), _scored(model, reference, reference, labels)
    if metric is not None:
        return judged_drop(limit, metric, own, scored)
    tables = [scores.predictions for scores in scored.values()]
    results = own_bounds(limit.metric, labels, own.predictions, tables)
    return worst_of(
        [
            drop_found(
                limit,
                within,
                reference=before,
                candidate=score,
                rows=len(labels),
                way=way,
                needed=rows_for_bounds(limit.drop, within, len(labels)),
            )
            for way, (score, within) in zip(scored, results, strict=True)
        ]
    )
