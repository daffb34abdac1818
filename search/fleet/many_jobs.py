"""The plan of several models on one fleet, from a job on that fleet for each: every host serves one of them.

What each host carries of each model is what the job of that model confirmed. How models come to share hosts is for
``sharing``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.fleet.answer import cost_of, goal_of, left_out, offers_of, plan_of
from servefit.search.fleet.plan.many_models import ModelDemand, plan_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from servefit.search.fleet.fleet_job import FleetJob
    from servefit.search.fleet.plan.many_models import ManyModelsPlan, ModelsNotCarried
    from servefit.search.fleet.plan.offer import HostOffer
    from servefit.search.storage.header import PlanGoal, PlanRequest


def common_goal(jobs: Mapping[str, FleetJob], wanted: PlanRequest) -> PlanGoal:
    """Return what a plan of the hosts of all ``jobs`` minimizes; see ``goal_of``."""
    return goal_of(wanted, [host for job in jobs.values() for host in job.header.hosts])


def plan_jobs(
    jobs: Mapping[str, FleetJob], wanted: PlanRequest, *, balancer: str = "nginx"
) -> ManyModelsPlan | ModelsNotCarried:
    """Plan the hosts of a fleet for several models.

    Args:
        jobs: For each model, by the name that it is to have in the plan, a job that measured it on the fleet, at its
            own rate and SLA. Hosts are the same where they have the same name.
        wanted: How many hosts of each model may be lost, and what is minimized.
        balancer: The one that weights are for.

    Returns:
        The plan, whose classes are hosts that are alike for every model. They are named after their first host where
        jobs differ in what is alike.

    Raises:
        SpecError: a job that was asked for no rate, or on no class of which it was confirmed that the SLA is held;
            hosts without a cost that the goal takes; as many spare hosts as there are for a model.
    """
    demands, _ = demands_of(jobs, wanted)
    return plan_models(demands, spare=wanted.spare, balancer=balancer)


def demands_of(
    jobs: Mapping[str, FleetJob], wanted: PlanRequest
) -> tuple[list[ModelDemand], dict[str, tuple[str, ...]]]:
    """Return what is asked of the hosts by each model, with what classes of hosts offer to it, and the hosts of each
    class. Raises SpecError as :func:`plan_jobs`."""
    if not jobs:
        raise SpecError("models", None, "are none", remedy="name a job for each, as in --model fraud=JOB")
    if wanted.most_hosts is not None:
        raise SpecError("most_hosts", wanted.most_hosts, "is for a fleet of one model")
    goal = common_goal(jobs, wanted)
    rates, offered = {}, {}
    for model, job in jobs.items():
        if (rate_per_s := job.header.request.sla.rate_per_s) is None:
            raise SpecError(
                "model", model, f"has the job {job.name}, which was asked for no rate", remedy="give --rate"
            )
        rates[model] = rate_per_s
        offered[model] = {offer.host_class: offer for offer in offers_of(job, goal)}
        if not offered[model]:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out(job, plan_of(job)))
            raise SpecError("model", model, f"has the job {job.name}, in which no host holds the SLA: {reasons}")
    costs = _costs(jobs, offered, goal)
    alike = _alike(jobs, costs)
    demands = [
        ModelDemand(model=model, rate_per_s=rates[model], offers=tuple(_offers(job, offered[model], alike, costs)))
        for model, job in jobs.items()
    ]
    return demands, alike


def left_out_sentences(jobs: Mapping[str, FleetJob]) -> Iterator[str]:
    """Yield which hosts are not planned for which model, and why; jobs that leave out what their own plans do without
    are told how to be begun."""
    for model, job in jobs.items():
        left = left_out(job, plan_of(job))
        for host_class, reason in left:
            yield f"{host_class} is not planned for {model}: {reason}"
        if job.header.plan is not None and not job.header.plan.every_class and left:
            yield f"job {job.name} measured only what its own plan needs: begin it with --every-class"


def _alike(jobs: Mapping[str, FleetJob], costs: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    """Return the hosts that are of one class in every job and cost the same, by a name for them."""
    classes = [{host.name: host.host_class for host in job.header.hosts} for job in jobs.values()]
    alike: dict[tuple[tuple[str | None, ...], float | None], list[str]] = {}
    for name in sorted({name for in_job in classes for name in in_job}):
        alike.setdefault((tuple(in_job.get(name) for in_job in classes), costs.get(name)), []).append(name)
    groups = [(key, hosts) for (key, _), hosts in alike.items()]
    return {
        (key[0] if len(set(key)) == 1 and key[0] and _is_only(key[0], groups) else hosts[0]): tuple(hosts)
        for key, hosts in groups
    }


def _is_only(name: str, groups: Sequence[tuple[tuple[str | None, ...], Sequence[str]]]) -> bool:
    """Return whether one group alone has hosts of the class of that name."""
    return sum(name in key for key, _ in groups) == 1


def _costs(
    jobs: Mapping[str, FleetJob], offered: Mapping[str, Mapping[str, HostOffer]], goal: PlanGoal
) -> dict[str, float]:
    """Return what each host of a class that is ``offered`` costs: the most that any job knew."""
    costs: dict[str, float] = {}
    for model, job in jobs.items():
        for host in job.header.hosts:
            if host.host_class in offered[model]:
                costs[host.name] = max(costs.get(host.name, 0.0), cost_of(goal, host.name, dict(host.cost)))
    return costs


def _offers(
    job: FleetJob,
    offers: Mapping[str, HostOffer],
    alike: Mapping[str, tuple[str, ...]],
    costs: Mapping[str, float],
) -> Iterator[HostOffer]:
    """Yield what ``job`` found that hosts which are alike offer, at their ``costs``."""
    classes = {host.name: host.host_class for host in job.header.hosts}
    for name, hosts in alike.items():
        offer = offers.get(classes.get(hosts[0], ""))
        if offer is not None:
            yield replace(offer, host_class=name, hosts=len(hosts), cost_idle=costs[hosts[0]], costs_idle=())
