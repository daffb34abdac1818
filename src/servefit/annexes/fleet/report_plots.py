"""The plot of what a fleet costs by the rate that it is to carry, with the best fleet of one class beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.annexes.fleet.report_tables import UNITS
from servefit.quantities import count_text, given_text, number_text
from servefit.report.plot import Axis, Plot, ReferenceLine, Series
from servefit.report.table import Table
from servefit.search.fleet.plan.fleet_plan import MIN_GAP, FleetPlan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servefit.search.fleet.plan.fleet_plan import NotCarried
    from servefit.search.fleet.plan.rate_costs import HostsOfClass, RateCost, RateCosts
    from servefit.search.storage.header import PlanGoal

_WIDE_SPAN = 30.0
"""Rates that span more are drawn on a logarithmic axis. Chosen, as for the latency by rate."""

_FAR = 3.0
"""A rate that is so many times the highest that is carried has no line: the steps could not be told apart."""


def cost_plot(costs: RateCosts, plan: FleetPlan | NotCarried, least: PlanGoal) -> Plot:
    """Return the plot of ``costs``, with the rate of ``plan`` and the highest that is carried marked."""
    points = costs.points
    rates = [point.rate_per_s for point in points]
    return Plot(
        name="fleet-cost",
        title="Hosts by rate" if least == "hosts" else "Cost by rate",
        caption=" ".join(_caption(costs, plan)),
        x=Axis(title="requests per s", log=bool(rates) and max(rates) > _WIDE_SPAN * min(rates)),
        y=Axis(title=f"cost, {UNITS[least]}" if least != "hosts" else "hosts", whole=least == "hosts"),
        series=tuple(_series(costs, plan)),
        table=cost_table(costs, least),
        guides=tuple(_guides(costs, plan)),
        small=True,
    )


def cost_table(costs: RateCosts, least: PlanGoal) -> Table:
    """Return the figures of the plot."""
    counted = least == "hosts"
    return Table(
        title="Hosts by rate" if counted else "Cost by rate",
        columns=(
            "requests/s, up to",
            "cheapest fleet",
            "hosts",
            *(() if counted else (f"cost, {UNITS[least]}",)),
            "best of one class",
            *(("hosts of one class",) if counted else (f"cost of one class, {UNITS[least]}",)),
        ),
        rows=[
            (
                point.rate_per_s,
                _hosts_text(point.hosts),
                sum(count for _, count in point.hosts),
                *(() if counted else (point.cost,)),
                None if point.one_class is None else _hosts_text([point.one_class]),
                point.one_class_cost if not counted or point.one_class is None else point.one_class[1],
            )
            for point in costs.points
        ],
    )


def _series(costs: RateCosts, plan: FleetPlan | NotCarried) -> list[Series]:
    alone = [
        (point.rate_per_s, point.one_class_cost, _hosts_text([point.one_class]))
        for point in costs.points
        if point.one_class is not None
    ]
    asked = [point for point in costs.points if isinstance(plan, FleetPlan) and point.rate_per_s == plan.rate_per_s]
    return [
        Series(
            name="best of one class",
            x=[rate_per_s for rate_per_s, _, _ in alone],
            y=[cost for _, cost, _ in alone],
            labels=[label for _, _, label in alone],
            joined="stairs",
            symbol="hollow",
            colour="quiet",
        ),
        _cheapest("cheapest fleet", costs.points, joined="stairs", colour="main"),
        _cheapest("the plan", asked, symbol="star", colour="best"),
    ]


def _cheapest(name: str, points: Sequence[RateCost], **style: Any) -> Series:
    return Series(
        name=name,
        x=[point.rate_per_s for point in points],
        y=[point.cost for point in points],
        labels=[_hosts_text(point.hosts) for point in points],
        **style,
    )


def _guides(costs: RateCosts, plan: FleetPlan | NotCarried) -> list[ReferenceLine]:
    if not costs.points or plan.rate_per_s > _FAR * costs.points[-1].rate_per_s:
        return []
    return [ReferenceLine(along="x", at=plan.rate_per_s, label=f"asked: {given_text(plan.rate_per_s)}/s", kind="mark")]


def _caption(costs: RateCosts, plan: FleetPlan | NotCarried) -> list[str]:
    """Return what there is to see, and how far off it may be."""
    spare = f" after the loss of any {plan.spare}" if plan.spare else ""
    most = "" if plan.most_hosts is None else f", at most {count_text(plan.most_hosts, 'host')}"
    sentences = [
        f"The cheapest hosts that carry a rate{spare}{most}, and the cheapest of one class."
        " The hosts of a point carry every rate up to its own."
    ]
    alone = [point.rate_per_s for point in costs.points if point.one_class is not None]
    highest_per_s = costs.points[-1].rate_per_s if costs.points else 0.0
    if not alone:
        sentences.append("No class that was confirmed carries such a rate by itself.")
    elif alone[-1] < highest_per_s:
        sentences.append(f"Above {number_text(alone[-1])}/s no class that was confirmed carries the rate by itself.")
    sentences.append(f"The hosts that were confirmed carry {number_text(highest_per_s)}/s at most.")
    if costs.gap >= MIN_GAP:
        sentences.append(f"Others may be cheaper by {100 * costs.gap:.2g} % at most.")
    return sentences


def _hosts_text(hosts: Sequence[HostsOfClass]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in hosts)
