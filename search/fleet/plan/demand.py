"""What is asked of the solver of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from servefit.search.fleet.plan.losses import total_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked of the solver: the numbers of all offers, in their order. ``limit_s`` is its CPU time, and
    ``gap`` the part of the cost by which the answer may be off the best; None leaves it to the number of classes."""

    rates_per_s: tuple[float, ...]
    available: tuple[int, ...]
    costs_idle: tuple[float, ...]
    costs_dynamic: tuple[float, ...]
    rate_per_s: float
    spare: int
    most_hosts: int | None
    limit_s: float
    gap: float | None = None

    def cost(self, hosts: tuple[int, ...]) -> float:
        """Return what ``hosts`` cost when each runs at the same part of its rate."""
        load = self.rate_per_s / total_per_s(self.rates_per_s, hosts)
        each = zip(self.costs_idle, self.costs_dynamic, hosts, strict=True)
        return sum(count * (idle + load * dynamic) for idle, dynamic, count in each)
