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
    """Hold the metric of the candidate, in every way of calling, against the reference's. Raises SpecError where the
    metric is none on these rows."""
    before = reference_score(metric, reference)
    rows, found = len(reference.labels), []
    for way, candidate in candidates.items():
        within, needed = _bounds(limit, metric, reference, candidate)
        after = _score(metric, candidate)
        judged = drop_found(limit, within, reference=before, candidate=after, rows=rows, way=way, needed=needed)
        found.append(judged)
    return worst_of(found)


def worst_of(found: list[QualityDrop]) -> QualityDrop:
    """Return the worst of what was found in several ways of calling."""
    rank = {"PASS": 0, "UNDECIDED": 1, "FAIL": 2}
    return max(found, key=lambda each: (rank[each.verdict], each.bound))


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
    """Return the bounds of the drop, and how many rows would show that it keeps ``limit``, if it goes on as it was."""
    rows, weighted = len(reference.labels), metric.weighted
    if metric.outcomes is not None:
        right, now_right = metric.outcomes(reference), metric.outcomes(candidate)
        lost, won = int((right & ~now_right).sum()), int((~right & now_right).sum())
        found = Bounds((lost - won) / rows, least_drop(lost, won, rows), most_drop(lost, won, rows))
        return found, rows_to_keep(limit.drop, lost, won, rows)

    def drops(weights: np.ndarray) -> np.ndarray:
        before, after = weighted(reference, weights), weighted(candidate, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            return (after - before) / before if metric.relative else before - after

    found = bounds(drops, rows)
    needed = rows_for_bounds(limit.drop, found, rows)
    if metric.lost is None:
        return found, needed
    rare = _with_rare_rows(metric, reference, candidate)
    if needed is not None and rare > limit.drop:
        needed = max(needed, ceil(rows * (rare - found.drop) / (limit.drop - found.drop)))
    return Bounds(found.drop, found.least, max(found.most, rare)), needed


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
    found: Bounds,
    *,
    reference: float,
    candidate: float,
    rows: int,
    way: Way,
    needed: int | None,
) -> QualityDrop:
    """Return the drop within its bounds, with the verdict; ``needed`` rows would show that it keeps ``limit``."""
    verdict: QualityVerdict = "UNDECIDED"
    if found.most <= limit.drop:
        verdict = "PASS"
    elif found.least > limit.drop:
        verdict = "FAIL"
    if found.drop > limit.drop:
        needed = ceil(rows * ((found.drop - found.least) / (found.drop - limit.drop)) ** 2)
    return QualityDrop(
        metric=limit.metric,
        limit=limit.drop,
        verdict=verdict,
        reference=reference,
        candidate=candidate,
        drop=found.drop,
        bound=found.most,
        least=found.least,
        rows=rows,
        way=way,
        rows_needed=needed if verdict == "UNDECIDED" and (needed or 0) <= MAX_ROWS else None,
    )


def rows_for_bounds(limit: float, found: Bounds, rows: int) -> int | None:
    """Return how many rows would show that a drop keeps ``limit``, if it stays what it is: a bound comes closer as the
    root of their number. None where no number would."""
    if found.drop >= limit:
        return None
    return ceil(max(rows, rows * ((found.most - found.drop) / (limit - found.drop)) ** 2))
