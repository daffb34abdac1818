"""Traffic: when requests arrive. It is data; the drivers carry it out.

In a closed loop each user sends a request, waits for its answer, and sends the next one at once. In an open loop
requests arrive on a schedule that does not care how the server is doing.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.profiler.arrivals.contract import MAX_ARRIVALS, STEADY
from servefit.showing import shown
from servefit.stored import StoredMember

if TYPE_CHECKING:
    import numpy as np

NS_PER_S = 1_000_000_000

MIN_PLATEAU_S = 0.01
"""Figures are shares of the plateau, and a shorter one holds nothing to take them from."""

MAX_DURATION_S = 86_400.0
"""A run longer than a day is a typing error."""

FAILED_NS = round(MAX_DURATION_S * NS_PER_S)
"""Counts as the response time of a request that failed."""

MIN_STEP_S = 1.0
"""Shorter times between two users who join are part of a ramp."""

_ROUNDING_S = 1e-6
"""Sums of times such as 0.1 s are off by less."""

MAX_USERS = 100_000
"""As many fit in memory; nothing that is measured on one host comes near it."""


@shown()
class TrafficPhase(StoredMember, frozen=True, kw_only=True, tag="Phase"):
    """``initial_users`` users at once, then ``spawn_per_minute`` more a minute, for ``duration_s`` seconds."""

    initial_users: int
    spawn_per_minute: float
    duration_s: float

    def __post_init__(self) -> None:
        check_whole("users", self.initial_users, least=0)
        check_at_least("spawn", self.spawn_per_minute, 0)
        check_above_zero("duration", self.duration_s)
        if self.initial_users + self.spawn_per_minute * self.duration_s / 60 > MAX_USERS:
            raise SpecError("users", self.initial_users, f"makes more than {MAX_USERS} users")


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """``users`` users from ``begin_s`` to ``end_s``, seconds from the start of the run."""

    users: int
    begin_s: float
    end_s: float

    @property
    def is_step(self) -> bool:
        """True where it lasts for ``MIN_STEP_S`` or more."""
        return self.end_s - self.begin_s >= MIN_STEP_S - _ROUNDING_S


@shown()
class ClosedLoop(StoredMember, frozen=True, kw_only=True):
    """Phases one after the other; users stay until the end.

    Figures come from plateaus, the times in which the number of users stays the same; those of the whole run from the
    last one.

    Example:
        ::

            traffic = sf.ClosedLoop.constant(users=2, duration_s=1)
            print(sf.profile("model.ubj", traffic=traffic).summary.throughput_per_s)
    """

    phases: tuple[TrafficPhase, ...]

    @classmethod
    def constant(cls, *, users: int, duration_s: float) -> ClosedLoop:
        return cls(phases=(TrafficPhase(initial_users=users, spawn_per_minute=0, duration_s=duration_s),))

    @classmethod
    def stairs(cls, *, steps: int, users_per_step: int, step_duration_s: float) -> ClosedLoop:
        """Make a loop of ``users_per_step`` more users at the beginning of each step, as in SageMaker IR's stairs."""
        check_whole("steps", steps, least=1)
        check_whole("users", users_per_step, least=1)
        if steps * users_per_step > MAX_USERS:
            raise SpecError("users", users_per_step, f"makes more than {MAX_USERS} users")
        step = TrafficPhase(initial_users=users_per_step, spawn_per_minute=0, duration_s=step_duration_s)
        return cls(phases=(step,) * steps)

    def __post_init__(self) -> None:
        check_types(self)
        if self.duration_s > MAX_DURATION_S:
            raise SpecError("duration", self.duration_s, "is above a day")
        joins_s = self.joins_s()
        if not joins_s:
            raise SpecError("users", 0, "is not above zero")
        if self.duration_s - joins_s[-1] < MIN_PLATEAU_S:
            raise SpecError(
                "duration",
                self.duration_s,
                f"leaves less than {MIN_PLATEAU_S:g} s after the last user has joined",
                remedy="lengthen the last phase, or add one that spawns nobody",
            )

    def joins_s(self) -> tuple[float, ...]:
        """Return when each user joins, in seconds from the start, in order. Phase by phase, as SageMaker IR spawns
        them: a phase's initial users at its beginning, the others at even intervals within it."""
        joins: list[float] = []
        begin = 0.0
        for phase in self.phases:
            joins.extend([begin] * phase.initial_users)
            spawned = int(phase.spawn_per_minute * phase.duration_s / 60)
            joins.extend(begin + (nth + 1) * 60 / phase.spawn_per_minute for nth in range(spawned))
            begin += phase.duration_s
        return tuple(join for join in joins if join < begin)

    def plateaus(self, *, until_s: float | None = None) -> tuple[Plateau, ...]:
        """Return the times in which the number of users stays the same for ``MIN_STEP_S`` or more, in order. The last
        one is always included, unless the loop was stopped, ``until_s`` seconds after its start."""
        joins = self.joins_s()
        end_s = self.duration_s if until_s is None else min(until_s, self.duration_s)
        edges = sorted({*(join for join in joins if join < end_s), end_s})
        plateaus = [
            Plateau(users=bisect_right(joins, begin), begin_s=begin, end_s=end) for begin, end in pairwise(edges)
        ]
        return tuple(
            plateau for plateau in plateaus if plateau.is_step or (until_s is None and plateau is plateaus[-1])
        )

    @property
    def users(self) -> int:
        return len(self.joins_s())

    @property
    def duration_s(self) -> float:
        return sum(phase.duration_s for phase in self.phases)


