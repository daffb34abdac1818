"""Searches of all classes of a fleet side by side: what each has shown of itself decides how long the others are
searched.

A class is tested for as long as what it may turn out to carry changes the plan: the searches end when the cheapest plan
by the most that all classes may carry and the one by the least cost the same. Then the plan is made, by what is likely;
each class that is in it is confirmed at the rate that its hosts are to carry, and checked on more of them. What that
refutes is planned again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.search.fleet.guide.plan_costs import Mix, PlanCosts, planned_rates
from servefit.search.fleet.guide.rate_range import NOTHING_KNOWN, RateRange
from servefit.search.fleet.guide.spot_checks import spot_checked
from servefit.search.fleet.plan.fleet_plan import FleetPlan
from servefit.search.fleet.plan.mix import plan_fleet
from servefit.search.fleet.plan.offer import MIN_RATE_PER_S, HostOffer

if TYPE_CHECKING:
    from servefit.search.optimizer.gaussian_process import Lesson
    from servefit.search.storage.header import PlanRequest

SAME_COST = 0.01
"""Plans whose costs differ by 1 % at most cost the same."""

MAX_PLANS = 6
"""One is made to be confirmed, one to be checked, and others where these refute it: this is where that ends. Chosen,
not measured."""

_MANY_CLASSES, _SOON_S = 50, 1.0
"""Of more classes, only so many with the widest ranges are looked at, and what is worth a test is worked out once a
second at most: it takes a part of that. Chosen, not measured."""

_SAME_RATE = 1e-3
"""A rate that is larger than the confirmed one by a smaller part counts as confirmed: as much is lost in whole-number
weights."""

_At: TypeAlias = Literal["timing", "testing", "waiting", "tested", "ready", "confirming", "ended"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToCheck:
    """Other hosts of a class to test at a rate, by name."""

    hosts: tuple[str, ...]
    rate_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The result of the search of a class: the rate that a host is likely to carry, and the highest at which one was
    confirmed, 0.0 for none."""

    likely_per_s: float
    confirmed_per_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class _Class:
    """A class that is searched: its ``hosts``, the representative first, and what each costs."""

    hosts: tuple[str, ...]
    cost: float
    at: _At = "timing"
    known: RateRange | None = None
    standing: Standing | None = None
    checked: bool = False

    @property
    def expected(self) -> RateRange:
        return self.known or NOTHING_KNOWN

    @property
    def likely_per_s(self) -> float:
        if self.at == "ended":
            return self.confirmed_per_s
        if self.standing is not None:
            return max(self.standing.likely_per_s, self.confirmed_per_s)
        return self.expected.likely_per_s

    @property
    def confirmed_per_s(self) -> float:
        return 0.0 if self.standing is None else self.standing.confirmed_per_s


