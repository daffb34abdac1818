"""The request for a job, validated once, here, whether it comes from the command line or from Python."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import msgspec

from servefit.backends.quality.limits import PrecisionLimits
from servefit.backends.variables.secret import Secret, hidden, is_hidden, is_secret, unknown
from servefit.checks import check_above_zero, check_at_least, check_whole
from servefit.errors import SpecError
from servefit.field_types import check_type, check_types
from servefit.profiler.defaults import ARRIVALS, ROWS_PER_REQUEST, SEED
from servefit.profiler.evidence.stopping import StoppingConditions
from servefit.profiler.machine.instance_profile import CLOUDS, Cloud
from servefit.profiler.record.traffic import ClosedLoop
from servefit.quantities import given_duration_text, parse_delay_us
from servefit.search.request.defaults import BUDGET_S, TESTS_WITH_PHASES
from servefit.search.request.goals import OBJECTIVES
from servefit.search.request.sla import Sla
from servefit.showing import shown
from servefit.stored import Stored

Goal: TypeAlias = str
"""The name of an objective, as in ``goals``: that of another package may be gone when a job is read again."""

GOALS: tuple[Goal, ...] = tuple(OBJECTIVES.built_in)

FlatInvocations: TypeAlias = Literal["Stop", "Continue"]
"""The end of traffic of users in phases: once more of them are not answered more often ("Stop"), or with the last phase
[SageMaker IR]."""

Deployed: TypeAlias = Literal["endpoint", "library"]
"""The form of a deployment: the endpoint of ``servefit serve``, which is asked over HTTP, or the model as a library,
which an application calls in its own processes."""

SpelledFlatInvocations: TypeAlias = Literal["stop", "continue"]
"""The same, as people spell it."""

THREADS_VARIABLE = "OMP_NUM_THREADS"
WORKERS_VARIABLE = "MODEL_SERVER_WORKERS"


@shown()
class EnvironmentRange(Stored, frozen=True, kw_only=True):
    """Values to try of one environment variable, on the profiles named (none named: on all). Those of a variable that
    looks like a secret are hidden.

    Example:
        ::

            threads = sf.EnvironmentRange(variable="OMP_NUM_THREADS", values=("1", "2"))
            print(sf.JobRequest(name="threads", environment=(threads,)))
    """

    variable: str
    values: tuple[str, ...]
    profiles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, hidden=("values",))
        check_variable("env", self.variable)
        if not self.values or "" in self.values:
            raise SpecError("env", self.variable, "has no values to try")
        if self.counts:
            for value in self.values:
                if not (value.isascii() and value.isdecimal() and int(value) >= 1):
                    raise SpecError("env", f"{self.variable}={value}", "is not a whole number above zero")
        if len({int(value) if self.counts else value for value in self.values}) < len(self.values):
            raise SpecError("env", self.variable, "is given a value twice")
        if not self.holds_secrets and any(is_secret(self.variable, value) for value in self.values):
            msgspec.structs.force_setattr(self, "values", hidden(self.values))

    @property
    def holds_secrets(self) -> bool:
        """True if its values are hidden."""
        return all(map(is_hidden, self.values))

    @property
    def counts(self) -> bool:
        """True if the variable is one of servefit's own two, which count workers or threads."""
        return self.variable in (THREADS_VARIABLE, WORKERS_VARIABLE)

    @classmethod
    def parse(cls, text: str) -> EnvironmentRange:
        """Parse "OMP_NUM_THREADS=1,2". Raises SpecError."""
        variable, values = split_range(text)
        return cls(variable=plain_name(variable), values=values)


def split_range(text: str) -> tuple[str, tuple[str, ...]]:
    """Split "OMP_NUM_THREADS=1,2" into the variable and its values. Raises SpecError."""
    variable, equals, values = text.partition("=")
    if not equals:
        raise SpecError("env", shown_variable(text), "does not look like OMP_NUM_THREADS=1,2")
    return variable.strip(), tuple(value.strip() for value in values.split(","))


def check_variable(field: str, variable: str) -> None:
    """Raise SpecError for ``field`` if ``variable`` cannot be the name of an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise SpecError(field, variable, "is not the name of an environment variable")


def check_name(field: str, name: str) -> None:
    """Raise SpecError for ``field`` if ``name`` cannot be the name of a job."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise SpecError(field, name, "is not a name of letters, digits, dots and dashes (63 at most)")


def plain_name(variable: str) -> str:
    """Return the plain name of ``variable``, which means the same: SageMaker's containers read
    SAGEMAKER_MODEL_SERVER_WORKERS and the like."""
    plain = variable.removeprefix("SAGEMAKER_")
    return plain if plain in (THREADS_VARIABLE, WORKERS_VARIABLE) else variable


