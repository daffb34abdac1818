"""What a recommendation job is about: a model or a model package, with what the job says in its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from servefit.aws.services.sagemaker.models import container_of
from servefit.aws.services.sagemaker.packages import data_of
from servefit.aws.wire.errors import invalid

if TYPE_CHECKING:
    from servefit.aws.services.sagemaker.models import Models
    from servefit.aws.services.sagemaker.packages import Packages


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSource:
    """Model and payload by their URLs, and the instance types that the model is meant for, none where nobody said."""

    model_url: str
    payload_url: str
    types: tuple[str, ...]


def source_of(asked: Mapping[str, Any], models: Models, packages: Packages) -> JobSource:
    """Return the source of a job by its InputConfig. Raises ApiError for one of nothing, of two things, of what is not
    there, and without a payload."""
    model, package = asked.get("ModelName"), asked.get("ModelPackageVersionArn")
    if asked.get("Endpoints"):
        raise invalid("Endpoints are not loaded here: use servefit load for an endpoint that runs.")
    if (model is None) == (package is None):
        raise invalid("Exactly one of ModelName and ModelPackageVersionArn must be given.")
    given = asked.get("ContainerConfig", {})
    payload: str | None = None
    types: list[str] = []
    if model is not None:
        container = container_of(models.find(model))
    else:
        document = packages.find(str(package)).document
        specification = document.get("InferenceSpecification", {})
        container = specification.get("Containers", [{}])[0]
        types = specification.get("SupportedRealtimeInferenceInstanceTypes", [])
        payload = document.get("SamplePayloadUrl")
    payload = given.get("PayloadConfig", {}).get("SamplePayloadUrl") or payload
    if payload is None:
        raise invalid(
            "There is no sample payload: give ContainerConfig.PayloadConfig.SamplePayloadUrl, or SamplePayloadUrl when "
            "the model package is registered."
        )
    model_url, _ = data_of(container, packages, about=str(model or package))
    return JobSource(
        model_url=model_url, payload_url=payload, types=tuple(given.get("SupportedInstanceTypes") or types)
    )
