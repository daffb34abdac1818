"""The service and the operation that a request is for.

All services are at one address, so the name of the host does not tell them apart, as it does at AWS. The signature
says for which service it was made, headers and the body which operation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.aws.wire.presigned import is_presigned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.aws.wire.messages import HttpRequest

_INVOCATION = re.compile(r"/endpoints/[^/]+/invocations")

_OF_SCOPES: Mapping[str, str] = {
    "sagemaker": "sagemaker",
    "s3": "s3",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "sts": "sts",
    "iam": "iam",
    "application-autoscaling": "application-autoscaling",
}
"""The services by the name that signatures have for them."""

_OF_TARGETS: Mapping[str, str] = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
    "AnyScaleFrontendService": "application-autoscaling",
}
"""The services by what X-Amz-Target begins with."""

_OF_VERSIONS: Mapping[str, str] = {"2010-08-01": "cloudwatch", "2011-06-15": "sts", "2010-05-08": "iam"}
"""The services of the query protocol by the version that a form has."""

REGION = "us-east-1"
"""The region of a request that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOperation:
    """``service`` is botocore's name, ``operation`` None where the protocol has it in method and path. ``is_sure`` says
    that the headers tell the service, and not the body."""

    service: str
    operation: str | None
    region: str
    is_sure: bool = True


def destination(request: HttpRequest) -> ServiceOperation:
    """Return where a request is to go, which may be a service that is not answered here. One that says nothing of any
    service is for S3, whose requests need not be signed."""
    region, scope = _scope(request)
    target = request.headers.get("x-amz-target", "")
    prefix, _, operation = target.partition(".")
    form = request.form
    if scope != "s3" and _INVOCATION.fullmatch(request.path):
        return ServiceOperation(service="sagemaker-runtime", operation="InvokeEndpoint", region=region)
    # A service that is not answered here goes by the name that the signature has for it.
    named = _OF_TARGETS.get(prefix) or _OF_SCOPES.get(scope) or scope or None
    service = named or _OF_VERSIONS.get(form.get("Version", "")) or "s3"
    return ServiceOperation(
        service=service, operation=operation or form.get("Action"), region=region, is_sure=named is not None
    )


def _scope(request: HttpRequest) -> tuple[str, str]:
    """Return region and service of a signature. Presigned URLs are for S3 alone."""
    if is_presigned(request.query):
        return REGION, "s3"
    match = re.search(r"Credential=([^,\s]+)", request.headers.get("authorization", ""))
    parts = match[1].split("/") if match else []
    return (parts[2], parts[3]) if len(parts) == 5 and all(parts) else (REGION, "")


def signed_for(service: str) -> str:
    """Return the name that signatures have for a service."""
    return {"cloudwatch": "monitoring", "sagemaker-runtime": "sagemaker"}.get(service, service)
