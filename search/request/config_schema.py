"""The keys of a config file: the options of ``servefit recommend``, with values of YAML's own types.

The JSON Schema for editors is made from the same class that files are held against. Files are read and written in
``config_file``; what their values mean is for the parsers of options to say, here as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from servefit.backends.quality.limits import PrecisionLimits
from servefit.errors import SpecError
from servefit.option_panels import MACHINE, OUTPUT, SEARCH, TRAFFIC
from servefit.profiler.arrivals.registry import TYPED
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.instance_profile import CLOUDS
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase
from servefit.quantities import parse_duration_ms, parse_duration_s, parse_rate_per_min, parse_rate_per_s
from servefit.search.request.goals import OBJECTIVES, parse_goal
from servefit.search.request.job_request import (
    GOALS,
    USUAL,
    EnvironmentRange,
    JobRequest,
    SpelledFlatInvocations,
    check_known,
    parse_clouds,
    parse_delays_us,
    parse_flat_invocations,
    plain_name,
    spell_flat_invocations,
    with_secrets,
)
from servefit.search.request.sla import Sla, parse_sla

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_NUMBER = r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?"
_ABOVE_ZERO = r"(?=[0-9.]*[1-9])" + _NUMBER
_UNITS = "(us|µs|ms|s|m|min|h)"
_DELAY = rf"(0|{_ABOVE_ZERO}\s*{_UNITS})"

_Text: TypeAlias = Annotated[str, Meta(min_length=1)]
_InputText: TypeAlias = Annotated[str, Meta(pattern=r"^(zeros|\w*\[[^\[\]]*\])$")]
_Count: TypeAlias = Annotated[int, Meta(ge=1)]
_Zero: TypeAlias = Annotated[int, Meta(ge=0, le=0)]
_Duration: TypeAlias = Annotated[str, Meta(pattern=rf"^{_ABOVE_ZERO}\s*{_UNITS}$", examples=["10ms", "60s", "2m"])]
_Rate: TypeAlias = Annotated[str, Meta(pattern=rf"^{_ABOVE_ZERO}\s*/\s*{_UNITS}$", examples=["500/s", "30000/min"])]
_Spawn: TypeAlias = Annotated[str, Meta(pattern=rf"^{_NUMBER}\s*/\s*{_UNITS}$", examples=["2/min"])]
_Percentile: TypeAlias = Annotated[str, Meta(pattern=r"^[pP](?=[0-9.]*[1-9])(0|[1-9][0-9]?)(\.[0-9]+)?$")]
_Limits: TypeAlias = Annotated[
    str, Meta(min_length=1, extra_json_schema={"pattern": r"^\s*[pP][0-9.]+\s*<?=\s*[0-9.]"}, examples=["p95=10ms"])
]
_Delays: TypeAlias = Annotated[
    str, Meta(min_length=1, extra_json_schema={"pattern": rf"^{_DELAY}(\s*,\s*{_DELAY})*$"}, examples=["1ms", "0,1ms"])
]
"""msgspec 0.22 writes past its memory for a text with a pattern beside a list, so these have theirs in the schema only.
What is wrong with one is found where it is parsed."""

_Clouds: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        extra_json_schema={"pattern": rf"^\s*({'|'.join(CLOUDS)})(\s*,\s*({'|'.join(CLOUDS)}))*\s*$"},
        examples=["aws", "aws,gcp"],
    ),
]
_Variable: TypeAlias = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
_Names: TypeAlias = _Text | Annotated[list[_Text], Meta(min_length=1)]
_Value: TypeAlias = int | _Text
_Values: TypeAlias = Annotated[list[_Value], Meta(min_length=1)]


def _option(description: str, panel: str, form: str | None = None, *, typed: str | None = None) -> Meta:
    """Describe a key. On the command line it stands in ``panel``, its value looks like ``form``, and ``typed``
    describes it where that spells it otherwise."""
    return Meta(description=description, extra={"panel": panel, "form": form, "help": typed or description})


class PhaseConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A phase of closed-loop traffic."""

    users: Annotated[int, Meta(ge=0, description="Users at its beginning.")] = 0
    spawn: Annotated[_Zero | _Spawn, Meta(description="Users that join during it.")] = 0
    duration: Annotated[_Duration, Meta(description="How long it lasts.")]


class StairsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Closed-loop traffic with more users step by step."""

    steps: Annotated[int, Meta(ge=1, description="How many steps.")]
    users: Annotated[int, Meta(ge=1, description="Users who join at the beginning of each.")]
    duration: Annotated[_Duration, Meta(description="How long each lasts.")]


class RangeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Values of an environment variable to try, on some profiles alone."""

    variable: Annotated[_Variable, Meta(description="Its name.")]
    values: Annotated[_Value | _Values, Meta(description="What to set it to, each in turn.")]
    profile: Annotated[_Names | UnsetType, Meta(description="The profiles to try them on. Default all.")] = UNSET


NO_OPTIONS = frozenset({"$schema", "model", "payload", "content_type", "accept", "each_line", "input", "size", "pad"})
"""The keys of a job that are no options: those of files alone, and what commands and functions take by themselves."""


class JobConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The job to find a deployment for. Every key is an option of servefit recommend, and one given there wins."""

    schema: Annotated[_Text | UnsetType, Meta(description="For editors: where this schema is.")] = msgspec.field(
        name="$schema", default=UNSET
    )
    model: Annotated[
        _Text | UnsetType,
        Meta(description="The trained model: a file, a folder or a .tar.gz. Relative to this file's folder."),
    ] = UNSET
    payload: Annotated[
        _Text | UnsetType,
        Meta(
            description="Sample rows: CSV, JSON, JSON Lines, NPY, NPZ or a .tar.gz of them. Relative to this file's "
            "folder. Without, rows are made up from the model."
        ),
    ] = UNSET
    content_type: Annotated[
        _Text | UnsetType,
        Meta(
            description="Of a payload for a script: the content type of its requests. Without, what the extensions of "
            "files say."
        ),
    ] = UNSET
    accept: Annotated[_Text | UnsetType, Meta(description="Of a payload for a script: what its requests accept.")] = (
        UNSET
    )
    each_line: Annotated[bool, Meta(description="Of a payload for a script: a request a line of a file.")] = False
    input: Annotated[
        Annotated[dict[_Text, float | _InputText], Meta(min_length=1, examples=[{"sr": 16000, "state": "zeros"}])]
        | UnsetType,
        Meta(
            description="Inputs of a network that are the same in all requests: numbers, or zeros. For TorchScript, "
            "what its inputs take: float32[rows,3,224,224]."
        ),
    ] = UNSET
    size: Annotated[
        Annotated[dict[_Text, _Count | Annotated[list[_Count], Meta(min_length=1)]], Meta(min_length=1)] | UnsetType,
        Meta(description="Without a payload: sizes of requests to draw, as in sequence: [32, 128]."),
    ] = UNSET
    pad: Annotated[
        _Text | UnsetType,
        Meta(
            description="Requests of different sizes of a network are padded to go into one call: the input that says "
            "which places count, or zeros, if padding without one changes nothing."
        ),
    ] = UNSET
    rows_per_request: Annotated[int, Meta(ge=1), _option("Rows of the payload in one request.", TRAFFIC, "ROWS")] = (
        USUAL.rows_per_request
    )
    sla: Annotated[
        Annotated[dict[_Percentile, _Duration], Meta(min_length=1, examples=[{"p95": "10ms"}])]
        | _Limits
        | Annotated[list[_Limits], Meta(min_length=1)]
        | UnsetType,
        _option(
            "Limits on latency percentiles, as in p95: 10ms.",
            TRAFFIC,
            "p95=10ms",
            typed="Limit on a latency percentile.",
        ),
    ] = UNSET
    rate: Annotated[_Rate | UnsetType, _option("Rate to be served, over all instances.", TRAFFIC, "500/s")] = UNSET
    arrivals: Annotated[
        str,
        Meta(min_length=1, examples=["poisson", "sine:amplitude=50%,period=4s", "replay:access.log,speed=10"]),
        _option(
            "How requests arrive at the rate, or at one of their own. A path is relative to this file's folder.",
            TRAFFIC,
            "NAME[:k=v,...]",
            typed=TYPED,
        ),
    ] = USUAL.arrivals
    profile: Annotated[
        _Names | UnsetType,
        _option("Instance profiles to consider. Default: those of this host, local-1c and so on.", SEARCH, "NAME"),
    ] = UNSET
    cloud: Annotated[
        _Clouds | Annotated[list[_Clouds], Meta(min_length=1)] | UnsetType,
        _option("Clouds whose shapes to consider, as far as they fit this host.", SEARCH, "|".join(CLOUDS)),
    ] = UNSET
    backend: Annotated[_Names | UnsetType, _option("Backends to consider. Default all.", SEARCH, "NAME")] = UNSET
    env: Annotated[
        Annotated[dict[_Variable, _Value | _Values], Meta(min_length=1, examples=[{"OMP_NUM_THREADS": [1, 2]}])]
        | Annotated[list[RangeConfig], Meta(min_length=1)]
        | UnsetType,
        _option(
            "Values of environment variables to try. As a list: on some profiles alone.",
            SEARCH,
            "NAME=V1,V2",
            typed="Values of an environment variable to try.",
        ),
    ] = UNSET
    secret_env: Annotated[
        Annotated[list[_Variable], Meta(min_length=1, examples=[["API_TOKEN"]])] | UnsetType,
        _option(
            "Variables whose values are shown to nobody. Without any in env: those of whoever runs it.",
            SEARCH,
            "NAME",
            typed="A variable whose value is shown to nobody, as with names that look like it (API_TOKEN). Without "
            "--env it has the value that it has here.",
        ),
    ] = UNSET
    batch: Annotated[
        _Count | Annotated[list[_Count], Meta(min_length=1)] | UnsetType,
        _option("Most requests joined into a call, to try. Default: servefit chooses.", SEARCH, "1,8,32"),
    ] = UNSET
    batch_delay: Annotated[
        _Zero | _Delays | Annotated[list[_Zero | _Duration], Meta(min_length=1)] | UnsetType,
        _option("How long the first of a batch may wait, to try. Default: servefit chooses.", SEARCH, "0,1ms"),
    ] = UNSET
    goal: Annotated[_Text, _option("What to optimise; objectives of other packages, too.", SEARCH, "|".join(GOALS))] = (
        USUAL.goal
    )
    cost_weight: Annotated[
        float,
        Meta(ge=0, le=1),
        _option("With the goal balanced: what cost counts against latency.", SEARCH, "0..1"),
    ] = USUAL.cost_weight
    phase: Annotated[
        Annotated[list[PhaseConfig], Meta(min_length=1)] | UnsetType,
        _option("Closed-loop traffic in phases, one after the other.", TRAFFIC, "users=2,spawn=2/min,duration=120s"),
    ] = UNSET
    stairs: Annotated[
        StairsConfig | UnsetType,
        _option("Closed-loop traffic with more users step by step.", TRAFFIC, "steps=4,users=2,duration=30s"),
    ] = UNSET
    flat_invocations: Annotated[
        SpelledFlatInvocations,
        _option(
            "Whether phases end once more users are not served more.",
            TRAFFIC,
            "|".join(get_args(SpelledFlatInvocations)),
        ),
    ] = spell_flat_invocations(USUAL.flat_invocations)
    max_tests: Annotated[_Count | UnsetType, _option("Most load tests to run.", SEARCH, "TESTS")] = UNSET
    max_parallel_tests: Annotated[
        int,
        Meta(ge=1),
        _option("Most load tests at once, where there are CPUs for each.", SEARCH, "TESTS"),
    ] = USUAL.max_parallel_tests
    budget: Annotated[_Duration | UnsetType, _option("Time for the whole job.", SEARCH, "60s")] = UNSET
    deploy: Annotated[
        Literal["endpoint", "library"] | UnsetType,
        _option(
            "What is deployed: the endpoint of servefit serve, asked over HTTP, or the model as a library, called in "
            "process. Default endpoint.",
            SEARCH,
            "endpoint|library",
        ),
    ] = UNSET
    http: Annotated[
        bool,
        _option("With the library: measure the winner over HTTP too, where a client has a CPU.", SEARCH),
    ] = USUAL.over_http
    wait: Annotated[
        _Zero | _Duration | UnsetType,
        _option(
            "How long to wait while something else measures on this machine; 0 is not at all. Default: until it is "
            "done.",
            MACHINE,
            "60s",
        ),
    ] = UNSET
    name: Annotated[
        Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")] | UnsetType,
        _option("Name of the job. It can be used once; one is made up otherwise.", OUTPUT, "NAME"),
    ] = UNSET
    seed: Annotated[
        int,
        Meta(ge=0, le=2**32 - 1),
        _option("Seed of everything random: traffic, synthetic rows, search.", MACHINE, "NUMBER"),
    ] = USUAL.seed
    allow_noise: Annotated[
        bool, _option("Judge measurements that the machine got in the way of all the same.", MACHINE)
    ] = USUAL.allow_noise
    allow_batch_dependence: Annotated[
        bool, _option("Join requests even where that changes their predictions.", SEARCH)
    ] = USUAL.allow_batch_dependence

    allow_precision: Annotated[
        _Names | UnsetType,
        _option(
            "Precisions of artifacts that predict less exactly, to try: int8, bf16. They need a limit.",
            SEARCH,
            "int8,bf16",
        ),
    ] = UNSET
    max_deviation: Annotated[
        float | _Text | UnsetType,
        _option(
            "What they may change: a share of the largest value of a row, or the least cosine, or the least share of "
            "rows in the same class.",
            SEARCH,
            "0.01",
            typed="What they may change: a share of the largest value of a row; or cosine=0.995, the least cosine of "
            "vectors; or top1=0.999, the least share of rows in the same class.",
        ),
    ] = UNSET
    quality: Annotated[
        _Text | Annotated[list[float], Meta(min_length=1)] | UnsetType,
        _option(
            "Labels of the rows of the payload, by which they are scored: CSV or NPY. Relative to this file's folder.",
            SEARCH,
            "labels.csv",
            typed="Labels of the rows of the payload, by which they are scored: CSV or NPY.",
        ),
    ] = UNSET
    metric: Annotated[
        _Text | UnsetType,
        _option(
            "The metric of quality: accuracy, auc, f1, r2, mae, recall@10, or a function package.module:name, which is "
            "run.",
            SEARCH,
            "NAME",
        ),
    ] = UNSET
    quality_drop: Annotated[
        float | _Text | UnsetType,
        _option("How much less the metric may be than that of the exact model.", SEARCH, "0.5%"),
    ] = UNSET

    def request(self, name: str) -> JobRequest:
        """Return the request for a job called ``name``. Raises SpecError with the path of what is wrong."""
        return JobRequest(
            name=name,
            sla=Sla(
                thresholds=self._thresholds(), rate_per_s=None if self.rate is UNSET else parse_rate_per_s(self.rate)
            ),
            profiles=_listed(self.profile),
            clouds=parse_clouds(_listed(self.cloud)),
            backends=_listed(self.backend),
            environment=self._environment(),
            batch_sizes=_listed(self.batch),
            batch_delays_us=tuple(us for text in _listed(self.batch_delay) for us in parse_delays_us(str(text))),
            phases=closed_loop(self.phase, self.stairs),
            flat_invocations=parse_flat_invocations(self.flat_invocations),
            goal=parse_goal(self.goal),
            cost_weight=self.cost_weight,
            budget_s=None if self.budget is UNSET else parse_duration_s("budget", self.budget),
            max_tests=None if self.max_tests is UNSET else self.max_tests,
            max_parallel_tests=self.max_parallel_tests,
            rows_per_request=self.rows_per_request,
            seed=self.seed,
            allow_noise=self.allow_noise,
            allow_batch_dependence=self.allow_batch_dependence,
            precision=self._precision(),
            deploy=None if self.deploy is UNSET else self.deploy,
            over_http=self.http,
            arrivals=self.arrivals,
        )

    @property
    def wait_s(self) -> float | None:
        """The seconds to wait; None for as long as it takes."""
        if self.wait is UNSET:
            return None
        return parse_duration_s("wait", self.wait) if isinstance(self.wait, str) else 0.0

    def _precision(self) -> PrecisionLimits:
        names = [part for text in _listed(self.allow_precision) for part in text.split(",")]
        return PrecisionLimits.of(
            allow_precision=names,
            max_deviation=None if self.max_deviation is UNSET else self.max_deviation,
            quality=None if self.quality is UNSET else self.quality,
            metric=None if self.metric is UNSET else self.metric,
            quality_drop=None if self.quality_drop is UNSET else self.quality_drop,
        )

    def _thresholds(self) -> tuple[LatencyThreshold, ...]:
        if isinstance(self.sla, dict):
            limits_ms = {name: parse_duration_ms("sla", text) for name, text in self.sla.items()}
            return tuple(LatencyThreshold(percentile=name, limit_ms=limit_ms) for name, limit_ms in limits_ms.items())
        return tuple(threshold for text in _listed(self.sla) for threshold in parse_sla(text))

    def variables(self) -> tuple[EnvironmentRange, ...]:
        """Return what ``env`` says, without the variables that are only named as secrets. Raises SpecError."""
        if isinstance(self.env, dict):
            return tuple(_range(variable, values) for variable, values in self.env.items())
        if self.env is UNSET:
            return ()
        return tuple(_range(item.variable, item.values, _listed(item.profile)) for item in self.env)

    def _environment(self) -> tuple[EnvironmentRange, ...]:
        ranges = with_secrets(self.variables(), _listed(self.secret_env))
        check_known(ranges)
        return ranges


def closed_loop(phases: list[PhaseConfig] | UnsetType, stairs: StairsConfig | UnsetType) -> ClosedLoop | None:
    """Return the traffic that either describes, None for neither. Raises SpecError, also for both."""
    if stairs is not UNSET:
        if phases is not UNSET:
            raise SpecError("stairs", None, "cannot be combined with phases", remedy="give one of them")
        with _within("stairs"):
            return ClosedLoop.stairs(
                steps=stairs.steps,
                users_per_step=stairs.users,
                step_duration_s=parse_duration_s("duration", stairs.duration),
            )
    if phases is UNSET:
        return None
    traffic_phases = []
    for nth, phase in enumerate(phases):
        with _within(f"phase[{nth}]"):
            traffic_phases.append(
                TrafficPhase(
                    initial_users=phase.users,
                    spawn_per_minute=parse_rate_per_min("spawn", str(phase.spawn)),
                    duration_s=parse_duration_s("duration", phase.duration),
                )
            )
    with _within("phase"):
        return ClosedLoop(phases=tuple(traffic_phases))


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of config files. As goals it admits what is installed here, servefit's own and those of
    other packages: so an editor finds a misspelt one, and whoever has an objective of a package prints the schema
    there."""
    definitions = msgspec.json.schema(JobConfig)["$defs"]
    job = definitions.pop("JobConfig")
    goal = job["properties"]["goal"]
    del goal["minLength"], goal["type"]
    goal["enum"] = sorted(OBJECTIVES.names())
    return {"$schema": DIALECT, **job, "title": "A job for servefit recommend --config", "$defs": definitions}


def _listed(value: Any) -> tuple[Any, ...]:
    """Return a list or a lone value as a tuple, empty where nothing was given."""
    if value is UNSET:
        return ()
    return tuple(value) if isinstance(value, list) else (value,)


def _range(variable: str, values: Any, profiles: tuple[str, ...] = ()) -> EnvironmentRange:
    return EnvironmentRange(
        variable=plain_name(variable), values=tuple(str(value) for value in _listed(values)), profiles=profiles
    )


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Name ``place`` in what is raised about a part of it."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{place}.{error.field}", error.value, error.problem, remedy=error.remedy) from error
