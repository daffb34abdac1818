"""What a job is asked to do, validated once, here, whether it comes from the command line or from Python."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from servefit.errors import SpecError
from servefit.profiler.stopping import StoppingConditions
from servefit.profiler.traffic import ClosedLoop
from servefit.search.sla import Sla, parse_duration_s

Goal: TypeAlias = Literal["cost", "latency", "throughput", "balanced"]
GOALS: tuple[Goal, ...] = get_args(Goal)

FlatInvocations: TypeAlias = Literal["Stop", "Continue"]
"""Whether traffic of users in phases ends once more of them are not answered more often [SageMaker IR]."""

DEFAULT_BUDGET_S = 42.0
"""Seconds of a job that gives neither a budget nor its own phases: an answer within a minute."""

DEFAULT_TESTS_WITH_PHASES = 10
"""Tests of a job whose phases fix how long each takes, as in SageMaker IR."""

THREADS_VARIABLE = "OMP_NUM_THREADS"
WORKERS_VARIABLE = "MODEL_SERVER_WORKERS"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentRange:
    """Values to try of one environment variable, on the profiles named (none named: on all)."""

    variable: str
    values: tuple[str, ...]
    profiles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.variable):
            raise SpecError("env", self.variable, "is not the name of an environment variable")
        if not self.values or "" in self.values:
            raise SpecError("env", self.variable, "has no values to try")
        if self.counts:
            for value in self.values:
                if not (value.isdecimal() and int(value) >= 1):
                    raise SpecError("env", f"{self.variable}={value}", "is not a whole number above zero")
        if len({int(value) if self.counts else value for value in self.values}) < len(self.values):
            raise SpecError("env", ",".join(self.values), f"names a value of {self.variable} twice")

    @property
    def counts(self) -> bool:
        """Whether the variable is one of servefit's own two, which count workers or threads."""
        return self.variable in (THREADS_VARIABLE, WORKERS_VARIABLE)

    @classmethod
    def parse(cls, text: str) -> EnvironmentRange:
        """Parse "OMP_NUM_THREADS=1,2". Raises SpecError."""
        variable, equals, values = text.partition("=")
        if not equals:
            raise SpecError("env", text, "does not look like OMP_NUM_THREADS=1,2")
        return cls(variable=plain_name(variable.strip()), values=tuple(v.strip() for v in values.split(",")))


