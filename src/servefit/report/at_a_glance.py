"""The table of a job that is taken in at a glance: what to deploy, what it costs, and whether it is fast enough.

It has six columns of texts, with units. All figures are in the table of ``job_tables``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.quantities import amount_text, count_text, number_text
from servefit.report.job_tables import recommendations_title, unasked
from servefit.report.measured_texts import CAPACITY_DIGITS, PREDICTED, capacity_text, latency_cell, marked
from servefit.report.sentences import shape
from servefit.report.table import Table
from servefit.search.results.instances import S_PER_MIN
from servefit.search.results.objectives.cost import vcpu_s_per_million
from servefit.search.results.price import INFERENCES
from servefit.search.results.same_shape import folded

if TYPE_CHECKING:
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.results.recommendation import Recommendation


def glance_table(job: RecommendationJob) -> Table:
    """Return the table of the recommendations with the columns that decide.

    Where a rate was asked the cost is that of all instances together: of an hour, or in vCPUs where a profile has no
    price. Without a rate it is that of a million inferences with the instances fully used, in vCPU-seconds where a
    profile has no price: these cannot be compared with money, and are told apart by their unit. Rates and latencies
    that were predicted and not measured are marked so. What was found of backends that predict less exactly is a column
    if one of them is among the recommended. Profiles that share a measurement are one row, that of the cheapest.

    Args:
        job: The job; its table has no rows if it has no recommendation.

    Returns:
        Texts for people, best first.

    Example:
        ``glance_table(sf.load_job("fraud")).rows``
    """
    rows = folded(job.recommendations)
    cost, cost_of = "cost a million", _per_million
    if job.request.sla.rate_per_s is not None:
        by_the_hour = any(row.cost_per_hour is not None for row in rows)
        cost, cost_of = ("cost an hour", _per_hour) if by_the_hour else ("takes", _vcpus)
    less_exact = any(row.quality is not None for row in rows)
    return Table(
        title=recommendations_title(job, f" ({PREDICTED} predicted)"),
        columns=("profile", "backend and shape", cost, "max rate", "p95", *(("quality",) if less_exact else ()), "SLA"),
        rows=[
            (
                instances(row),
                shape(row.trial.configuration),
                cost_of(row),
                marked(row.trial, capacity_text(row.max_invocations / S_PER_MIN)),
                marked(row.trial, latency_cell(row.trial.judged, "p95")),
                *((None if row.quality is None else row.quality.short,) if less_exact else ()),
                None if "verdict" in unasked(job) else row.trial.verdict,
            )
            for row in rows
        ],
        numeric=(cost, "max rate", "p95"),
    )


def instances(recommendation: Recommendation) -> str:
    """Return the instances of a recommendation: the profile, behind their number if there are several."""
    count, name = recommendation.trial.instance_count, recommendation.profile.name
    return name if count == 1 else f"{count} x {name}"


def _per_hour(recommendation: Recommendation) -> str:
    cost = recommendation.cost_per_hour
    return _vcpus(recommendation) if cost is None else amount_text(cost, recommendation.profile.currency)


def _vcpus(recommendation: Recommendation) -> str:
    return count_text(recommendation.vcpus, "vCPU")


def _per_million(recommendation: Recommendation) -> str | None:
    if recommendation.cost_per_inference is not None:
        amount = INFERENCES * recommendation.cost_per_inference
        return amount_text(amount, recommendation.profile.currency, digits=CAPACITY_DIGITS)
    vcpu_s = vcpu_s_per_million(recommendation.trial)
    return None if vcpu_s is None else f"{number_text(vcpu_s, digits=CAPACITY_DIGITS)} vCPU-s"
