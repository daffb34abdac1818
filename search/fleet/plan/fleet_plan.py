"""The plan of a fleet, and the result where no plan can be: frozen, and of plain numbers. ``mix`` makes both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.search.fleet.plan.losses import ROUNDING
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.search.fleet.plan.balancers.kinds import BalancerName
    from servefit.search.fleet.plan.offer import HostOffer


MIN_GAP = 2e-4
"""A plan of a smaller gap is the cheapest: with many classes a search leaves half of that, and what is less is lost in
the digits that costs are shown with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    """``hosts`` hosts of a class, all alike.

    ``weight`` is what a balancer is given for each of them, ``share`` the part of all requests that one gets by it, and
    ``rate_per_s`` that part of the rate. ``cost`` is of one host at that rate, in the unit of the offer: the mean where
    they cost different amounts. The cheapest of the class serve.
    """

    offer: HostOffer
    hosts: int
    weight: int
    share: float
    rate_per_s: float
    cost: float

    @property
    def load(self) -> float:
        """The part of its confirmed rate that each host gets."""
        return self.rate_per_s / self.offer.rate_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Hosts that carry the rate together, by class in the order of the offers, and without classes of which none is
    used.

    ``confirmed_rate_per_s`` is the sum of what they were confirmed to carry, and ``kept_rate_per_s`` what is left of it
    after the worst loss of the spare hosts. ``carries_per_s`` is the highest rate at which the whole-number weights
    give no host more than its confirmed rate, alone and after any such loss: a little less than ``kept_rate_per_s``.
    One host's share is off its part of the confirmed rates by ``weights_off_by``, the others by less.
    """

    rows: tuple[PlanRow, ...]
    cost: float
    confirmed_rate_per_s: float
    kept_rate_per_s: float
    carries_per_s: float
    weights_off_by: float = 0.0

    @property
    def hosts(self) -> int:
        """The number of its hosts."""
        return sum(row.hosts for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The remains of a fleet after a loss of hosts: ``lost`` is the names of classes and how many of each,
    ``left_rate_per_s`` what the others were confirmed to carry, and ``highest_load`` the largest part of its confirmed
    rate that one of them gets under the weights: above 1 it is overloaded."""

    lost: tuple[tuple[str, int], ...]
    left_rate_per_s: float
    highest_load: float

    @property
    def overloads(self) -> bool:
        """Whether a host gets more than its confirmed rate."""
        return self.highest_load > 1 + ROUNDING


@shown("rate_per_s", "spare", "fleet", "rate_must_fall_by")
@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """The cheapest fleet that was found for ``rate_per_s``, of which any ``spare`` hosts may be lost.

    ``gap`` is the part of its cost by which another fleet may be cheaper at most. ``losses`` are that of one host of
    each class, and the worst of ``spare`` hosts where these are more than one; without a host left there is none.
    ``best_of_one_class`` is the cheapest fleet of one class, None where none carries the rate so, and ``all_hosts`` is
    what all hosts on offer would cost. ``rate_must_fall_by`` is the part by which the rate must fall for the
    whole-number weights of ``balancer`` to overload no host, 0.0 if it need not. ``warnings`` say where the fleet was
    not proven to be the cheapest, and where weights are not in proportion to the rates.
    """

    rate_per_s: float
    spare: int
    most_hosts: int | None
    balancer: BalancerName
    fleet: Fleet
    gap: float
    losses: tuple[Loss, ...]
    best_of_one_class: Fleet | None
    all_hosts: Fleet
    rate_must_fall_by: float
    warnings: tuple[str, ...] = ()


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class NotCarried:
    """All that is on offer does not carry ``rate_per_s`` with that many ``spare``: it carries ``carries_per_s``, by
    ``hosts`` hosts, which are all or the fastest ``most_hosts``. ``unconfirmed`` hosts were not on offer although
    nothing speaks against them: it was not confirmed what they carry."""

    rate_per_s: float
    spare: int
    most_hosts: int | None
    hosts: int
    carries_per_s: float
    unconfirmed: int = 0
