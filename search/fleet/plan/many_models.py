"""Several models on one fleet: which hosts serve which, each host one, or two of which it was measured that they hold
their SLAs beside each other.

The integer program is solved by ``program``, in a process of its own. What a host offers to two models at once is in
``shared_hosts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.checks import check_above_zero, check_whole
from servefit.errors import SpecError
from servefit.isolation import call_isolated
from servefit.search.fleet.plan.balancers.kinds import parse_balancer
from servefit.search.fleet.plan.mix import STARTING_S, fleet_of, gap_warnings, part_below, weight_warnings
from servefit.search.fleet.plan.offer import MAX_NUMBER, HostOffer, check_offers
from servefit.search.fleet.plan.program import HostColumn, Program, Solution
from servefit.search.fleet.plan.shared_hosts import SharedHosts, SharedOffer, check_once, parts_of
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.search.fleet.plan.fleet_plan import Fleet


LIMIT_S = 8.0
"""Ten models on twenty classes of two hundred hosts, with a spare host each, are within 3 % of the cheapest in this
time. A plan shall take 10 s at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDemand:
    """A model, the rate that it is asked for, and what each host class offers to it: the rate that was confirmed for
    this model, and costs and configuration with it.

    Raises SpecError for an empty name, a rate that is none, and offers that are none or two of one class.
    """

    model: str
    rate_per_s: float
    offers: tuple[HostOffer, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise SpecError("model", self.model, "is not a name")
        check_above_zero(f"rate of {self.model}", self.rate_per_s, most=MAX_NUMBER)
        check_offers(self.offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFleet:
    """The fleet that serves ``model`` at its rate."""

    model: str
    rate_per_s: float
    fleet: Fleet


@shown("models", "cost", "gap")
@dataclass(frozen=True, slots=True, kw_only=True)
class ManyModelsPlan:
    """A fleet for each model, in the order of the models, of which any ``spare`` hosts may be lost. Another plan may be
    cheaper by ``gap`` at most, a part of ``cost``. ``hosts_left`` are the hosts of each class that serve none.
    ``shared`` are those that serve two models: they are in the fleets of both, and cost half in each.
    ``warnings`` are those of a ``FleetPlan``."""

    models: tuple[ModelFleet, ...]
    spare: int
    cost: float
    gap: float
    hosts_left: tuple[tuple[str, int], ...]
    shared: tuple[SharedHosts, ...] = ()
    warnings: tuple[str, ...] = ()


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsNotCarried:
    """No hosts were found that carry all rates with that many ``spare`` for each model. ``part_carried`` of every rate
    is carried; more than ``part_at_most`` cannot be. Where that is 1, there may be hosts that carry all: the time was
    too short to tell."""

    spare: int
    hosts: int
    part_carried: float
    part_at_most: float


def plan_models(
    models: Sequence[ModelDemand],
    *,
    shared: Sequence[SharedOffer] = (),
    spare: int = 0,
    balancer: str = "nginx",
    limit_s: float = LIMIT_S,
) -> ManyModelsPlan | ModelsNotCarried:
    """Plan the cheapest hosts for several models.

    Args:
        models: The models, of different names. A class that is offered to several has as many hosts for all of them
            together, and a host of it costs the same.
        shared: What hosts may serve two of the models at once. All others serve one.
        spare: So many hosts may be lost, any of them, and the others of each model still carry its rate.
        balancer: "nginx", "haproxy" or "envoy": the weights are whole numbers that it takes.
        limit_s: The search ends after so much time, and the plan says how far off it may be.

    Raises:
        SpecError: no model, two of one name, classes that differ between models, as many ``spare`` as hosts, or a
            shared offer twice, or of a model or a class that is not on offer.
    """
    kind = parse_balancer(balancer)
    check_above_zero("time limit", limit_s, most=MAX_NUMBER)
    available = _checked(models, spare)
    check_once(shared)
    classes, names = list(available), [demand.model for demand in models]
    by_class = [{offer.host_class: offer for offer in demand.offers} for demand in models]
    columns = [(index, offer) for index, demand in enumerate(models) for offer in demand.offers]
    parts = [parts_of(pair, names, by_class) for pair in shared]
    program = Program(
        columns=(
            *(
                HostColumn(
                    pool=classes.index(offer.host_class), cost=offer.cost_idle, rates_per_s=((index, offer.rate_per_s),)
                )
                for index, offer in columns
            ),
            *(
                HostColumn(
                    pool=classes.index(pair.host_class),
                    cost=first.cost_idle + second.cost_idle,
                    rates_per_s=tuple(zip(map(names.index, pair.models), pair.rates_per_s, strict=True)),
                )
                for pair, (first, second) in zip(shared, parts, strict=True)
            ),
        ),
        available=tuple(offer.hosts for offer in available.values()),
        asked_per_s=tuple(demand.rate_per_s for demand in models),
        spare=spare,
        limit_s=limit_s,
    )
    solution: Solution = call_isolated(
        "servefit.search.fleet.plan.program:solve", program, timeout_s=limit_s + STARTING_S
    )
    if solution.hosts is None:
        return ModelsNotCarried(
            spare=spare,
            hosts=sum(program.available),
            part_carried=solution.part_carried,
            part_at_most=solution.part_at_most,
        )
    left = {name: offer.hosts for name, offer in available.items()}
    counted: list[list[tuple[HostOffer, int]]] = [[] for _ in models]
    for (index, offer), count in zip(columns, solution.hosts, strict=False):
        counted[index].append((offer, count))
        left[offer.host_class] -= count
    taken = []
    for pair, halves, count in zip(shared, parts, solution.hosts[len(columns) :], strict=True):
        for model, part in zip(pair.models, halves, strict=True):
            counted[names.index(model)].append((part, count))
        left[pair.host_class] -= count
        if count:
            taken.append(
                SharedHosts(host_class=pair.host_class, models=pair.models, rates_per_s=pair.rates_per_s, hosts=count)
            )
    fleets = []
    for demand, hosts in zip(models, counted, strict=True):
        offers, counts = zip(*hosts, strict=True)
        fleet = fleet_of(offers, counts, rate_per_s=demand.rate_per_s, spare=spare, balancer=kind)
        fleets.append(ModelFleet(model=demand.model, rate_per_s=demand.rate_per_s, fleet=fleet))
    cost = sum(model_fleet.fleet.cost for model_fleet in fleets)
    gap = part_below(cost, solution.bound)
    warnings = [
        f"{model_fleet.model}: {warning}"
        for model_fleet in fleets
        for warning in weight_warnings(model_fleet.fleet, kind)
    ]
    return ManyModelsPlan(
        models=tuple(fleets),
        spare=spare,
        cost=cost,
        gap=gap,
        hosts_left=tuple((name, count) for name, count in left.items() if count),
        shared=tuple(taken),
        warnings=(*gap_warnings(gap), *warnings),
    )


def _checked(models: Sequence[ModelDemand], spare: int) -> dict[str, HostOffer]:
    """Return an offer of each class. Raises SpecError."""
    if not models:
        raise SpecError("models", None, "are none", remedy="name one at least")
    available: dict[str, HostOffer] = {}
    names: set[str] = set()
    check_whole("spare", spare, least=0)
    for demand in models:
        if demand.model in names:
            raise SpecError("model", demand.model, "is there twice")
        names.add(demand.model)
        for offer in demand.offers:
            earlier = available.setdefault(offer.host_class, offer)
            if (earlier.hosts, earlier.cost_idle) != (offer.hosts, offer.cost_idle):
                raise SpecError("host class", offer.host_class, "has other hosts, or another cost, for another model")
        if spare >= sum(offer.hosts for offer in demand.offers):
            raise SpecError("spare", spare, f"leaves no host to serve {demand.model}")
    return available