@shown()
class OpenLoop(StoredMember, frozen=True, kw_only=True):
    """``rate_per_s`` arrivals a second on average, drawn from ``seed`` in the shape that ``arrivals`` spells, such as
    "poisson", "constant" or "sine:amplitude=0.5,period=4s".

    What spells no shape, or one that is not here, is found out when arrivals are drawn: what was recorded can be read
    where the package of its shape is gone, or the file of a trace.

    When more than ``backlog_cap`` requests wait, the run is over and saturated; None leaves that to the driver.
    """

    rate_per_s: float
    duration_s: float
    arrivals: str = "poisson"
    seed: int = 0
    backlog_cap: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.arrivals, str) or not self.arrivals:
            raise SpecError("arrivals", self.arrivals, "is no text such as poisson or sine:period=2s")
        check_above_zero("rate", self.rate_per_s)
        check_above_zero("duration", self.duration_s)
        if not MIN_PLATEAU_S <= self.duration_s <= MAX_DURATION_S:
            raise SpecError("duration", self.duration_s, f"is not between {MIN_PLATEAU_S:g} s and a day")
        if self.backlog_cap is not None:
            check_whole("backlog", self.backlog_cap, least=1)
        if self.rate_per_s * self.duration_s > MAX_ARRIVALS:
            too_many = f"makes more than {MAX_ARRIVALS:,} arrivals in {self.duration_s:g} s"
            raise SpecError("rate", self.rate_per_s, too_many, remedy="ask for less, or for a shorter time")

    @property
    def is_steady(self) -> bool:
        """True where the rate is the same at all times."""
        return self.arrivals in STEADY

    def arrivals_ns(self) -> np.ndarray:
        """Return arrival times within the duration, int64 nanoseconds from the start, ascending. Raises SpecError for a
        shape that is not known, or cannot be drawn."""
        from servefit.profiler.arrivals.registry import arrivals_named
        from servefit.profiler.arrivals.schedule import draw_arrivals_ns

        shape = arrivals_named(self.arrivals)
        return draw_arrivals_ns(shape, rate_per_s=self.rate_per_s, duration_s=self.duration_s, seed=self.seed)


Traffic: TypeAlias = ClosedLoop | OpenLoop
