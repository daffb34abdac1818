"""The plot of cost against quality: what artifacts that predict less exactly save, and what they change.

Each backend stands with the cheapest of its configurations that keeps the SLA, or the cheapest of all where none does.
The cost is that of the rate asked, or of a million inferences where none was.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from servefit.quantities import currency_sign, given_text
from servefit.report.job_plots import cost_that_counts
from servefit.report.measured_tables import finite
from servefit.report.plot import Axis, Plot, ReferenceLine, Series
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.jobs.job import space_of
from servefit.search.results.pareto import candidates

if TYPE_CHECKING:
    from servefit.backends.quality.findings import Quality
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.pareto import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    candidate: Candidate
    quality: Quality | None
    changed: float
    cost: float

    @property
    def order(self) -> tuple[bool, float, float]:
        """The key to sort by: what keeps the SLA first, of that the cheapest, and of what costs the same the
        fastest."""
        pooled = self.candidate.pooled
        return pooled.trial.verdict != "PASS", self.cost, pooled.p95_ms


def quality_plot(job: RecommendationJob) -> Plot | None:
    """Return the plot; None where no artifact of less exact arithmetic was measured."""
    qualities = {(report.backend, report.target): report.quality for report in job.compilation}
    measured = candidates(space_of(job.header, job.trials), job.trials)
    answering = [candidate for candidate in measured if candidate.pooled.capacity_per_s]
    priced = all(not candidate.price.unpriced for candidate in answering)
    # A job has one currency.
    sign = currency_sign(answering[0].recommendation.profile.currency) if answering and priced else None
    unit, cost_of = cost_that_counts(job, sign)
    drops = any(quality is not None and quality.drop is not None for quality in qualities.values())
    points = []
    for candidate in answering:
        configuration = candidate.pooled.configuration
        quality = qualities.get((configuration.backend, configuration.target))
        if (cost := cost_of(candidate)) is not None:
            changed = _changed(quality, drops=drops)
            points.append(_Point(candidate=candidate, quality=quality, changed=changed, cost=cost))
    best: dict[str, _Point] = {}
    for point in sorted(points, key=lambda point: point.order):
        best.setdefault(_backend(point), point)
    if not any(point.quality is not None for point in best.values()):
        return None
    return _plot(job, sorted(best.values(), key=lambda point: point.cost), unit, drops=drops)


def _changed(quality: Quality | None, *, drops: bool) -> float:
    """Return what a backend changes, in percent: the drop of the metric, or the largest deviation."""
    if quality is None:
        return 0.0
    share = quality.drop.drop if drops and quality.drop is not None else quality.largest_deviation
    return 100 * share


def _plot(job: RecommendationJob, points: list[_Point], unit: str, *, drops: bool) -> Plot:
    rate_per_s = job.request.sla.rate_per_s
    of_what = "a million inferences" if rate_per_s is None else f"{given_text(rate_per_s)} requests/s"
    chosen = None if job.best is None else job.best.trial.configuration.backend
    what = "drop of the metric" if drops else "largest deviation"
    limit = _limit(job, drops=drops)
    series = [
        Series(
            name=_backend(point),
            x=[point.changed],
            y=[point.cost],
            labels=[f"{shape(point.candidate.pooled.configuration)}: {_short(point)}"],
            symbol="star" if _backend(point) == chosen else "filled",
        )
        for point in points
        # What changes zeros to something else is off by no share of them.
        if isfinite(point.changed)
    ]
    return Plot(
        name="cost-quality",
        title=f"Cost of {of_what} against the {what}",
        caption=(
            "Lower left is better. Backends that predict as the model's own library stand at 0; the others were held "
            "against the limits of the job before they were loaded."
        ),
        x=Axis(title=f"{what} %"),
        y=Axis(title=unit),
        series=tuple(series),
        table=Table(
            title="Cost and quality",
            columns=("backend", "precision", "quality", unit, "p95 ms", "SLA"),
            rows=[
                (
                    _backend(point),
                    "exact" if point.quality is None else point.quality.precision,
                    _short(point),
                    point.cost,
                    finite(point.candidate.pooled.p95_ms),
                    point.candidate.pooled.trial.verdict,
                )
                for point in points
            ],
        ),
        guides=() if limit is None else (ReferenceLine(along="x", at=limit, label="allowed"),),
    )


def _limit(job: RecommendationJob, *, drops: bool) -> float | None:
    """Return what is allowed on the axis of the plot, in percent; None where the limit is on something else."""
    limits = job.request.precision
    if drops:
        return None if limits.quality is None else 100 * limits.quality.drop
    return next((100 * deviation.limit for deviation in limits.deviations if deviation.measure == "share"), None)


def _backend(point: _Point) -> str:
    return point.candidate.pooled.configuration.backend


def _short(point: _Point) -> str:
    return "as the model's own library" if point.quality is None else point.quality.short
