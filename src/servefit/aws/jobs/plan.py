"""The plan of a recommendation job, which is its request in servefit's words.

The plan is settled when the job is made: later changes of the model package do not change it. It is kept as JSON, and
the process that carries it out makes its request of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from servefit.checks import check_above_zero
from servefit.profiler.defaults import TIMEOUT_S
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase
from servefit.search.request.job_request import (
    EnvironmentRange,
    JobRequest,
    check_variable,
    parse_flat_invocations,
    plain_name,
)
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla

if TYPE_CHECKING:
    from servefit.profiler.machine.prices import KnownPrice
    from servefit.search.jobs.job import RecommendationJob
    from servefit.search.request.job_request import FlatInvocations
    from servefit.search.results.recommendation import Recommendation


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSettings:
    """The settings of all jobs of a server: ``profiles`` in place of instance types, ``prices`` of instance types,
    durations multiplied by ``time_scale``, models that may be pickles with ``trust_pickle`` and scripts that may be run
    with ``trust_code``, disturbed measurements that count with ``allow_noise``, and ``allow_env`` as variables that
    requests may set beside those of the list."""

    profiles: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, KnownPrice] = field(default_factory=dict)
    time_scale: float = 1.0
    trust_pickle: bool = False
    trust_code: bool = False
    allow_noise: bool = False
    allow_env: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise SpecError for a factor that is not above zero, and for what is not the name of a variable."""
        check_above_zero("time_scale", self.time_scale)
        for name in self.allow_env:
            check_variable("allow_env", name)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """An instance type that a job is about, and the profile of servefit that is measured for it: of the same name,
    unless the server maps it to another. ``reason`` says why it cannot be measured here, None where it can.
    ``price_per_hour`` is that of one instance, as ``priced_as`` has it, None if unknown."""

    instance_type: str
    profile: str
    reason: str | None = None
    price_per_hour: float | None = None
    priced_as: str | None = None


class LoadedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that a job loads as it is. ``url`` is where, None for one of the server, which is found when its turn
    comes. ``variant``, ``instance_type``, ``instance_count`` and the price of one instance are None where nobody
    knows."""

    name: str
    url: str | None = None
    variant: str | None = None
    instance_type: str | None = None
    instance_count: int | None = None
    price_per_hour: float | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A job to be carried out. ``asked`` is the request as it came, ``time_scale`` what its durations are multiplied
    by. ``endpoint`` is loaded first, where there is one; a model is only there where instance types are measured. Model
    and payload are files of this machine, each named in messages by the URL that it was asked for by. ``content_types``
    are those that its requests may have: where there is one, it is that of a payload for a script."""

    name: str
    model: str | None = None
    model_url: str | None = None
    payload: str | None = None
    payload_url: str | None = None
    content_types: tuple[str, ...] = ()
    endpoint: LoadedEndpoint | None = None
    measured: tuple[Measured, ...]
    asked: dict[str, Any]
    time_scale: float = 1.0
    trust_pickle: bool = False
    trust_code: bool = False
    allow_noise: bool = False

    def request(self) -> JobRequest:
        """Return the request that servefit carries out. Raises SpecError for what it does not take."""
        config = self.asked["InputConfig"]
        stopping = self.asked.get("StoppingConditions", {})
        limits = config.get("ResourceLimit", {})
        most = stopping.get("MaxInvocations")
        duration_s = config.get("JobDurationInSeconds")
        return JobRequest(
            name=self.name,
            sla=Sla(thresholds=_thresholds(stopping), rate_per_s=None if most is None else most / 60),
            profiles=tuple(dict.fromkeys(measured.profile for measured in self.measured if measured.reason is None)),
            environment=_ranges(config.get("EndpointConfigurations", ()), self.measured),
            phases=_traffic(config.get("TrafficPattern", {}), self.time_scale),
            flat_invocations=_flat(stopping),
            budget_s=None if duration_s is None else duration_s * self.time_scale,
            max_tests=limits.get("MaxNumberOfTests"),
            allow_noise=self.allow_noise,
        )

    def load_request(self) -> LoadRequest:
        """Return the request for the load of the endpoint. JobDurationInSeconds only makes it shorter than it is of
        itself: it is how long a job may take, and clients of AWS give hours. Raises SpecError."""
        stopping = self.asked.get("StoppingConditions", {})
        config = self.asked["InputConfig"]
        most, duration_s = stopping.get("MaxInvocations"), config.get("JobDurationInSeconds")
        thresholds = _thresholds(stopping)
        request = LoadRequest(
            sla=Sla(thresholds=thresholds, rate_per_s=None if most is None else most / 60),
            phases=_traffic(config.get("TrafficPattern", {}), self.time_scale),
            flat_invocations=_flat(stopping),
            finds_most=True,
            timeout_s=max([TIMEOUT_S, *(2 * threshold.limit_ms / 1000 for threshold in thresholds)]),
            allow_noise=self.allow_noise,
        )
        if duration_s is None or duration_s * self.time_scale >= request.max_duration_s:
            return request
        return replace(request, duration_s=duration_s * self.time_scale)

    def with_urls(self, text: str) -> str:
        """Return a message with files named as they were asked for."""
        for file, url in ((self.model, self.model_url), (self.payload, self.payload_url)):
            if file is not None and url is not None:
                # Some messages have the name of a payload alone.
                text = text.replace(file, url).replace(f"payload {Path(file).name}:", f"payload {url}:")
        return text

    @property
    def scale_note(self) -> str:
        """A note behind a sentence with durations: those of the request are others where it is scaled."""
        if self.time_scale == 1:
            return ""
        return f" (JobDurationInSeconds and phases are multiplied by {self.time_scale:g} here: --time-scale)"

    def types_of(self, profile: str) -> tuple[Measured, ...]:
        """Return the instance types that a profile was measured for."""
        return tuple(measured for measured in self.measured if measured.profile == profile)


