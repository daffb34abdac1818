"""The plot that shows why the recommendation holds: its latency by the rate of arrivals, with the limit, the rate that
was asked and the room above it.

``search.autoscaling.scale`` says which points were measured and which are estimated, and what an instance takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from servefit.errors import SpecError
from servefit.quantities import given_text, number_text, percent_text
from servefit.report.plot import Axis, Band, Plot, ReferenceLine, Series
from servefit.report.points import limits, series_of
from servefit.report.table import Table
from servefit.search.autoscaling.scale import scale
from servefit.search.capacity.latency_curve import CurvePoint, MeasuredCurve, rate_of_an_instance
from servefit.search.storage.job_folder import job_folder

if TYPE_CHECKING:
    from servefit.search.capacity.instance_rate import InstanceRate
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation

ESTIMATES = 8
"""Rates at which the curve is estimated between the rate asked and the highest. Chosen: enough for a line."""

_WIDE_SPAN = 30.0
"""Rates that span more are drawn on a logarithmic axis. Chosen, as for the tests over time."""

_TWICE = 2.0
"""Room above the rate asked is told in per cent up to twice that rate, and in times above."""


def rate_plot(job: RecommendationJob) -> Plot | None:
    """Return the plot of latency by rate of the first recommendation, None where there is none."""
    best = job.best
    if best is None:
        return None
    points, rate = _points(job, best)
    asked_per_s = rate_of_an_instance(best.trial, job.request)
    name = _percentile(job)
    shown = [*(point.rate_per_s for point in points), *([] if asked_per_s is None else [asked_per_s])]
    return Plot(
        name="latency-rate",
        title=f"{name} by rate, one instance",
        caption=_caption(job, best, rate, points),
        x=Axis(title="requests per s on an instance", log=_spans_wide(shown)),
        y=Axis(title=f"{name} ms", log=True),
        series=tuple(_series(points, name)),
        table=_table(points, name),
        guides=(*limits(job, "y"), *_rates(best, asked_per_s, rate)),
        bands=_room(asked_per_s, rate),
        small=True,
    )


def _points(job: RecommendationJob, best: Recommendation) -> tuple[Sequence[CurvePoint], InstanceRate | None]:
    """Return the points of the curve by ascending rate, and the highest rate of an instance; None where no instance can
    be planned with the recommendation, which then has measured points only."""
    capacity = best.trial.capacity
    try:
        plan = scale(job, rate_per_s=job.request.sla.rate_per_s or capacity.throughput_per_s, estimates=ESTIMATES)
    except SpecError:
        curve = MeasuredCurve.of(best.trial, job.trials, job.request, job_folder(job.name))
        full = CurvePoint.at_full_load(best.trial)
        return sorted((*curve.points, full), key=lambda point: point.rate_per_s), None
    return plan.curve, plan.rate


def _percentile(job: RecommendationJob) -> str:
    """Return the percentile that the SLA limits: p95 if it does, or if it limits none."""
    limited = [threshold.percentile for threshold in job.request.sla.thresholds]
    return "p95" if "p95" in limited or not limited else limited[0]


def _spans_wide(rates_per_s: Sequence[float]) -> bool:
    positive = [rate for rate in rates_per_s if rate > 0]
    return bool(positive) and max(positive) > _WIDE_SPAN * min(positive)


def _series(points: Sequence[CurvePoint], percentile: str) -> list[Series]:
    """Return what was measured, and apart from it what was disturbed and what is estimated; none that are empty."""

    def series(name: str, some: Sequence[CurvePoint], **style: Any) -> Series:
        return series_of(
            name,
            some,
            x=lambda point: point.rate_per_s,
            y=lambda point: point.latency_ms.get(percentile),
            label=_label,
            interval=lambda point: point.latency_ms_ci95.get(percentile),
            **style,
        )

    measured = [point for point in points if point.source == "measured"]
    valid = [point for point in measured if point.loop == "open" and point.verdict != "INVALID"]
    disturbed = [point for point in measured if point.loop == "open" and point.verdict == "INVALID"]
    full = [point for point in measured if point.loop == "closed"]
    estimated = [point for point in points if point.source == "estimated"]
    drawn = (
        series("estimated by simulation", estimated, drawn_as="line", colour="main", predicted=True),
        series("measured", valid, colour="main"),
        series("measured, but disturbed", disturbed, symbol="hollow", colour="quiet"),
        series("measured at full load", full, symbol="hollow", colour="main"),
    )
    return [line for line in drawn if len(line.x)]


def _label(point: CurvePoint) -> str:
    return point.source if point.samples is None else f"{point.source}, {point.samples:,} requests"


def _table(points: Sequence[CurvePoint], percentile: str) -> Table:
    return Table(
        title="Latency by rate",
        columns=(
            "requests per s",
            f"{percentile} ms",
            f"{percentile} from",
            f"{percentile} to",
            "samples",
            "loop",
            "from",
            "SLA",
        ),
        rows=[
            (
                point.rate_per_s,
                point.latency_ms.get(percentile),
                *point.latency_ms_ci95.get(percentile, (None, None)),
                point.samples,
                point.loop,
                point.source,
                point.verdict,
            )
            for point in points
        ],
    )


def _rates(best: Recommendation, asked_per_s: float | None, rate: InstanceRate | None) -> list[ReferenceLine]:
    """Return lines at the rate asked of an instance and at the highest, with their labels."""
    lines = []
    if asked_per_s is not None:
        shared = "" if best.trial.instance_count == 1 else " of each"
        asked = f"asked{shared}: {number_text(float(asked_per_s))}/s"
        lines.append(ReferenceLine(along="x", at=asked_per_s, label=asked, kind="mark"))
    if rate is not None:
        highest = f"highest, {rate.source}: {number_text(rate.highest_per_s)}/s"
        lines.append(ReferenceLine(along="x", at=rate.highest_per_s, label=highest, kind="mark"))
    return lines


def _room(asked_per_s: float | None, rate: InstanceRate | None) -> tuple[Band, ...]:
    if asked_per_s is None or rate is None or rate.highest_per_s <= asked_per_s:
        return ()
    return (Band(low=asked_per_s, high=rate.highest_per_s, label="headroom"),)


def headroom_text(asked_per_s: float, highest_per_s: float) -> str:
    """Return by how much the highest rate is above the rate asked: 23 % above, or 8.2 times."""
    times = highest_per_s / asked_per_s
    if times < _TWICE:
        return f"{percent_text(round(times - 1, 3))} above the rate asked"
    return f"{number_text(times)} times the rate asked"


_BASES = {
    "measured": "measured",
    "simulated": "estimated: there the simulation reaches the limit",
    "utilisation": "estimated: no instance is planned above a part of its capacity",
}


def _caption(
    job: RecommendationJob, best: Recommendation, rate: InstanceRate | None, points: Sequence[CurvePoint]
) -> str:
    """Return what there is to see, and where it comes from."""
    sentences = []
    asked_per_s = rate_of_an_instance(best.trial, job.request)
    if rate is not None:
        room = ""
        if asked_per_s is not None and rate.highest_per_s > asked_per_s:
            room = f", {headroom_text(asked_per_s, rate.highest_per_s)}, {given_text(asked_per_s)}/s"
        sentences.append(f"An instance takes {number_text(rate.highest_per_s)}/s{room} ({_BASES[rate.basis]}).")
    if any(point.source == "measured" for point in points):
        sentences.append("Points were measured; bars are 95 % intervals.")
    if any(point.source == "estimated" for point in points):
        sentences.append("The dotted line is estimated by simulation and has no interval.")
    return " ".join(sentences)
