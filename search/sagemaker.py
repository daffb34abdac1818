"""The door for Python: ``right_size``, with the parameter names of the SageMaker Python SDK.

A notebook moves over. What it asks is translated into a JobRequest here; the job itself is in ``running``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from servefit.errors import SpecError
from servefit.profiler.limits import LatencyThreshold
from servefit.profiler.traffic import ClosedLoop
from servefit.profiler.traffic import Phase as TrafficPhase
from servefit.search.job import RecommendationJob, default_name
from servefit.search.progress import Progress, Silent
from servefit.search.request import EnvironmentRange, JobRequest, parse_flat_invocations, parse_goal, plain_name
from servefit.search.running import run_job
from servefit.search.sla import Sla

_NOT_EMPTY = "leave it out, or name at least one"


@dataclass(frozen=True, slots=True)
class CategoricalParameter:
    """The values that an environment variable may take."""

    value: Sequence[str]


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of closed-loop traffic; ``spawn_rate`` is in users a minute."""

    duration_in_seconds: float
    initial_number_of_users: int
    spawn_rate: float


@dataclass(frozen=True, slots=True)
class Stairs:
    """Closed-loop traffic in ``number_of_steps`` steps of ``duration_in_seconds``, each with ``users_per_step`` users
    more."""

    duration_in_seconds: float
    number_of_steps: int
    users_per_step: int


@dataclass(frozen=True, slots=True)
class ModelLatencyThreshold:
    """A limit on a percentile ("P95") of the latency."""

    percentile: str
    value_in_milliseconds: float


def right_size(
    model: Any,
    *,
    sample_payload: Any = None,
    supported_instance_types: Sequence[str] | None = None,
    job_name: str | None = None,
    job_duration_in_seconds: float | None = None,
    hyperparameter_ranges: Sequence[Mapping[str, Any]] | None = None,
    phases: Sequence[Phase] | None = None,
    stairs: Stairs | None = None,
    max_invocations: float | None = None,
    flat_invocations: str = "Stop",
    model_latency_thresholds: Sequence[ModelLatencyThreshold] | None = None,
    max_tests: int | None = None,
    max_parallel_tests: int = 1,
    backends: Sequence[str] | None = None,
    batch_sizes: Sequence[int] | None = None,
    batch_delays_us: Sequence[int] | None = None,
    goal: str = "cost",
    cost_weight: float = 0.5,
    storage: str | None = None,
    rows_per_request: int = 1,
    seed: int = 0,
    trust_pickle: bool = False,
    allow_noise: bool = False,
    progress: Progress | None = None,
) -> RecommendationJob:
    """Find what to deploy ``model`` on, by measuring; blocks until the job is done.

    ``model`` is a path, a live xgboost, LightGBM or scikit-learn object, or a :class:`~servefit.backends.model.Model`;
    ``sample_payload`` a path or an array of shape (rows, features), drawn from the model where there is none.
    ``max_invocations`` is the rate to be served, per minute. With ``flat_invocations`` "Stop" traffic in ``phases`` or
    ``stairs`` ends once more users are not served more; "Continue" lets
    it go on. ``hyperparameter_ranges`` are dictionaries of environment
    variable to :class:`CategoricalParameter`, with "instance_types" naming the profiles that one holds for. With
    neither phases, thresholds, ranges nor limits the job is a Default one, else Advanced. With ``allow_noise``
    measurements that the machine got in the way of are judged all the same. ``cost_weight`` is what cost counts against
    latency where ``goal`` is "balanced". The job is kept in the database at ``storage``, else in the state folder.

    That nothing meets the limits is a result, not an error. Raises SpecError, ModelError, StateError, StorageError, and
    JobInterrupted (a KeyboardInterrupt that holds the partial job).
    """
    request = JobRequest(
        name=job_name or default_name(model),
        sla=Sla(
            thresholds=thresholds_from_sdk(model_latency_thresholds),
            rate_per_s=None if max_invocations is None else _number("max_invocations", max_invocations) / 60,
        ),
        profiles=_listed("supported_instance_types", supported_instance_types, str),
        backends=_listed("backends", backends, str),
        environment=ranges_from_sdk(hyperparameter_ranges),
        batch_sizes=tuple(_whole("batch_sizes", one) for one in _listed("batch_sizes", batch_sizes, object)),
        batch_delays_us=tuple(
            _whole("batch_delays_us", one) for one in _listed("batch_delays_us", batch_delays_us, object)
        ),
        phases=traffic_from_sdk(phases, stairs),
        flat_invocations=parse_flat_invocations(flat_invocations),
        goal=parse_goal(goal),
        cost_weight=_number("cost_weight", cost_weight),
        budget_s=None
        if job_duration_in_seconds is None
        else _number("job_duration_in_seconds", job_duration_in_seconds),
        max_tests=None if max_tests is None else _whole("max_tests", max_tests),
        max_parallel_tests=_whole("max_parallel_tests", max_parallel_tests),
        rows_per_request=_whole("rows_per_request", rows_per_request),
        seed=_whole("seed", seed),
        allow_noise=allow_noise,
    )
    return run_job(
        model, sample_payload, request, trust_pickle=trust_pickle, progress=progress or Silent(), storage=storage
    )


