"""Checks of a request for a recommendation job beyond those of the service model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servefit.aws.wire.errors import invalid
from servefit.errors import SpecError
from servefit.search.request.job_request import check_name

_MAX_USERS = 10_000
"""Of all phases together: what fits in one request would keep the server busy for minutes. Chosen, not measured."""

_CONTENT = {"PHASES": "Phases", "STAIRS": "Stairs"}
"""The member that a TrafficPattern of each type has."""


def check_request(request: Mapping[str, Any]) -> None:
    """Raise ApiError, ValidationException."""
    try:
        check_name("JobName", request["JobName"])
    except SpecError as error:
        raise invalid(str(error)) from error
    asked = request["InputConfig"]
    configurations = asked.get("EndpointConfigurations", ())
    for endpoint in asked.get("Endpoints", ()):
        _require(endpoint, "EndpointName")
    if request["JobType"] == "Advanced" and not configurations and not asked.get("Endpoints"):
        raise invalid("EndpointConfigurations must be given for an Advanced job.")
    if request["JobType"] == "Default" and configurations:
        raise invalid(
            "EndpointConfigurations are for an Advanced job: a Default job has ContainerConfig.SupportedInstanceTypes."
        )
    for configuration in configurations:
        if ("InstanceType" in configuration) == ("ServerlessConfig" in configuration):
            raise invalid("Exactly one of InstanceType and ServerlessConfig must be given in an EndpointConfiguration.")
    if "TrafficPattern" in asked:
        _check_traffic(asked["TrafficPattern"])
    for threshold in request.get("StoppingConditions", {}).get("ModelLatencyThresholds", ()):
        _require(threshold, "Percentile", "ValueInMilliseconds")


def _check_traffic(traffic: Mapping[str, Any]) -> None:
    _check_content(traffic)
    users = 0.0
    for phase in traffic.get("Phases", ()):
        _require(phase, "InitialNumberOfUsers", "SpawnRate", "DurationInSeconds")
        users += phase["InitialNumberOfUsers"] + phase["SpawnRate"] * phase["DurationInSeconds"] / 60
    if (stairs := traffic.get("Stairs")) is not None:
        _require(stairs, "DurationInSeconds", "NumberOfSteps", "UsersPerStep")
        users = stairs["NumberOfSteps"] * stairs["UsersPerStep"]
    if users > _MAX_USERS:
        raise invalid(f"TrafficPattern makes more than {_MAX_USERS} users.")


def _check_content(traffic: Mapping[str, Any]) -> None:
    """Raise ApiError for a TrafficPattern that has other content than its type, or none."""
    content = [member for member in _CONTENT.values() if traffic.get(member, []) != []]
    kind = traffic.get("TrafficType")
    wanted = "either Phases or Stairs" if kind is None else f"{_CONTENT[kind]} alone for the traffic type {kind}"
    if len(content) != 1 or (kind is not None and content != [_CONTENT[kind]]):
        raise invalid(f"TrafficPattern must have {wanted}; it has {' and '.join(content) or 'neither'}.")


def _require(structure: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in structure:
            raise invalid(f"{name} must be given.")