def plain_name(variable: str) -> str:
    """SageMaker's containers read SAGEMAKER_MODEL_SERVER_WORKERS and the like; the plain name means the same."""
    plain = variable.removeprefix("SAGEMAKER_")
    return plain if plain in (THREADS_VARIABLE, WORKERS_VARIABLE) else variable


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A validated request. ``profiles`` and ``backends`` empty mean all that can be measured here.

    ``budget_s`` bounds the whole job and ``max_tests`` its load tests; what None means is in ``time_limit_s`` and
    ``test_limit``. Empty ``batch_sizes`` (most requests joined in a call) and ``batch_delays_us`` leave both to
    servefit. ``cost_weight`` is what cost counts against latency where the goal is "balanced", 0 to 1.
    ``max_parallel_tests`` run at once where they fit on CPUs of their own. With ``allow_noise`` a measurement that the
    machine got in the way of is judged all the same, and the job says so. ``over_http`` has the winner measured as an
    endpoint too, which is none of the ``max_tests``, where a CPU is left for a client.
    """

    name: str
    sla: Sla = Sla()
    profiles: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    environment: tuple[EnvironmentRange, ...] = ()
    batch_sizes: tuple[int, ...] = ()
    batch_delays_us: tuple[int, ...] = ()
    phases: ClosedLoop | None = None
    flat_invocations: FlatInvocations = "Stop"
    goal: Goal = "cost"
    cost_weight: float = 0.5
    budget_s: float | None = None
    max_tests: int | None = None
    max_parallel_tests: int = 1
    rows_per_request: int = 1
    seed: int = 0
    allow_noise: bool = False
    over_http: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", self.name):
            raise SpecError("name", self.name, "is not a name of letters, digits, dots and dashes (63 at most)")
        self._check_numbers()
        self._check_lists()
        self._check_traffic()

    def _check_numbers(self) -> None:
        for field, value in (
            ("max_tests", self.max_tests),
            ("max_parallel_tests", self.max_parallel_tests),
            ("budget", self.budget_s),
            ("rows_per_request", self.rows_per_request),
            *(("batch", size) for size in self.batch_sizes),
        ):
            if value is not None and not value > 0:
                raise SpecError(field, value, "is not above zero")
        if not 0 <= self.cost_weight <= 1:
            raise SpecError("cost_weight", self.cost_weight, "is not between 0 and 1")
        for delay_us in self.batch_delays_us:
            if delay_us < 0:
                raise SpecError("batch_delay", delay_us, "is below zero")
        if self.max_tests is not None and self.max_parallel_tests > self.max_tests:
            raise SpecError(
                "max_parallel_tests", self.max_parallel_tests, f"is more than the {self.max_tests} tests in all"
            )

    def _check_lists(self) -> None:
        lists: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("profile", self.profiles),
            ("backend", self.backends),
            ("batch", self.batch_sizes),
            ("batch_delay", self.batch_delays_us),
        )
        for field, values in lists:
            if repeated := [value for value in values if values.count(value) > 1]:
                raise SpecError(field, repeated[0], "is named twice")
        if self.batch_sizes and max(self.batch_sizes) == 1 and any(self.batch_delays_us):
            raise SpecError("batch_delay", max(self.batch_delays_us), "delays batches, and there are none")
        for first, second in itertools.combinations(self.environment, 2):
            apart = first.profiles and second.profiles and not set(first.profiles) & set(second.profiles)
            if first.variable == second.variable and not apart:
                raise SpecError("env", first.variable, "is given twice", remedy="give all its values at once")

    def _check_traffic(self) -> None:
        if self.phases is None:
            return
        StoppingConditions(thresholds=self.sla.thresholds)  # raises for what traffic in phases is not held against
        if self.budget_s is not None and self.budget_s < self.phases.duration_s:
            raise SpecError(
                "budget",
                self.budget_s,
                f"is less than the {self.phases.duration_s:g} s that one test of these phases takes",
                remedy="give more time, or shorter phases",
            )

    @property
    def job_type(self) -> Literal["Default", "Advanced"]:
        """Advanced as soon as traffic, thresholds, ranges or limits are given, as in SageMaker IR."""
        limits = (self.max_tests, self.budget_s, self.max_parallel_tests > 1)
        asked = (self.phases, self.environment, self.batch_sizes, self.batch_delays_us, *limits)
        return "Default" if self.sla.asks_nothing and not any(asked) else "Advanced"

    @property
    def time_limit_s(self) -> float | None:
        """How long the job may take; where nobody says, DEFAULT_BUDGET_S, or None for a job with phases."""
        if self.budget_s is None and self.phases is None:
            return DEFAULT_BUDGET_S
        return self.budget_s

    @property
    def test_limit(self) -> int | None:
        """How many load tests the job may make; where nobody says, None, or for a job with phases and without a budget
        DEFAULT_TESTS_WITH_PHASES."""
        if self.max_tests is None and self.phases is not None and self.budget_s is None:
            return DEFAULT_TESTS_WITH_PHASES
        return self.max_tests


def parse_goal(text: str) -> Goal:
    """Raises SpecError."""
    for goal in GOALS:
        if goal == text:
            return goal
    raise SpecError.unknown("goal", text, GOALS)


def parse_flat_invocations(text: str) -> FlatInvocations:
    """Raises SpecError."""
    for one in get_args(FlatInvocations):
        if one.lower() == text.lower():
            known: FlatInvocations = one
            return known
    raise SpecError.unknown("flat_invocations", text, ["stop", "continue"])


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """Parse "1,8,32". Raises SpecError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SpecError("batch", text, "does not look like 1,8,32")
    return tuple(map(int, parts))


def parse_delays_us(text: str) -> tuple[int, ...]:
    """Parse "0,1ms" into microseconds. Raises SpecError."""
    return tuple(
        0 if part.strip() == "0" else round(1e6 * parse_duration_s("batch_delay", part)) for part in text.split(",")
    )
