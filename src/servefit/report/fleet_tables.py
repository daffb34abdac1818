"""The plan of a fleet as a table and as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from servefit.quantities import number_text
from servefit.report.table import Table
from servefit.search.fleet.plan.fleet_plan import NotCarried

if TYPE_CHECKING:
    from servefit.search.fleet.plan.fleet_plan import Fleet, FleetPlan
    from servefit.search.storage.header import PlanGoal

_UNITS: dict[PlanGoal, str] = {"cost": "an hour", "watts": "W", "hosts": "hosts"}

_LEAST_GAP = 1e-4
"""What is less is lost in the digits that costs are shown with."""


def plan_table(plan: FleetPlan, least: PlanGoal) -> Table:
    """Return the hosts of each class that serve, with their weights."""
    return Table(
        title="The fleet",
        columns=(
            "host class", "hosts", "of", "configuration", "confirmed/s", "weight", "share %", "rate/s", "load %",
            f"cost, {_UNITS[least]}",
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
        return (
            f"{asked} are not carried{spare}: the {which} of which it was confirmed that they hold the SLA, "
            f"{plan.hosts}, carry {number_text(plan.carries_per_s)}{left}."
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
    if plan.all_hosts.hosts > plan.fleet.hosts:
        yield f"All {plan.all_hosts.hosts} hosts: {_cost(plan.all_hosts, least)}."
    if plan.gap >= _LEAST_GAP:
        yield f"Another fleet may be cheaper by {100 * plan.gap:.2g} % at most."
    if plan.rate_must_fall_by > 0:
        yield (
            f"With whole-number weights of {plan.balancer} no host is overloaded up to a rate that is "
            f"{100 * plan.rate_must_fall_by:.2g} % lower."
        )


def _cost(fleet: Fleet, least: PlanGoal) -> str:
    if least == "hosts":
        return f"{fleet.hosts} hosts"
    return f"{number_text(fleet.cost)} {_UNITS[least]}, {fleet.hosts} hosts"
