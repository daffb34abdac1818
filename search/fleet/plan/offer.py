"""A host class as the plan sees it: how many hosts there are, what each carries, and what each costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError

MAX_HOSTS = 10_000_000
"""More hosts of a class than this are a slip of the pen: the largest fleets that are known of have a few million."""

MAX_NUMBER = 1e12
"""Rates and costs above this are a slip of the pen, and below it none of their sums is infinite."""

MIN_RATE_PER_S = 1e-6
"""A request in twelve days. What is slower serves nobody, and would be lost in the rounding of sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOffer:
    """The offer of a host class: ``hosts`` hosts, each of which carries ``rate_per_s`` requests a second within the
    SLA.

    ``rate_per_s`` is the rate that was confirmed, and not the capacity. ``cost_idle`` is what a host costs, in the unit
    of the goal: a price per hour, watts, or 1 for a host. Load does not add to it: ``cost_full`` is the same. Where
    hosts cost different amounts it is that of the dearest, and ``costs_idle`` has what each of them costs.
    ``configuration`` is the label of what runs on it.

    Raises SpecError for an empty name, for numbers that are not finite, not above zero (costs: below zero) or absurdly
    large, and for ``costs_idle`` of other hosts.
    """

    host_class: str
    hosts: int
    rate_per_s: float
    cost_idle: float
    cost_full: float = field(init=False)
    configuration: str
    costs_idle: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.host_class, str) or not self.host_class.strip():
            raise SpecError("host class", self.host_class, "is not a name")
        of = f"of host class {self.host_class}"
        check_whole(f"hosts {of}", self.hosts, least=1, most=MAX_HOSTS)
        check_at_least(f"rate {of}", self.rate_per_s, MIN_RATE_PER_S, most=MAX_NUMBER)
        check_at_least(f"cost {of}", self.cost_idle, 0, most=MAX_NUMBER)
        if self.costs_idle and (len(self.costs_idle) != self.hosts or max(self.costs_idle) != self.cost_idle):
            raise SpecError(f"costs {of}", self.costs_idle, f"are not those of {self.hosts} hosts")
        object.__setattr__(self, "cost_full", self.cost_idle)

    @property
    def prices(self) -> tuple[tuple[float, int], ...]:
        """The costs of hosts, ascending, and the number of hosts of each cost."""
        if not self.costs_idle:
            return ((self.cost_idle, self.hosts),)
        return tuple(sorted(Counter(self.costs_idle).items()))

    def cost_of(self, hosts: int) -> float:
        """Return what the cheapest ``hosts`` cost together."""
        return sum(sorted(self.costs_idle)[:hosts]) if self.costs_idle else hosts * self.cost_idle


def check_offers(offers: Sequence[HostOffer]) -> None:
    """Raise SpecError where there is no offer, or where two are of one host class."""
    if not offers:
        raise SpecError("fleet", None, "has no host", remedy="start an agent on a host, or ask for other hosts")
    seen: set[str] = set()
    for offer in offers:
        if offer.host_class in seen:
            raise SpecError("host class", offer.host_class, "is offered twice")
        seen.add(offer.host_class)


def check_demand(offers: Sequence[HostOffer], *, rate_per_s: float, spare: int, most_hosts: int | None) -> None:
    """Raise SpecError for a rate that is none, and for more ``spare`` hosts than there may be hosts to lose them from.

    One host at least must be left, of those that are offered and of ``most_hosts``.
    """
    check_above_zero("rate", rate_per_s, most=MAX_NUMBER)
    check_whole("spare", spare, least=0)
    hosts = sum(offer.hosts for offer in offers)
    if most_hosts is not None:
        check_whole("most hosts", most_hosts, least=1)
        hosts = min(hosts, most_hosts)
    if spare >= hosts:
        there = "there is 1 host" if hosts == 1 else f"there are {hosts:,} hosts"
        raise SpecError("spare", spare, f"leaves no host to serve: {there} in all", remedy="spare fewer, or add hosts")
