"""The drop of a metric from the reference to the candidate, on the same labelled rows, held against a limit.

Where each row is right or wrong the test is that of pairs (``pairs``), else a paired bootstrap (``bootstrap``). A
bootstrap sees no rows that are rarer than those at hand. Where a row can do only so much to a metric, as many more as
the rule of three leaves room for are taken to be as wrong as can be; an error has no such bound, and neither has a
function of the user's own: there the bound is that of the bootstrap alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite
from typing import TYPE_CHECKING

import numpy as np

from servefit.backends.quality.binomial import MAX_ROWS, upper_bound
from servefit.backends.quality.bootstrap import Bounds, bounds
from servefit.backends.quality.findings import QualityDrop
from servefit.backends.quality.guesses import best_guess
from servefit.backends.quality.pairs import least_drop, most_drop, rows_to_keep
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.quality.findings import QualityVerdict, Way
    from servefit.backends.quality.limits import QualityLimit
    from servefit.backends.quality.metrics import Metric
    from servefit.backends.quality.scored import Scored


def judged_drop(
    limit: QualityLimit, metric: Metric, reference: Scored, candidates: Mapping[Way, Scored]
) -> QualityDrop:
    """Compare the metric of the candidate, in every way of calling, with the reference's. Raises SpecError if the
    metric is undefined on these rows."""
    before = reference_score(metric, reference)
    rows, drops = len(reference.labels), []
    for way, candidate in candidates.items():
        within, needed = _bounds(limit, metric, reference, candidate)
        after = _score(metric, candidate)
        judged = drop_found(limit, within, reference=before, candidate=after, rows=rows, way=way, needed=needed)
        drops.append(judged)
    return worst_of(drops)


def worst_of(drops: list[QualityDrop]) -> QualityDrop:
    """Return the worst drop of several ways of calling."""
    rank = {"PASS": 0, "UNDECIDED": 1, "FAIL": 2}
    return max(drops, key=lambda drop: (rank[drop.verdict], drop.bound))


def reference_score(metric: Metric, reference: Scored) -> float:
    """Return the metric of the reference. Raises SpecError where it is none, or says nothing: with one class alone, or
    all labels equal."""
    if metric.labels != "numbers" and len(np.unique(reference.labels)) < 2:
        only = int(reference.labels[0])
        says = f"there is no {metric.name} of that" if metric.outcomes is None else f"what always says {only} is right"
        raise SpecError("quality", None, f"has one class only, {only}: {says}", remedy="add rows of others")
    outputs = reference.predictions.shape[1]
    if metric.largest is not None and metric.largest >= outputs:
        if outputs == 1:
            problem, remedy = "looks for a class among the outputs, and the model has one", "take accuracy"
        else:
            problem, remedy = f"is 1 whatever is predicted: the model has {outputs} outputs", "take a smaller number"
        raise SpecError("metric", metric.name, problem, remedy=remedy)
    score = _score(metric, reference)
    if not isfinite(score):
        raise SpecError("metric", metric.name, "is not a number on these rows", remedy="check the labels")
    if metric.relative and score == 0:
        raise SpecError("metric", metric.name, "of the reference is 0: nothing is a share of that")
    guess = best_guess(metric, reference)
    if score >= guess if metric.relative else score <= guess:
        raise SpecError(
            "metric",
            metric.name,
            f"of the model's own library is {score:.4g}, and {guess:.4g} of what always predicts the same: by these "
            "labels a ruined model is as good",
            remedy="give the label of each row, in the order of the rows, another metric, or --max-deviation alone",
        )
    return score


def _score(metric: Metric, scored: Scored) -> float:
    return float(metric.weighted(scored, np.ones((1, len(scored.labels)), dtype=np.int64))[0])


def _bounds(limit: QualityLimit, metric: Metric, reference: Scored, candidate: Scored) -> tuple[Bounds, int | None]:
    """Return the bounds of the drop, and the number of rows that would show that the same drop meets ``limit``."""
    rows, weighted = len(reference.labels), metric.weighted
    if metric.outcomes is not None:
        right, now_right = metric.outcomes(reference), metric.outcomes(candidate)
        lost, won = int((right & ~now_right).sum()), int((~right & now_right).sum())
        interval = Bounds((lost - won) / rows, least_drop(lost, won, rows), most_drop(lost, won, rows))
        return interval, rows_to_keep(limit.drop, lost, won, rows)

    def drops(weights: np.ndarray) -> np.ndarray:
        before, after = weighted(reference, weights), weighted(candidate, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (after - before) / before if metric.relative else before - after

    interval = bounds(drops, rows)
    needed = rows_for_bounds(limit.drop, interval, rows)
    if metric.lost is None:
        return interval, needed
    rare = _with_rare_rows(metric, reference, candidate)
    if needed is not None and rare > limit.drop:
        needed = max(needed, ceil(rows * (rare - interval.drop) / (limit.drop - interval.drop)))
    return Bounds(interval.drop, interval.least, max(interval.most, rare)), needed


def _with_rare_rows(metric: Metric, reference: Scored, candidate: Scored) -> float:
    """Return the most that the drop is where all of it is that of rows which are as wrong as they can be: of bounded
    losses with one mean, these spread most (Hoeffding, Probability inequalities for sums of bounded random variables,
    Journal of the American Statistical Association 58, 1963). Where nothing was lost, three more rows are."""
    assert metric.lost is not None  # noqa: S101 - whoever calls has asked
    rows, before, after = len(reference.labels), _score(metric, reference), _score(metric, candidate)
    of_one = after - metric.lost(candidate, 1)
    lost = 0.0 if of_one <= 0 else min(float(rows), max(0.0, (before - after) / of_one))
    more = ceil(upper_bound(lost, rows) * rows - lost)
    return before - metric.lost(candidate, more)


def drop_found(
    limit: QualityLimit,
    interval: Bounds,
    *,
    reference: float,
    candidate: float,
    rows: int,
    way: Way,
    needed: int | None,
) -> QualityDrop:
    """Return the drop with its bounds and verdict; ``needed`` rows would show that it meets ``limit``."""
    verdict: QualityVerdict = "UNDECIDED"
    if interval.most <= limit.drop:
        verdict = "PASS"
    elif interval.least > limit.drop:
        verdict = "FAIL"
    if interval.drop > limit.drop:
        needed = ceil(rows * ((interval.drop - interval.least) / (interval.drop - limit.drop)) ** 2)
    return QualityDrop(
        metric=limit.metric,
        limit=limit.drop,
        verdict=verdict,
        reference=reference,
        candidate=candidate,
        drop=interval.drop,
        bound=interval.most,
        least=interval.least,
        rows=rows,
        way=way,
        rows_needed=needed if verdict == "UNDECIDED" and (needed or 0) <= MAX_ROWS else None,
    )


def rows_for_bounds(limit: float, interval: Bounds, rows: int) -> int | None:
    """Return the number of rows that would show that the same drop meets ``limit``: a bound approaches the drop with
    the square root of that number. None if no number would."""
    if interval.drop >= limit:
        return None
    return ceil(max(rows, rows * ((interval.most - interval.drop) / (limit - interval.drop)) ** 2))
