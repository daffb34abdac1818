"""Traffic, limits and ranges with the names of the SageMaker Python SDK, and their translation into servefit's types.

An invalid value raises SpecError with the parameter's name in the SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from servefit.backends.variables.secret import is_secret
from servefit.checks import check_finite
from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase
from servefit.search.request.job_request import EnvironmentRange, plain_name
from servefit.showing import shown

_NOT_EMPTY = "leave it out, or name at least one"
_IN_BRACKETS = "put it in square brackets"


@shown()
@dataclass(frozen=True, slots=True)
class CategoricalParameter:
    """The values that an environment variable may take.

    Example:
        ::

            print({"OMP_NUM_THREADS": sf.CategoricalParameter(["1", "2"])})
    """

    value: Sequence[str]


@shown()
@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of closed-loop traffic; ``spawn_rate`` is in users a minute.

    Example:
        ::

            phase = sf.Phase(duration_in_seconds=1, initial_number_of_users=1, spawn_rate=0)
            job = sf.right_size("model.ubj", phases=[phase], backends=["xgboost"], max_tests=1)
    """

    duration_in_seconds: float
    initial_number_of_users: int
    spawn_rate: float


@shown()
@dataclass(frozen=True, slots=True)
class Stairs:
    """Closed-loop traffic in ``number_of_steps`` steps of ``duration_in_seconds``; each step adds ``users_per_step``
    users.

    Example:
        ::

            stairs = sf.Stairs(duration_in_seconds=1, number_of_steps=2, users_per_step=1)
            job = sf.right_size("model.ubj", stairs=stairs, backends=["xgboost"], max_tests=1)
    """

    duration_in_seconds: float
    number_of_steps: int
    users_per_step: int


@shown()
@dataclass(frozen=True, slots=True)
class ModelLatencyThreshold:
    """A limit on a percentile ("P95") of the latency.

    Example:
        ::

            limit = sf.ModelLatencyThreshold(percentile="P95", value_in_milliseconds=100)
            job = sf.right_size("model.ubj", model_latency_thresholds=[limit], backends=["xgboost"], max_tests=1)
    """

    percentile: str
    value_in_milliseconds: float


def traffic_from_sdk(phases: Sequence[Phase] | None, stairs: Stairs | None) -> ClosedLoop | None:
    """Return the traffic that phases or stairs describe, None if neither is given. Raises SpecError, also if both are
    given."""
    if stairs is None:
        return phases_from_sdk(phases)
    if phases is not None:
        raise SpecError("stairs", stairs, "cannot be combined with phases", remedy="give one of them")
    if not isinstance(stairs, Stairs):
        raise SpecError("stairs", stairs, "is not a Stairs")
    return ClosedLoop.stairs(
        steps=whole("number_of_steps", stairs.number_of_steps),
        users_per_step=whole("users_per_step", stairs.users_per_step),
        step_duration_s=number("duration_in_seconds", stairs.duration_in_seconds),
    )


def phases_from_sdk(phases: Sequence[Phase] | None) -> ClosedLoop | None:
    """Return the traffic that SDK-style phases describe, None if none are given. Raises SpecError."""
    if phases is None:
        return None
    return ClosedLoop(
        phases=tuple(
            TrafficPhase(
                initial_users=whole("initial_number_of_users", phase.initial_number_of_users),
                spawn_per_minute=number("spawn_rate", phase.spawn_rate),
                duration_s=number("duration_in_seconds", phase.duration_in_seconds),
            )
            for phase in listed("phases", phases, Phase)
        )
    )


def thresholds_from_sdk(thresholds: Sequence[ModelLatencyThreshold] | None) -> tuple[LatencyThreshold, ...]:
    """Return the limits that SDK-style thresholds describe, none for None. Raises SpecError."""
    return tuple(
        LatencyThreshold(
            percentile=str(threshold.percentile).lower(),
            limit_ms=number("value_in_milliseconds", threshold.value_in_milliseconds),
        )
        for threshold in listed("model_latency_thresholds", thresholds, ModelLatencyThreshold)
    )


def ranges_from_sdk(ranges: Sequence[Mapping[str, Any]] | None) -> tuple[EnvironmentRange, ...]:
    """Return the ranges that the SDK writes as dictionaries from variable to CategoricalParameter. "instance_types" in
    a dictionary names the profiles that it is for. Raises SpecError."""
    dictionaries = listed("hyperparameter_ranges", ranges, Mapping)
    for parameters in dictionaries:
        if not parameters.keys() - {"instance_types"}:
            raise SpecError("hyperparameter_ranges", parameters, "is empty: it names no variable", remedy=_NOT_EMPTY)
    return tuple(
        EnvironmentRange(
            variable=plain_name(variable),
            values=tuple(str(value) for value in _values(variable, parameter)),
            profiles=tuple(_values("instance_types", parameters["instance_types"]))
            if "instance_types" in parameters
            else (),
        )
        for parameters in dictionaries
        for variable, parameter in parameters.items()
        if variable != "instance_types"
    )


def _values(variable: str, parameter: object) -> Sequence[str]:
    secret = is_secret(variable)
    if not isinstance(parameter, CategoricalParameter):
        shown = None if secret else parameter
        raise SpecError("hyperparameter_ranges", shown, f"for {variable} is not a CategoricalParameter")
    if secret and isinstance(parameter.value, str):
        raise SpecError("hyperparameter_ranges", None, f"for {variable} is not a list", remedy=_IN_BRACKETS)
    return listed(variable, parameter.value, object)


def listed(field: str, values: Iterable[Any] | None, kind: type) -> tuple[Any, ...]:
    """Return ``values`` as a tuple; None gives an empty tuple. A single value, such as a string, is not a list. Raises
    SpecError."""
    if values is None:
        return ()
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise SpecError(field, values, "is not a list", remedy=_IN_BRACKETS)
    items = tuple(values)
    if not items:
        raise SpecError(field, [], "is empty", remedy=_NOT_EMPTY)
    for value in items:
        if not isinstance(value, kind):
            raise SpecError(field, value, f"is not a {kind.__name__}")
    return items


def number(field: str, value: Any) -> float:
    """Return ``value`` as a float. Raises SpecError if it is not a finite number."""
    check_finite(field, value)
    return float(value)


def whole(field: str, value: object) -> int:
    """Return ``value`` as an int. Raises SpecError if it is not a whole number."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise SpecError(field, value, "is not a whole number")
    return int(value)
