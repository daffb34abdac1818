"""The plan of a fleet, its classes and its hosts as tables and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from servefit.quantities import count_text, given_text, number_text
from servefit.report.sentences import evidence, headline, spent_text
from servefit.report.table import Table, without_column
from servefit.search.fleet.answer import confirmed, confirmed_rate_per_s, label_of, left_out
from servefit.search.fleet.plan.fleet_plan import FleetPlan, NotCarried

if TYPE_CHECKING:
    from servefit.search.fleet.fleet_job import ClassJob, FleetJob
    from servefit.search.fleet.plan.fleet_plan import Fleet
    from servefit.search.fleet.plan.offer import HostOffer
    from servefit.search.storage.header import PlanGoal

UNITS: dict[PlanGoal, str] = {"cost": "an hour", "watts": "W", "hosts": "hosts"}
"""The text behind a figure of a cost."""


def plan_table(plan: FleetPlan, least: PlanGoal) -> Table:
    """Return the hosts of each class that serve, with their weights."""
    return Table(
        title="The fleet",
        columns=(
            "host class", "hosts", "of", "configuration", "confirmed/s", "weight", "share %", "rate/s", "load %",
            f"cost, {UNITS[least]}",
        ),
        rows=[
            (
                row.offer.host_class,
                row.hosts,
                row.offer.hosts,
                row.offer.configuration,
                row.offer.rate_per_s,
                row.weight,
                100 * row.share,
                row.rate_per_s,
                100 * row.load,
                row.cost,
            )
            for row in plan.fleet.rows
        ],
    )  # fmt: skip


def plan_headline(plan: FleetPlan | NotCarried, least: PlanGoal) -> str:
    """Return in a sentence what the fleet is, or what all hosts do carry."""
    asked = f"{number_text(plan.rate_per_s)} requests/s"
    spare = f" after the loss of any {plan.spare}" if plan.spare else ""
    if isinstance(plan, NotCarried):
        which = "hosts" if plan.most_hosts is None else "fastest hosts"
        left = " then" if plan.spare else ""
        not_carried = "were not confirmed to be carried" if plan.unconfirmed else "are not carried"
        others = f"; what {count_text(plan.unconfirmed, 'other')} carry is not confirmed" if plan.unconfirmed else ""
        return (
            f"{asked} {not_carried}{spare}: the {which} of which it was confirmed that they hold the SLA, "
            f"{plan.hosts}, carry {number_text(plan.carries_per_s)}{left}{others}."
        )
    hosts = ", ".join(f"{row.hosts} x {row.offer.host_class}" for row in plan.fleet.rows)
    return f"{asked} are carried{spare} by {hosts}: {_cost(plan.fleet, least)}."


def plan_sentences(plan: FleetPlan, least: PlanGoal) -> Iterator[str]:
    """Yield what a lost host does, and what other fleets would cost."""
    for loss in plan.losses:
        lost = ", ".join(f"{count} x {name}" for name, count in loss.lost)
        yield (
            f"Without {lost} the others were confirmed to carry {number_text(loss.left_rate_per_s)} requests/s; the "
            f"busiest gets {100 * loss.highest_load:.0f} % of its confirmed rate"
            + (": it is overloaded." if loss.overloads else ".")
        )
    if plan.best_of_one_class is not None and len(plan.fleet.rows) > 1:
        (row,) = plan.best_of_one_class.rows
        yield f"The best of one class: {row.hosts} x {row.offer.host_class}, {_cost(plan.best_of_one_class, least)}."
    if plan.all_hosts.hosts > plan.fleet.hosts and least != "hosts":
        yield f"All {plan.all_hosts.hosts} hosts that were confirmed: {_cost(plan.all_hosts, least)}."
    if plan.rate_must_fall_by > 0:
        yield (
            f"With whole-number weights of {plan.balancer} no host is overloaded up to a rate that is "
            f"{100 * plan.rate_must_fall_by:.2g} % lower."
        )


def asks_for_plan(job: FleetJob) -> bool:
    """Return whether ``job`` was asked which hosts carry a rate."""
    return job.header.plan is not None and job.header.request.sla.rate_per_s is not None


def classes_table(job: FleetJob, offers: Sequence[HostOffer], plan: FleetPlan | NotCarried | None) -> Table:
    """Return the classes of hosts: what a host of each is counted for by ``offers``, how many serve, and why a class is
    left out."""
    offered = {offer.host_class: offer for offer in offers}
    used = {row.offer.host_class: row.hosts for row in plan.fleet.rows} if isinstance(plan, FleetPlan) else None
    reasons = dict(left_out(job, plan)) if asks_for_plan(job) else {}
    rows = []
    for class_job in job.classes:
        offer = offered.get(class_job.host_class)
        rows.append(
            (
                class_job.host_class,
                len(class_job.hosts),
                class_job.representative,
                None if offer is None else offer.configuration,
                None if offer is None else offer.rate_per_s,
                None if used is None else used.get(class_job.host_class, 0),
                reasons.get(class_job.host_class),
            )
        )
    columns = ("class", "hosts", "measured on", "configuration", "confirmed/s", "in the plan", "left out")
    return _with_known_columns(Table(title="Classes of hosts", columns=columns, rows=rows))


def hosts_table(job: FleetJob) -> Table:
    """Return the hosts, with the time that fixed work took on each."""
    columns = ("host", "class", "processor", "CPUs", "labels", "cost", "arithmetic ms", "memory ms")
    rows = [
        (
            host.name,
            host.host_class or None,
            host.host.cpu_model,
            host.host.logical_cpus,
            ", ".join(f"{key}={value}" for key, value in host.labels) or None,
            ", ".join(f"{key}={_given(value)}" for key, value in host.cost) or None,
            None if host.timing is None else host.timing.arithmetic.time_ns / 1e6,
            None if host.timing is None else host.timing.memory.time_ns / 1e6,
        )
        for host in job.header.hosts
    ]
    return _with_known_columns(Table(title="Hosts", columns=columns, rows=rows))


def _with_known_columns(table: Table) -> Table:
    """Return ``table`` without the columns in which nothing is known."""
    for nth, name in reversed(list(enumerate(table.columns))):
        if all(row[nth] is None for row in table.rows):
            table = without_column(table, name)
    return table


def left_out_sentences(job: FleetJob, plan: FleetPlan | NotCarried | None) -> Iterator[str]:
    """Yield which classes no plan has, and why; ``plan`` is the one that there is, if there is one."""
    for name, reason in left_out(job, plan):
        yield f"Left out: {name}; {reason}."


def class_sentences(job: FleetJob, class_job: ClassJob) -> list[str]:
    """Return what was found on a class: of a job that plans a rate, what a host of it was confirmed to carry, and not
    how many instances would carry all of it."""
    if not asks_for_plan(job):
        return headline(class_job.job).splitlines()
    spent = spent_text(class_job.job)
    best = confirmed(class_job, job.header.request)
    if best is not None:
        rate = number_text(confirmed_rate_per_s(best, job.header.request))
        return [
            f"A host was confirmed to carry {rate} requests/s, as {label_of(best)} ({spent}).",
            evidence(best, costs=False),
        ]
    nearest = class_job.job.best
    if nearest is None:
        return [f"Nothing was measured under load ({spent})."]
    not_confirmed = f"What a host carries was not confirmed; nearest is {label_of(nearest)} ({spent})."
    return [not_confirmed, evidence(nearest, costs=False)]


def cost_text(fleet: Fleet, least: PlanGoal) -> str:
    """Return what a fleet costs as text."""
    return count_text(fleet.hosts, "host") if least == "hosts" else f"{number_text(fleet.cost)} {UNITS[least]}"


def _cost(fleet: Fleet, least: PlanGoal) -> str:
    """Return the same, with the number of hosts."""
    cost = cost_text(fleet, least)
    return cost if least == "hosts" else f"{cost}, {count_text(fleet.hosts, 'host')}"


def _given(value: float | str) -> str:
    return value if isinstance(value, str) else given_text(value)
