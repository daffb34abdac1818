"""What the service model allows in a request for a recommendation job, and the operation does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servefit.aws.wire.errors import invalid
from servefit.errors import SpecError
from servefit.search.request.job_request import check_name

_MOST_USERS = 10_000
"""Of all phases together: what fits in one request would keep the server busy for minutes. Chosen, not measured."""


def check_request(given: Mapping[str, Any]) -> None:
    """Raise ApiError, ValidationException."""
    try:
        check_name("JobName", given["JobName"])
    except SpecError as error:
        raise invalid(str(error)) from error
    asked = given["InputConfig"]
    configurations = asked.get("EndpointConfigurations", ())
    for each in asked.get("Endpoints", ()):
        _require(each, "EndpointName")
    if given["JobType"] == "Advanced" and not configurations and not asked.get("Endpoints"):
        raise invalid("EndpointConfigurations must be given for an Advanced job.")
    for each in configurations:
        if ("InstanceType" in each) == ("ServerlessConfig" in each):
            raise invalid("Exactly one of InstanceType and ServerlessConfig must be given in an EndpointConfiguration.")
    _check_traffic(asked.get("TrafficPattern", {}))
    for each in given.get("StoppingConditions", {}).get("ModelLatencyThresholds", ()):
        _require(each, "Percentile", "ValueInMilliseconds")


def _check_traffic(traffic: Mapping[str, Any]) -> None:
    phases, stairs = traffic.get("Phases"), traffic.get("Stairs")
    if phases and stairs:
        raise invalid("TrafficPattern has Phases and Stairs: give one of them.")
    users = 0.0
    for phase in phases or ():
        _require(phase, "InitialNumberOfUsers", "SpawnRate", "DurationInSeconds")
        users += phase["InitialNumberOfUsers"] + phase["SpawnRate"] * phase["DurationInSeconds"] / 60
    if stairs is not None:
        _require(stairs, "DurationInSeconds", "NumberOfSteps", "UsersPerStep")
        users = stairs["NumberOfSteps"] * stairs["UsersPerStep"]
    if users > _MOST_USERS:
        raise invalid(f"TrafficPattern makes more than {_MOST_USERS} users.")


def _require(given: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in given:
            raise invalid(f"{name} must be given.")