def shown_variable(text: str) -> str:
    """Return a variable as somebody wrote it, as far as it may be shown: without its value where that looks like a
    secret."""
    name = re.split(r"\W", text, maxsplit=1)[0]
    begin, value = text[: len(name) + 1], text[len(name) + 1 :]
    return f"{begin}***" if value and is_secret(name, value) else text


def with_secrets(ranges: Collection[EnvironmentRange], names: Collection[str]) -> tuple[EnvironmentRange, ...]:
    """Return ``ranges`` with the values of those variables hidden that are among ``names``, whose values are those that
    this process has where none are given. Raises SpecError for one that has none."""
    variables = {varied.variable for varied in ranges}
    missing = [name for name in dict.fromkeys(names) if name not in variables]
    return (
        *(replace(varied, values=hidden(varied.values)) if varied.variable in names else varied for varied in ranges),
        *(EnvironmentRange(variable=name, values=hidden([own_value(name)])) for name in missing),
    )


def check_known(ranges: Iterable[EnvironmentRange]) -> None:
    """Raise SpecError for a secret among ``ranges`` whose value is not known here."""
    for varied in ranges:
        if varied.holds_secrets and not all(isinstance(value, Secret) for value in varied.values):
            raise unknown(varied.variable)


def own_value(variable: str) -> str:
    """Return the value that a secret variable has in this process. Raises SpecError where it has none."""
    if value := os.environ.get(variable):
        return value
    raise SpecError(
        "secret_env", variable, "has no value", remedy="set the variable where servefit runs, or give its value in env"
    )


def _numbered_together(ranges: tuple[EnvironmentRange, ...]) -> tuple[EnvironmentRange, ...]:
    """Return ``ranges`` with the secrets of one variable told apart over all the profiles that it is given for."""
    numbered = list(ranges)
    for variable in {varied.variable for varied in ranges if varied.holds_secrets}:
        nths = [nth for nth, varied in enumerate(ranges) if varied.variable == variable]
        together = iter(hidden([value for nth in nths for value in ranges[nth].values]))
        for nth in nths:
            numbered[nth] = replace(ranges[nth], values=tuple(itertools.islice(together, len(ranges[nth].values))))
    return tuple(numbered)


