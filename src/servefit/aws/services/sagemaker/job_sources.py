"""The source of a recommendation job besides an endpoint: a model or a model package, with what the job says in its
place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.aws.services.sagemaker.models import container_of
from servefit.aws.services.sagemaker.packages import data_of, packaged_container
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages


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
