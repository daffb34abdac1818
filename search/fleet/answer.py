"""The answer of a job on a fleet: how many hosts of which class carry the rate that was asked for, and at what cost.

Every figure in it was measured for the class that it is of: a host counts for the rate at which the SLA was held on its
representative, and not for what it might answer. How the numbers of hosts are found is in ``plan``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.capacity.latency_curve import rate_of_an_instance
from servefit.search.fleet.fleet_job import LEFT_ALONE, NOT_PLANNED
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried
from servefit.search.fleet.plan.mix import plan_fleet
from servefit.search.fleet.plan.offer import HostOffer
from servefit.search.jobs.runner import SEARCH_BEGAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from servefit.search.fleet.fleet_job import ClassJob, FleetJob
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Recommendation
    from servefit.search.storage.header import JobHost, PlanGoal, PlanRequest

_NO_TIME = {
    LEFT_ALONE: "it was not tested under load: more time (--budget) tells what it carries",
    NOT_PLANNED: "it was tested, and not confirmed: more time (--budget) tells what it carries",
}
"""The remark on such a class where there is no plan."""

HOURS_A_YEAR = 8766.0
"""Of 365.25 days."""


def plan_of(job: FleetJob, *, balancer: str = "nginx") -> FleetPlan | NotCarried | None:
    """Return the plan for the rate that ``job`` was asked for, with weights that ``balancer`` takes; None where it was
    asked for none, or where no class holds the SLA."""
    rate_per_s, wanted = job.header.request.sla.rate_per_s, job.header.plan
    if rate_per_s is None or wanted is None:
        return None
    offers = offers_of(job, goal_of(wanted, job.header.hosts))
    if not offers:
        return None
    hosts = sum(offer.hosts for offer in offers)
    if wanted.spare >= hosts:
        # Too few of the hosts that were asked for hold the SLA.
        plan: FleetPlan | NotCarried = NotCarried(
            rate_per_s=rate_per_s, spare=wanted.spare, most_hosts=wanted.most_hosts, hosts=hosts, carries_per_s=0.0
        )
    else:
        plan = plan_fleet(
            offers, rate_per_s=rate_per_s, spare=wanted.spare, most_hosts=wanted.most_hosts, balancer=balancer
        )
    return replace(plan, unconfirmed=_unconfirmed(job)) if isinstance(plan, NotCarried) else plan


def _unconfirmed(job: FleetJob) -> int:
    """Return how many hosts may hold the SLA but were not confirmed to."""
    open_classes = [class_job for class_job in job.classes if confirmed(class_job, job.header.request) is None]
    return sum(
        len(class_job.hosts)
        for class_job in open_classes
        if class_job.job.best is None or class_job.job.best.trial.verdict != "FAIL"
    )


def goal_of(wanted: PlanRequest, hosts: Iterable[JobHost]) -> PlanGoal:
    """Return what a plan of ``hosts`` minimizes: what was asked for, else their cost where all have one, else their
    number."""
    if wanted.least is not None:
        return wanted.least
    return "cost" if all(_cost_per_hour(dict(host.cost)) is not None for host in hosts) else "hosts"


def check_costs(wanted: PlanRequest, hosts: Iterable[tuple[str, Mapping[str, float | str]]]) -> None:
    """Raise SpecError where a goal was asked for by which a host, given by name and cost, has no cost."""
    if wanted.least is not None:
        for name, cost in hosts:
            cost_of(wanted.least, name, cost)


def cost_of(least: PlanGoal, name: str, cost: Mapping[str, float | str]) -> float:
    """Return the cost of the host of that ``name``, in the unit of ``least``. Raises SpecError where its agent was
    given none."""
    if least == "hosts":
        return 1.0
    if least == "watts":
        watts = cost.get("watts")
        if isinstance(watts, str):
            raise SpecError(
                "cost", f"watts={watts}", f"of {name} is not known", remedy="give the watts as a number, from a meter"
            )
        cost_of_host, remedy = watts, "start its agent with --cost watts=180"
    else:
        cost_of_host, remedy = _cost_per_hour(cost), "start its agent with --cost per_hour=0.21, or capex=4200,years=4"
    if cost_of_host is None:
        raise SpecError("goal", least, f"needs what {name} costs, which its agent was not told", remedy=remedy)
    return cost_of_host


def offers_of(job: FleetJob, least: PlanGoal) -> Sequence[HostOffer]:
    """Return an offer of each class that holds the SLA: the highest rate at which a configuration was confirmed, and
    the cost of a host. Idle hosts cost as much as loaded ones, since the costs of hosts do not tell these apart."""
    offers = []
    for class_job in job.classes:
        best = confirmed(class_job, job.header.request)
        if best is None:
            continue
        costs = [
            cost_of(least, host.name, dict(host.cost))
            for host in job.header.hosts
            if host.host_class == class_job.host_class
        ]
        offers.append(
            HostOffer(
                host_class=class_job.host_class,
                hosts=len(class_job.hosts),
                rate_per_s=confirmed_rate_per_s(best, job.header.request),
                cost_idle=max(costs),
                configuration=label_of(best),
                costs_idle=tuple(costs) if len(set(costs)) > 1 else (),
            )
        )
    return offers


def cheapest_first(job: FleetJob) -> Mapping[str, Sequence[str]]:
    """Return the hosts of each class by name, in the order in which a plan has them serve."""
    from servefit.search.storage.header import PlanRequest

    least = goal_of(job.header.plan or PlanRequest(), job.header.hosts)
    costs = {host.name: cost_of(least, host.name, dict(host.cost)) for host in job.header.hosts}
    return {class_job.host_class: sorted(class_job.hosts, key=lambda name: costs[name]) for class_job in job.classes}


def label_of(recommendation: Recommendation) -> str:
    """Return what runs on a host in short: "local-8c, xgboost 8 x 1, batch 4" has eight workers of one thread."""
    of = recommendation.trial.configuration
    return f"{recommendation.profile.name}, {of.backend} {of.workers} x {of.settings.threads}, batch {of.max_batch}"


def confirmed(class_job: ClassJob, request: JobRequest) -> Recommendation | None:
    """Return the recommendation of a class that was confirmed to hold the SLA of ``request`` at the highest rate, None
    where there is none."""
    holding = [recommendation for recommendation in class_job.job.recommendations if _why_not(recommendation) is None]
    return max(holding, key=lambda recommendation: confirmed_rate_per_s(recommendation, request), default=None)


def left_out(job: FleetJob, plan: FleetPlan | NotCarried | None) -> Sequence[tuple[str, str]]:
    """Return the classes that were not confirmed, so that ``plan`` leaves them out, each with the reason."""
    reasons = []
    for class_job in job.classes:
        if confirmed(class_job, job.header.request) is None:
            remarks = [remark for remark in class_job.job.state.remarks if not remark.startswith(SEARCH_BEGAN)]
            unplanned = [remark for remark in remarks if remark in (LEFT_ALONE, NOT_PLANNED)]
            if unplanned:
                # A remark about the plan makes no sense where there is none.
                reason = unplanned[0] if isinstance(plan, FleetPlan) else _NO_TIME[unplanned[0]]
            elif class_job.job.best is None:
                reason = next(iter(remarks), "nothing was measured")
            else:
                reason = _why_not(class_job.job.best) or ""
            reasons.append((class_job.host_class, reason))
    return reasons


def _why_not(recommendation: Recommendation) -> str | None:
    """Return why a recommendation is no part of a plan, None where it is."""
    if recommendation.trial.verdict != "PASS":
        return f"its verdict is {recommendation.trial.verdict}"
    if recommendation.trial.basis != "measured":
        return "it was predicted, as no CPU was left to load the endpoint from"
    if recommendation.confirmation is None or not recommendation.confirmation.is_confirmed:
        return "it was not confirmed by a second measurement"
    return None


def confirmed_rate_per_s(recommendation: Recommendation, request: JobRequest) -> float:
    """Return the rate at which an instance was measured for ``request``, 0.0 where it was at none."""
    return rate_of_an_instance(recommendation.trial, request) or 0.0


def _cost_per_hour(cost: Mapping[str, float | str]) -> float | None:
    if isinstance(per_hour := cost.get("per_hour"), float | int):
        return float(per_hour)
    capex, years = cost.get("capex"), cost.get("years")
    if isinstance(capex, float | int) and isinstance(years, float | int):
        return capex / (years * HOURS_A_YEAR)
    return None