@shown()
class JobRequest(Stored, frozen=True, kw_only=True):
    """A validated request. Empty ``backends`` mean all that run here. ``profiles`` are the instance profiles to
    consider, and ``clouds`` whose shapes besides; both empty mean the profiles of this host.

    ``budget_s`` bounds the whole job and ``max_tests`` its load tests; what None means is in ``time_limit_s`` and
    ``test_limit``. Empty ``batch_sizes`` (most requests joined in a call) and ``batch_delays_us`` leave both to
    servefit. ``goal`` names an objective, and ``cost_weight`` is what cost counts against latency where the goal is
    "balanced", 0 to 1. ``max_parallel_tests`` run at once where they fit on CPUs of their own. Where predictions depend
    on what else is in the call, requests are joined only with ``allow_batch_dependence``. ``precision`` says what is
    allowed of backends that predict less exactly, which do not take part otherwise. With ``allow_noise`` a
    measurement that the machine got in the way of is judged all the same, and the job says so. ``deploy`` is what the
    answer is about; see ``deployment``. Where that is the library, ``over_http`` has the winner measured as an endpoint
    too, which is none of the ``max_tests``, where a CPU is left for a client.
    ``arrivals`` spells how requests arrive at the rate of ``sla``, as in "sine:amplitude=0.5,period=4s". Jobs from
    before configurations were compared at the rate asked have the ``decided_at`` "capacity": they rank as they did.

    Example:
        ::

            limit = sf.LatencyThreshold(percentile="p95", limit_ms=50)
            request = sf.JobRequest(name="mine", sla=sf.Sla(thresholds=(limit,)), backends=("xgboost",), max_tests=1)
            print(sf.recommend("model.ubj", payload="payload.csv", request=request).best)
    """

    name: str
    sla: Sla = Sla()
    profiles: tuple[str, ...] = ()
    clouds: tuple[Cloud, ...] = ()
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
    rows_per_request: int = ROWS_PER_REQUEST
    seed: int = SEED
    allow_noise: bool = False
    allow_batch_dependence: bool = False
    precision: PrecisionLimits = PrecisionLimits()
    deploy: Deployed | None = None
    over_http: bool = True
    arrivals: str = ARRIVALS
    decided_at: Literal["rate", "capacity"] = "rate"

    def __post_init__(self) -> None:
        check_types(self, hidden=("environment",))
        check_name("name", self.name)
        self._check_numbers()
        self._check_lists()
        self._check_traffic()
        self._check_deployment()
        msgspec.structs.force_setattr(self, "environment", _numbered_together(self.environment))

    def _check_numbers(self) -> None:
        if self.max_tests is not None:
            check_whole("max_tests", self.max_tests, least=1)
        check_whole("max_parallel_tests", self.max_parallel_tests, least=1)
        if self.budget_s is not None:
            check_above_zero("budget", self.budget_s)
        check_whole("rows_per_request", self.rows_per_request, least=1)
        for size in self.batch_sizes:
            check_whole("batch", size, least=1)
        check_at_least("cost_weight", self.cost_weight, 0, most=1)
        for delay_us in self.batch_delays_us:
            check_whole("batch_delay", delay_us, least=0)
        if self.max_tests is not None and self.max_parallel_tests > self.max_tests:
            raise SpecError(
                "max_parallel_tests", self.max_parallel_tests, f"is more than the {self.max_tests} tests in all"
            )

    def _check_lists(self) -> None:
        lists: tuple[tuple[str, tuple[object, ...]], ...] = (
            ("profile", self.profiles),
            ("cloud", self.clouds),
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
                f"is less than the {given_duration_text(self.phases.duration_s)} that one test of these phases takes",
                remedy="give more time, or shorter phases",
            )

    def _check_deployment(self) -> None:
        if self.deploy == "endpoint" and not self.over_http:
            raise SpecError(
                "http",
                False,
                "cannot be combined with deploying the endpoint",
                remedy="deploy the library, or leave it out",
            )

    @property
    def deployment(self) -> Deployed:
        """The kind of deployment; by default the endpoint, or the library where nothing may be measured over
        HTTP."""
        if self.deploy is None:
            return "endpoint" if self.over_http else "library"
        return self.deploy

    @property
    def job_type(self) -> Literal["Default", "Advanced"]:
        """Advanced as soon as traffic, thresholds, ranges or limits are given, as in SageMaker IR."""
        limits = (self.max_tests, self.budget_s, self.max_parallel_tests > 1)
        asked = (
            self.phases,
            self.environment,
            self.batch_sizes,
            self.batch_delays_us,
            self.precision.allowed,
            *limits,
        )
        return "Default" if self.sla.asks_nothing and not any(asked) else "Advanced"

    @property
    def time_limit_s(self) -> float | None:
        """The seconds that the job may take; by default BUDGET_S, or None for a job with phases."""
        if self.budget_s is None and self.phases is None:
            return BUDGET_S
        return self.budget_s

    @property
    def test_limit(self) -> int | None:
        """The load tests that the job may make; by default None, or for a job with phases and without a budget
        TESTS_WITH_PHASES."""
        if self.max_tests is None and self.phases is not None and self.budget_s is None:
            return TESTS_WITH_PHASES
        return self.max_tests


USUAL = JobRequest(name="usual")
"""A request whose fields are the defaults of all options of a job."""


def parse_flat_invocations(text: str) -> FlatInvocations:
    """Parse "stop" or "continue", in any case. Raises SpecError."""
    check_type("flat_invocations", text, str)
    for name in get_args(FlatInvocations):
        if name.lower() == text.lower():
            policy: FlatInvocations = name
            return policy
    raise SpecError.unknown("flat_invocations", text, get_args(SpelledFlatInvocations))


def spell_flat_invocations(choice: FlatInvocations) -> SpelledFlatInvocations:
    """Return ``choice`` as people spell it, in job files and on the command line."""
    return "stop" if choice == "Stop" else "continue"


def parse_clouds(texts: Iterable[str]) -> tuple[Cloud, ...]:
    """Parse names of clouds, each text one or several with commas, in any case. Raises SpecError."""
    names = [name.strip().lower() for text in texts for name in text.split(",")]
    clouds: list[Cloud] = []
    for name in names:
        cloud = next((cloud for cloud in CLOUDS if cloud == name), None)
        if cloud is None:
            raise SpecError.unknown("cloud", name, CLOUDS)
        clouds.append(cloud)
    return tuple(clouds)


def parse_batch_sizes(text: str) -> tuple[int, ...]:
    """Parse "1,8,32". Raises SpecError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise SpecError("batch", text, "does not look like 1,8,32")
    return tuple(map(int, parts))


def parse_delays_us(text: str) -> tuple[int, ...]:
    """Parse "0,1ms" into microseconds. Raises SpecError."""
    return tuple(parse_delay_us("batch_delay", part) for part in text.split(","))
