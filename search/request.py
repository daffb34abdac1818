"""What a job is asked to do, validated once, here, whether it comes from the command line or from Python."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from servefit.errors import SpecError
from servefit.search.sla import Sla

if TYPE_CHECKING:
    from servefit.profiler.traffic import ClosedLoop

Goal: TypeAlias = Literal["cost", "latency", "throughput", "balanced"]
GOALS: tuple[Goal, ...] = get_args(Goal)

DEFAULT_BUDGET_S = 50.0
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
        if len(set(self.values)) < len(self.values):
            raise SpecError("env", ",".join(self.values), f"names a value of {self.variable} twice")
        if self.counts:
            for value in self.values:
                if not (value.isdecimal() and int(value) >= 1):
                    raise SpecError("env", f"{self.variable}={value}", "is not a whole number above zero")

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

    ``budget_s`` bounds the whole job, None meaning that only ``max_tests`` does. With ``allow_noise`` a measurement
    that the machine got in the way of is judged all the same, and the job says so.
    """

    name: str
    sla: Sla = Sla()
    profiles: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    environment: tuple[EnvironmentRange, ...] = ()
    phases: ClosedLoop | None = None
    goal: Goal = "cost"
    budget_s: float | None = None
    max_tests: int | None = None
    rows_per_request: int = 1
    seed: int = 0
    allow_noise: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", self.name):
            raise SpecError("name", self.name, "is not a name of letters, digits, dots and dashes (63 at most)")
        if self.max_tests is not None and self.max_tests < 1:
            raise SpecError("max_tests", self.max_tests, "is not above zero")
        if self.budget_s is not None and not self.budget_s > 0:
            raise SpecError("budget", self.budget_s, "is not above zero")
        if self.rows_per_request < 1:
            raise SpecError("rows_per_request", self.rows_per_request, "is not above zero")
        for field, names in (("profile", self.profiles), ("backend", self.backends)):
            if repeated := [name for name in names if names.count(name) > 1]:
                raise SpecError(field, repeated[0], "is named twice")
        for first, second in itertools.combinations(self.environment, 2):
            apart = first.profiles and second.profiles and not set(first.profiles) & set(second.profiles)
            if first.variable == second.variable and not apart:
                raise SpecError("env", first.variable, "is given twice", remedy="give all its values at once")
        if self.phases is not None and self.sla.rate_per_s is not None:
            raise SpecError(
                "rate",
                self.sla.rate_per_s,
                "is an open loop and cannot be asked together with phases of users",
                remedy="give one of the two",
            )

    @property
    def job_type(self) -> Literal["Default", "Advanced"]:
        """Advanced as soon as traffic, thresholds, ranges or limits are given, as in SageMaker IR."""
        asked = (self.phases, self.environment, self.max_tests, self.budget_s)
        return "Default" if self.sla.asks_nothing and not any(asked) else "Advanced"

    @property
    def time_limit_s(self) -> float | None:
        """How long the job may take, or None where its tests are counted instead."""
        if self.budget_s is None and self.phases is None:
            return DEFAULT_BUDGET_S
        return self.budget_s

    @property
    def test_limit(self) -> int | None:
        if self.max_tests is None and self.phases is not None and self.budget_s is None:
            return DEFAULT_TESTS_WITH_PHASES
        return self.max_tests


def parse_goal(text: str) -> Goal:
    """Raises SpecError."""
    for goal in GOALS:
        if goal == text:
            return goal
    raise SpecError.unknown("goal", text, GOALS)