@dataclass(slots=True)
class FleetGuide:
    """The guide of a job for ``rate_per_s``, to be planned as ``wanted``. ``hosts`` are those of each class by name,
    the representative first, and ``costs`` what a host of each costs. ``seed`` draws the hosts that are checked.

    Its methods may be called from a thread for each class.
    """

    rate_per_s: float
    wanted: PlanRequest
    hosts: Mapping[str, tuple[str, ...]]
    costs: Mapping[str, float]
    seed: int = 0
    lessons: list[tuple[str, Lesson]] = field(default_factory=list)
    _classes: dict[str, _Class] = field(init=False)
    _to_confirm: dict[str, float] = field(default_factory=dict)
    _to_check: dict[str, ToCheck] = field(default_factory=dict)
    _plans: int = 0
    _is_stale: bool = True
    _worth: tuple[float, set[str]] | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._classes = {name: _Class(hosts=hosts, cost=self.costs[name]) for name, hosts in self.hosts.items()}

    def wait(self, seconds: float) -> None:
        """Wait until something has changed, for so long at most."""
        with self._changed:
            self._changed.wait(seconds)

    def teach(self, host_class: str, lesson: Lesson) -> None:
        """Keep what was learnt on ``host_class`` for the others."""
        with self._changed:
            self.lessons.append((host_class, lesson))
            self._changed.notify_all()

    def goes_on(self, host_class: str, rates: RateRange, *, patient: bool = True) -> bool | None:
        """Return whether ``host_class``, which is now expected to carry ``rates``, is tested next; None as long as that
        depends on other classes. One that is not ``patient`` does not wait for classes whose calls were not timed yet,
        which may turn out to carry any rate."""
        with self._changed:
            mine = self._classes[host_class]
            if (mine.known, mine.at) != (rates, "waiting"):
                mine.known, mine.at = rates, "waiting"
                self._forget_worth()
            verdict = self._verdict(host_class, patient=patient)
            if verdict is not None:
                mine.at = "testing" if verdict else "tested"
                self._forget_worth()
                self._changed.notify_all()
            return verdict

    def is_late(self, host_class: str) -> None:
        """Take note that there is no more time to test ``host_class``."""
        with self._changed:
            self._classes[host_class].at = "tested"
            self._forget_worth()
            self._changed.notify_all()

    def ended(self, host_class: str, standing: Standing | None = None) -> None:
        """Take note that nothing more is measured on ``host_class``, which has come to ``standing`` if that is not
        known yet."""
        with self._changed:
            mine = self._classes[host_class]
            # What others may have been told to carry, or not to, rested on what this one was thought to.
            self._is_stale = self._is_stale or mine.at != "ready"
            mine.at, mine.standing = "ended", standing or mine.standing
            self._forget_worth()
            self._to_confirm.pop(host_class, None)
            self._to_check.pop(host_class, None)
            self._changed.notify_all()

    def next_task(self, host_class: str, standing: Standing, *, late: bool) -> float | ToCheck | Literal["wait"] | None:
        """Return the rate to confirm ``host_class`` at, the hosts of it to check, "wait" as long as that depends on
        other classes, or None where all is done. One that is ``late`` does not wait for classes that still test."""
        with self._changed:
            mine = self._classes[host_class]
            if mine.standing != standing:
                mine.standing, self._is_stale = standing, True
            mine.at = "ready"
            self._changed.notify_all()
            if late or all(state.at in ("ready", "ended") for state in self._classes.values()):
                self._plan_anew()
            task = self._taken(host_class)
            if task is not None:
                mine.at = "confirming"
                return task
            busy = self._to_confirm or self._to_check or self._is_stale
            return (
                "wait" if busy or not all(state.at in ("ready", "ended") for state in self._classes.values()) else None
            )

    def again(self, host_class: str, rate_per_s: float) -> None:
        """Have ``host_class`` confirmed at ``rate_per_s`` once more, as the machine got in the way."""
        with self._changed:
            self._to_confirm[host_class] = rate_per_s

    def leave_out(self, host_class: str, hosts: Sequence[str]) -> None:
        """Take ``hosts`` out of their class, which they are not like; its others stay."""
        with self._changed:
            mine = self._classes[host_class]
            mine.hosts = tuple(host for host in mine.hosts if host not in hosts)
            self._is_stale = self._is_stale or bool(hosts)

    def saving(self) -> float | None:
        """Return the part of its cost that the plan may still save, given what the classes may carry; None where the
        confirmed rates do not carry the rate."""
        with self._changed:
            costs = self._plan_costs()
            confirmed = self._cheapest(costs, {name: state.confirmed_per_s for name, state in self._classes.items()})
            most = {
                name: max(state.expected.high_per_s, state.confirmed_per_s) for name, state in self._classes.items()
            }
            return max(0.0, 1 - self._cheapest(costs, most).cost / confirmed.cost) if confirmed.carries else None

    def _forget_worth(self) -> None:
        # Planning many classes takes a while, and one of them does not change much.
        if self._worth is not None and (
            len(self._classes) <= _MANY_CLASSES or time.monotonic() - self._worth[0] > _SOON_S
        ):
            self._worth = None

    def _taken(self, host_class: str) -> float | ToCheck | None:
        rate_per_s = self._to_confirm.pop(host_class, None)
        if rate_per_s is not None:
            return rate_per_s
        # What is refuted by a confirmation is not checked.
        return None if self._to_confirm else self._to_check.pop(host_class, None)

    def _verdict(self, host_class: str, *, patient: bool) -> bool | None:
        if self.wanted.every_class:
            return True
        if patient and any(state.at == "timing" for state in self._classes.values()):
            return None
        if self._worth is None:
            self._worth = time.monotonic(), self._worth_testing()
        worth = self._worth[1]
        if host_class in worth:
            return True
        waiting = {name for name, state in self._classes.items() if state.at == "waiting"}
        testing = any(state.at in ("timing", "testing") for state in self._classes.values())
        return None if testing or worth & waiting else False

    def _worth_testing(self) -> set[str]:
        """Return the classes of which a test may change the plan: those whose least and most make plans of different
        costs, by themselves; where none does, but all together do, the one that comes nearest to that."""
        costs = self._plan_costs()
        expected = {name: state.expected for name, state in self._classes.items()}
        likely = {name: state.likely_per_s for name, state in self._classes.items()}
        lows = {name: likely[name] if self._is_over(name) else rates.low_per_s for name, rates in expected.items()}
        highs = {name: likely[name] if self._is_over(name) else rates.high_per_s for name, rates in expected.items()}
        dearest, cheapest, usual = (self._cheapest(costs, rates) for rates in (lows, highs, likely))
        # A class that is in none of the plans changes none.
        planned = {
            name for nth, name in enumerate(self._classes) if any(mix.hosts[nth] for mix in (dearest, cheapest, usual))
        }
        open_classes = [name for name in self._classes if name in planned and not self._is_over(name)]
        unmeasured = {name for name in open_classes if not expected[name].measured}
        if dearest.cost <= (1 + SAME_COST) * cheapest.cost:
            return unmeasured
        if len(open_classes) > _MANY_CLASSES:
            wide = {name: (highs[name] - lows[name]) * len(self._classes[name].hosts) for name in open_classes}
            open_classes = sorted(open_classes, key=lambda name: -wide[name])[:_MANY_CLASSES]
        spreads = {
            name: self._cheapest(costs, likely | {name: lows[name]}).cost
            - self._cheapest(costs, likely | {name: highs[name]}).cost
            for name in open_classes
        }
        worth = {name for name, spread in spreads.items() if spread > SAME_COST * usual.cost}
        if not worth | unmeasured:
            together = {
                name: dearest.cost - self._cheapest(costs, lows | {name: highs[name]}).cost for name in open_classes
            }
            nearest = max(together, key=lambda name: together[name], default=None)
            worth = {nearest} if nearest is not None and together[nearest] > 0 else set()
        return worth | unmeasured

    def _is_over(self, host_class: str) -> bool:
        return self._classes[host_class].at in ("tested", "ready", "confirming", "ended")

    def _plan_costs(self) -> PlanCosts:
        return PlanCosts(
            available=tuple(len(state.hosts) for state in self._classes.values()),
            costs=tuple(state.cost for state in self._classes.values()),
            rate_per_s=self.rate_per_s,
            spare=self.wanted.spare,
            most_hosts=self.wanted.most_hosts,
        )

    def _cheapest(self, costs: PlanCosts, rates_per_s: Mapping[str, float]) -> Mix:
        return costs.cheapest([rates_per_s[name] for name in self._classes])

    def _plan_anew(self) -> None:
        """Plan by what is likely now, and say what is to be confirmed for that, or checked where all of it is."""
        if self._is_stale and self._plans < MAX_PLANS:
            self._plans += 1
            self._to_confirm, self._to_check = {}, {}
            rates, hosts = self._planned()
            for name, rate_per_s in rates.items():
                mine = self._classes[name]
                if mine.at == "ended" or rate_per_s < MIN_RATE_PER_S:
                    continue
                if mine.confirmed_per_s < rate_per_s * (1 - _SAME_RATE):
                    self._to_confirm[name] = rate_per_s
                elif not mine.checked and (unchecked := self._hosts_to_check(mine, hosts[name])):
                    mine.checked = True
                    self._to_check[name] = ToCheck(hosts=unchecked, rate_per_s=rate_per_s)
            if self._to_confirm:
                for name in self._to_check:
                    self._classes[name].checked = False
                self._to_check = {}
        self._is_stale = False

    def _planned(self) -> tuple[Mapping[str, float], Mapping[str, int]]:
        """Return the rate that a host of each class is to carry at most, and how many of them; where all do not carry
        the rate, what each is likely to. What was confirmed is planned with, unless what is likely costs less."""
        likely = {name: state.likely_per_s for name, state in self._classes.items()}
        by_likely = None if self.wanted.every_class else self._plan(likely)
        confirmed = {name: state.confirmed_per_s or likely[name] for name, state in self._classes.items()}
        plan = by_likely if confirmed == likely or self.wanted.every_class else self._plan(confirmed)
        if plan is None or (by_likely is not None and plan.fleet.cost > (1 + SAME_COST) * by_likely.fleet.cost):
            plan = by_likely
        if plan is None:
            return confirmed, {name: len(state.hosts) for name, state in self._classes.items()}
        return planned_rates(plan), {row.offer.host_class: row.hosts for row in plan.fleet.rows}

    def _plan(self, rates_per_s: Mapping[str, float]) -> FleetPlan | None:
        """Return the plan if a host of each class carries so much, None where they do not carry the rate."""
        offers = [
            HostOffer(
                host_class=name,
                hosts=len(state.hosts),
                rate_per_s=rates_per_s[name],
                cost_idle=state.cost,
                configuration="",
            )
            for name, state in self._classes.items()
            if state.hosts and rates_per_s[name] >= MIN_RATE_PER_S
        ]
        spare, most_hosts = self.wanted.spare, self.wanted.most_hosts
        if sum(offer.hosts for offer in offers) <= spare:
            return None
        # In a context of its own: the time limit of one class is no limit of a plan for all.
        plan = Context().run(plan_fleet, offers, rate_per_s=self.rate_per_s, spare=spare, most_hosts=most_hosts)
        return plan if isinstance(plan, FleetPlan) else None

    def _hosts_to_check(self, mine: _Class, chosen: int) -> tuple[str, ...]:
        return spot_checked(mine.hosts[:chosen], representative=mine.hosts[0], seed=self.seed)
