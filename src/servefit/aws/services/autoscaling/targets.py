"""Scalable targets: variants of endpoints, and between how many instances they may be scaled."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.aws.services.autoscaling.checks import check_capacities
from servefit.aws.services.pages import one_page
from servefit.aws.state.resources import Missing
from servefit.aws.wire.errors import ApiError, invalid

if TYPE_CHECKING:
    from servefit.aws.services.call import Call
    from servefit.aws.services.sagemaker.endpoints import Endpoints
    from servefit.aws.state.resources import Resource, Resources

_T = TypeVar("_T")

KIND = "scalable-target"

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
"""The only dimension that can be registered here: the number of instances of a variant."""

TARGET = {"ServiceNamespace": NAMESPACE, "ScalableDimension": DIMENSION}
"""Members of every document in an answer."""

MAX_LISTED = 50
"""Of AWS, in an answer."""

_VARIANT = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")

_ROLE = (
    "arn:aws:iam::{account}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)
"""The role that AWS takes for SageMaker, whichever is given."""

_SUSPENDED = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


class Targets:
    """The scalable targets, each under its resource ID, of ``endpoints``."""

    def __init__(self, resources: Resources, endpoints: Endpoints) -> None:
        self._resources = resources
        self._endpoints = endpoints

    def register(self, call: Call) -> Resource:
        """Keep a target. What is not given stays as it was. Raises ApiError."""
        request, resource_id = call.given, call.given["ResourceId"]
        endpoint = self._endpoint_of(request)
        earlier = document_of(self._resources, KIND, resource_id)
        for bound in ("MinCapacity", "MaxCapacity"):
            if bound not in request and bound not in earlier:
                raise invalid(f"{bound} must be given when a scalable target is registered for the first time.")
        document = {
            "ScalableTargetARN": call.arn(f"scalable-target/{uuid.uuid4()}", service="application-autoscaling"),
            "RoleARN": _ROLE.format(account=call.account),
            "EndpointCreated": endpoint.created,
            **earlier,
            **{bound: request[bound] for bound in ("MinCapacity", "MaxCapacity") if bound in request},
            "SuspendedState": {
                **dict.fromkeys(_SUSPENDED, False),
                **earlier.get("SuspendedState", {}),
                **request.get("SuspendedState", {}),
            },
        }
        check_capacities(document)
        return self._resources.put(KIND, resource_id, lambda _: document)

    def describe(self, call: Call) -> dict[str, Any]:
        request = call.given
        asked = request.get("ResourceIds", ())
        kept = [
            resource
            for resource in self._resources.all(KIND)
            if is_asked_for(request) and (not asked or resource.name in asked)
        ]
        page, token = page_of(request, "DescribeScalableTargets", kept, most=MAX_LISTED)
        return {"ScalableTargets": [_told(resource) for resource in page], "NextToken": token}

    def find(self, request: Mapping[str, Any], *, missing: str = "No scalable target registered") -> Resource:
        """Return the target that a request names. Raises ApiError, ObjectNotFoundException, that says what is
        ``missing``."""
        try:
            if is_asked_for(request):
                return self._resources.get(KIND, request["ResourceId"])
        except Missing:
            pass
        raise not_found(missing, request)

    def with_arn(self, arn: str) -> Resource:
        """Return a target by its name for tags. Raises ApiError, ResourceNotFoundException."""
        for resource in self._resources.all(KIND):
            if resource.document["ScalableTargetARN"] == arn:
                return resource
        raise ApiError("ResourceNotFoundException", f"There is no resource {arn}.", fields={"ResourceName": arn})

    def remove(self, target: Resource) -> None:
        self._resources.remove(KIND, target.name)

    def of_deleted_endpoints(self) -> list[Resource]:
        """Return the targets whose endpoint has been deleted, and perhaps made again."""
        return [resource for resource in self._resources.all(KIND) if not self._is_of_an_endpoint(resource)]

    def _is_of_an_endpoint(self, target: Resource) -> bool:
        try:
            name = target.name.split("/")[1]
            return bool(self._endpoints.find(name).created == target.document["EndpointCreated"])
        except ApiError:
            return False

    def _endpoint_of(self, request: Mapping[str, Any]) -> Resource:
        """Return the endpoint of a target to be. Raises ApiError, ValidationException."""
        match = _VARIANT.fullmatch(request["ResourceId"])
        if match is None or not is_asked_for(request):
            raise invalid(
                "Unsupported service namespace, resource type or scalable dimension: "
                f"{NAMESPACE}, endpoint/NAME/variant/NAME and {DIMENSION} are known here."
            )
        endpoint = self._endpoints.find(match[1])
        if endpoint.document["Variant"]["VariantName"] != match[2]:
            raise invalid(f'Could not find variant "{match[2]}" of endpoint "{match[1]}".')
        return endpoint


def document_of(resources: Resources, kind: str, name: str) -> Mapping[str, Any]:
    """Return a document, an empty one where there is none."""
    try:
        return resources.get(kind, name).document
    except Missing:
        return {}


def page_of(request: Mapping[str, Any], operation: str, kept: list[_T], *, most: int) -> tuple[list[_T], str | None]:
    """Return a page of at most ``most``, and the token of the next one, None where there is none.

    Raises ApiError: ValidationException for another number, and for a dimension without a resource;
    InvalidNextTokenException.
    """
    asked = request.get("MaxResults", most)
    if not 1 <= asked <= most:
        raise invalid(f"MaxResults must be between 1 and {most}.")
    if "ScalableDimension" in request and not (request.get("ResourceId") or request.get("ResourceIds")):
        raise invalid("A resource ID must be given with a scalable dimension.")
    try:
        return one_page({**request, "MaxResults": asked}, operation, kept)
    except ApiError as error:
        raise ApiError("InvalidNextTokenException", error.message) from error


def is_asked_for(request: Mapping[str, Any]) -> bool:
    """Return whether a request is about variants of endpoints: there is nothing else."""
    return (request["ServiceNamespace"], request.get("ScalableDimension", DIMENSION)) == (NAMESPACE, DIMENSION)


def not_found(what: str, request: Mapping[str, Any], more: str = "") -> ApiError:
    """Return the error for what is not there, in AWS's words."""
    return ApiError(
        "ObjectNotFoundException",
        f"{what} for service namespace: {request['ServiceNamespace']}, resource ID: {request['ResourceId']}, "
        f"scalable dimension: {request['ScalableDimension']}{more}",
    )


def _told(target: Resource) -> dict[str, Any]:
    document = {name: value for name, value in target.document.items() if name != "EndpointCreated"}
    return {**TARGET, "ResourceId": target.name, "CreationTime": target.created, **document}