def traffic_from_sdk(phases: Sequence[Phase] | None, stairs: Stairs | None) -> ClosedLoop | None:
    """The traffic that phases or stairs describe, None where neither is given. Raises SpecError, also for both."""
    if stairs is None:
        return phases_from_sdk(phases)
    if phases is not None:
        raise SpecError("stairs", stairs, "cannot be combined with phases", remedy="give one of them")
    if not isinstance(stairs, Stairs):
        raise SpecError("stairs", stairs, "is not a Stairs")
    return ClosedLoop.stairs(
        steps=_whole("number_of_steps", stairs.number_of_steps),
        users_per_step=_whole("users_per_step", stairs.users_per_step),
        step_duration_s=_number("duration_in_seconds", stairs.duration_in_seconds),
    )


def phases_from_sdk(phases: Sequence[Phase] | None) -> ClosedLoop | None:
    """The traffic that SDK-style phases describe, None where none are given. Raises SpecError."""
    if phases is None:
        return None
    return ClosedLoop(
        phases=tuple(
            TrafficPhase(
                initial_users=_whole("initial_number_of_users", phase.initial_number_of_users),
                spawn_per_minute=_number("spawn_rate", phase.spawn_rate),
                duration_s=_number("duration_in_seconds", phase.duration_in_seconds),
            )
            for phase in _listed("phases", phases, Phase)
        )
    )


def thresholds_from_sdk(thresholds: Sequence[ModelLatencyThreshold] | None) -> tuple[LatencyThreshold, ...]:
    """Raises SpecError."""
    return tuple(
        LatencyThreshold(
            percentile=str(threshold.percentile).lower(),
            limit_ms=_number("value_in_milliseconds", threshold.value_in_milliseconds),
        )
        for threshold in _listed("model_latency_thresholds", thresholds, ModelLatencyThreshold)
    )


def ranges_from_sdk(ranges: Sequence[Mapping[str, Any]] | None) -> tuple[EnvironmentRange, ...]:
    """Ranges as the SDK writes them: dictionaries of variable to CategoricalParameter, with "instance_types" naming
    the profiles that one holds for. Raises SpecError."""
    listed = _listed("hyperparameter_ranges", ranges, Mapping)
    for one in listed:
        if not one.keys() - {"instance_types"}:
            raise SpecError("hyperparameter_ranges", one, "is empty: it names no variable", remedy=_NOT_EMPTY)
    return tuple(
        EnvironmentRange(
            variable=plain_name(variable),
            values=tuple(str(value) for value in _values(variable, parameter)),
            profiles=tuple(_values("instance_types", one["instance_types"])) if "instance_types" in one else (),
        )
        for one in listed
        for variable, parameter in one.items()
        if variable != "instance_types"
    )


def _values(variable: str, parameter: object) -> Sequence[str]:
    if not isinstance(parameter, CategoricalParameter):
        raise SpecError("hyperparameter_ranges", parameter, f"for {variable} is not a CategoricalParameter")
    return _listed(variable, parameter.value, object)


def _listed(field: str, values: Iterable[Any] | None, kind: type) -> tuple[Any, ...]:
    """``values`` as a tuple, empty for None alone. A lone value, text above all, is not taken for a list of them."""
    if values is None:
        return ()
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise SpecError(field, values, "is not a list", remedy="put it in square brackets")
    listed = tuple(values)
    if not listed:
        raise SpecError(field, [], "is empty", remedy=_NOT_EMPTY)
    for value in listed:
        if not isinstance(value, kind):
            raise SpecError(field, value, f"is not a {kind.__name__}")
    return listed


def _number(field: str, value: object) -> float:
    if not isinstance(value, Real):
        raise SpecError(field, value, "is not a number")
    return float(value)


def _whole(field: str, value: object) -> int:
    if not isinstance(value, Integral):
        raise SpecError(field, value, "is not a whole number")
    return int(value)
