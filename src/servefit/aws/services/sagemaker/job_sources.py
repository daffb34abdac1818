"""The source of a recommendation job besides an endpoint, a model or a model package, and checks of its request beyond
those of the service model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.aws.services.sagemaker.models import container_of
from servefit.aws.services.sagemaker.packages import data_of, packaged_container
from servefit.aws.wire.errors import invalid
from servefit.errors import SpecError
from servefit.search.request.job_request import check_name

if TYPE_CHECKING:
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages


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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSource:
    """Model and payload by their URLs, and the instance types that the model is meant for, if it names any. A
    job on an endpoint alone has no model, and may have no payload. ``content_types`` are those that requests may have,
    where they are told."""

    model_url: str | None
    payload_url: str | None
    types: tuple[str, ...]
    content_types: tuple[str, ...] = ()


def source_of(request: Mapping[str, Any], models: Models, packages: Packages) -> JobSource:
    """Return the source of the job that is asked for. Raises ApiError for one of nothing, of two things, of what is not
    there, and without a payload."""
    asked = request["InputConfig"]
    model, package = asked.get("ModelName"), asked.get("ModelPackageVersionArn")
    measures_types = not asked.get("Endpoints") or _is_about_types(request)
    if (model is not None and package is not None) or (measures_types and model is None and package is None):
        raise invalid("Exactly one of ModelName and ModelPackageVersionArn must be given.")
    config = asked.get("ContainerConfig", {})
    payload: str | None = None
    types: list[str] = []
    container: Mapping[str, Any] = {}
    content_types: list[str] = []
    if model is not None:
        container = container_of(models.find(model))
    elif package is not None:
        packaged = packages.find(package)
        document, container = packaged.document, packaged_container(packaged)
        specification = document.get("InferenceSpecification", {})
        types = specification.get("SupportedRealtimeInferenceInstanceTypes", [])
        payload = document.get("SamplePayloadUrl")
        content_types = specification.get("SupportedContentTypes", [])
    payload = config.get("PayloadConfig", {}).get("SamplePayloadUrl") or payload
    content_types = config.get("PayloadConfig", {}).get("SupportedContentTypes") or content_types
    if not measures_types:
        return JobSource(model_url=None, payload_url=payload, types=())
    if payload is None:
        raise invalid(
            "There is no sample payload: give ContainerConfig.PayloadConfig.SamplePayloadUrl, or SamplePayloadUrl when "
            "the model package is registered."
        )
    model_url, _ = data_of(container, packages, about=str(model or package))
    return JobSource(
        model_url=model_url,
        payload_url=payload,
        types=tuple(config.get("SupportedInstanceTypes") or types),
        content_types=tuple(content_types),
    )


def _is_about_types(request: Mapping[str, Any]) -> bool:
    """Return whether a job that loads an endpoint measures instance types too: an Advanced one those that it names, a
    Default one, which names none, where it has a model."""
    asked = request["InputConfig"]
    if request["JobType"] == "Advanced":
        return bool(asked.get("EndpointConfigurations"))
    return "ModelName" in asked or "ModelPackageVersionArn" in asked
