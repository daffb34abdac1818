"""The request for a load on an endpoint, validated once, here, whether it is typed or comes from Python."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.field_types import check_types
from servefit.profiler.arrivals.registry import arrivals_named
from servefit.profiler.defaults import DURATION_S, SATURATION_S, SEARCH_S, TIMEOUT_S
from servefit.profiler.evidence.sequential_test import GROWTH_SEEN
from servefit.profiler.evidence.stopping import StoppingConditions
from servefit.profiler.procedures.decided_runs import MIN_SEARCH_S
from servefit.profiler.procedures.load_clients import check_numbers
from servefit.profiler.procedures.open_loops import open_loop
from servefit.profiler.procedures.saturation import check_budget
from servefit.profiler.procedures.traffic_rules import limits_without_rate, rate_where_none_is_asked
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.quantities import given_duration_text
from servefit.search.request.job_request import USUAL, FlatInvocations
from servefit.search.request.sla import Sla
from servefit.showing import shown

CONFIRMING_S = 10.0
"""Seconds that limits at a rate are decided for, at most, where that follows on a search: most are decided before.
Chosen, not measured."""

_TIMES_THE_LIMIT = 1.25 * GROWTH_SEEN
"""Limits may be decided for so many times the largest of them, at least: a PASS may take GROWTH_SEEN of them where a
server is never idle. The quarter more is chosen, not measured."""

_SEARCH_SHARE = 0.6
"""Part of the duration that the search for the most requests takes before a load at a rate, which gets the rest.
Chosen, not measured."""

_MAX_DECIDING_S = 120.0
"""Seconds that _TIMES_THE_LIMIT may ask for: limits above 4.8 s are decided in less. Chosen, not measured."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A validated request.

    ``users`` or ``phases`` make a closed loop, the rate of ``sla`` an open one. With limits and neither of them it is
    the highest rate at which they hold that is looked for, and with nothing at all the most requests that are answered;
    ``finds_most`` asks for that before the load at a rate, too. ``flat_invocations`` "Stop" ends traffic in phases once
    more users are not served more. ``duration_s`` bounds all of it. An open loop uses up to ``connections`` (None: as
    many as are usual). ``arrivals`` spells how requests arrive in open loops; where it has a rate of its own and none
    is asked for, that is the rate of ``sla``.
    """

    sla: Sla = Sla()
    arrivals: str = USUAL.arrivals
    users: int | None = None
    phases: ClosedLoop | None = None
    flat_invocations: FlatInvocations = USUAL.flat_invocations
    finds_most: bool = False
    duration_s: float | None = None
    rows_per_request: int = USUAL.rows_per_request
    connections: int | None = None
    timeout_s: float = TIMEOUT_S
    seed: int = USUAL.seed
    allow_noise: bool = USUAL.allow_noise

    def __post_init__(self) -> None:
        from servefit.backends.payload.reading import check_seed

        check_types(self)
        check_seed(self.seed)
        check_numbers(rows_per_request=self.rows_per_request, connections=self.connections, timeout_s=self.timeout_s)
        for threshold in self.sla.thresholds:
            if threshold.limit_ms >= 1000 * self.timeout_s:
                raise SpecError("timeout", self.timeout_s, f"is over before {threshold} is", remedy="wait for longer")
        if self.users is not None and self.phases is not None:
            raise SpecError("phases", None, "cannot be combined with users", remedy="give one of them")
        if self.users is not None and self.sla.thresholds and self.sla.rate_per_s is None:
            raise limits_without_rate(self.sla.thresholds)
        self._settle_arrivals()
        self._check_durations()

    def _settle_arrivals(self) -> None:
        """Find the shape of arrivals, and its own rate where no rate is asked for."""
        shape = arrivals_named(self.arrivals)
        object.__setattr__(self, "arrivals", str(shape))
        if self.sla.rate_per_s is None:
            rate_per_s = rate_where_none_is_asked(
                shape,
                closed=self.users is not None or self.phases is not None,
                limited=bool(self.sla.thresholds),
                search_s=self.search_s,
            )
            object.__setattr__(self, "sla", replace(self.sla, rate_per_s=rate_per_s))

    def _check_durations(self) -> None:
        """Make everything that is to be carried out: whatever makes no sense raises SpecError."""
        if self.duration_s is not None:
            check_above_zero("duration", self.duration_s)
        if self.phases is not None:
            self.stopping()
            if self.duration_s is not None and self.duration_s < self.phases.duration_s:
                problem = f"is less than the {given_duration_text(self.phases.duration_s)} of the phases"
                raise SpecError("duration", self.duration_s, problem, remedy="give more time, or shorter phases")
        if self.users is not None:
            self.constant_users(self.users)
        elif self.searches:
            check_budget(self.search_s)
        if self.sla.rate_per_s is not None:
            self.open_loop()

    @property
    def searches(self) -> bool:
        """True if more and more users are tried."""
        fixed = self.users is not None or self.phases is not None
        return not fixed and (self.finds_most or self.sla.rate_per_s is None)

    @property
    def search_s(self) -> float:
        """The seconds of a search: for the most requests, or for the highest rate within limits."""
        if self.sla.rate_per_s is not None:
            return SATURATION_S if self.duration_s is None else min(SATURATION_S, _SEARCH_SHARE * self.duration_s)
        if self.duration_s is not None:
            return self.duration_s
        return SEARCH_S if self.sla.thresholds else SATURATION_S

    @property
    def max_duration_s(self) -> float:
        """The seconds that all of the load takes at most, unless a run is made again."""
        before_s = 0.0
        if self.users is not None:
            before_s = self.constant_users(self.users).duration_s
        elif self.phases is not None:
            before_s = self.phases.duration_s
        elif self.searches:
            before_s = self.search_s
        return before_s + (0.0 if self.sla.rate_per_s is None else self.open_loop().duration_s)

    @property
    def may_end_early(self) -> bool:
        """True if it may take less: where something is decided or looked for."""
        return self.searches or self.phases is not None or bool(self.sla.thresholds)

    def stopping(self) -> StoppingConditions:
        """Return the conditions that end traffic in phases before its time."""
        return StoppingConditions(
            flat=self.flat_invocations == "Stop", most_per_s=self.sla.rate_per_s, thresholds=self.sla.thresholds
        )

    def constant_users(self, users: int) -> ClosedLoop:
        return ClosedLoop.constant(users=users, duration_s=DURATION_S if self.duration_s is None else self.duration_s)

    def open_loop(self) -> OpenLoop:
        """Return the load at the rate that is asked for, for what is left of the duration."""
        before_s = self.search_s if self.searches else 0.0 if self.phases is None else self.phases.duration_s
        if self.duration_s is None:
            limit_s = max((threshold.limit_ms for threshold in self.sla.thresholds), default=0.0) / 1000
            usual_s = CONFIRMING_S if before_s and limit_s else DURATION_S
            duration_s = max(usual_s, min(_TIMES_THE_LIMIT * limit_s, _MAX_DECIDING_S))
        else:
            duration_s = max(MIN_SEARCH_S, self.duration_s - before_s) if before_s else self.duration_s
        return open_loop(
            self.arrivals,
            rate_per_s=self.sla.rate_per_s or 0.0,
            duration_s=duration_s,
            usual=self.duration_s is None,
            seed=self.seed,
        )