def is_told(job: RecommendationJob, recommendation: Recommendation) -> bool:
    """Return whether a recommendation is told as one: it keeps the limits, where there are some, and the machine did
    not get in the way of what was measured."""
    verdict = recommendation.trial.verdict
    return verdict == "PASS" if not job.request.sla.asks_nothing else verdict != "INVALID"


def _thresholds(stopping: Mapping[str, Any]) -> tuple[LatencyThreshold, ...]:
    return tuple(
        LatencyThreshold(percentile=threshold["Percentile"].lower(), limit_ms=float(threshold["ValueInMilliseconds"]))
        for threshold in stopping.get("ModelLatencyThresholds", ())
    )


def _flat(stopping: Mapping[str, Any]) -> FlatInvocations:
    return parse_flat_invocations(stopping.get("FlatInvocations", "Stop"))


def _traffic(pattern: Mapping[str, Any], scale: float) -> ClosedLoop | None:
    """Return traffic in phases or stairs; None where none is asked for."""
    if phases := pattern.get("Phases"):
        return ClosedLoop(
            phases=tuple(
                TrafficPhase(
                    initial_users=phase["InitialNumberOfUsers"],
                    # The number of users is what is asked for: in a shorter time they come as much faster.
                    spawn_per_minute=phase["SpawnRate"] / scale,
                    duration_s=phase["DurationInSeconds"] * scale,
                )
                for phase in phases
            )
        )
    if stairs := pattern.get("Stairs"):
        return ClosedLoop.stairs(
            steps=stairs["NumberOfSteps"],
            users_per_step=stairs["UsersPerStep"],
            step_duration_s=stairs["DurationInSeconds"] * scale,
        )
    return None


def _ranges(configurations: Sequence[Mapping[str, Any]], measured: Iterable[Measured]) -> tuple[EnvironmentRange, ...]:
    """Return the variables to vary, each on the profiles of the types that it is asked for."""
    profiles = {entry.instance_type: entry.profile for entry in measured if entry.reason is None}
    varied: dict[tuple[str, str], list[str]] = {}
    for configuration in configurations:
        profile = profiles.get(configuration.get("InstanceType", ""))
        if profile is None:
            continue
        ranges = configuration.get("EnvironmentParameterRanges", {}).get("CategoricalParameterRanges", ())
        for parameter in ranges:
            values = varied.setdefault((profile, plain_name(parameter["Name"])), [])
            values.extend(value for value in parameter["Value"] if value not in values)
    return tuple(
        EnvironmentRange(variable=variable, values=tuple(values), profiles=(profile,))
        for (profile, variable), values in varied.items()
    )
