"""SageMaker Runtime: InvokeEndpoint, which is passed on to the endpoint on this machine, and kept for its metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import unquote

from servefit.aws.endpoints.invocations import NO_ANSWER
from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpAnswer
from servefit.profiler.drivers.http.server_timing import UNKNOWN_NS, read_timing

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.aws.endpoints.invocations import InvocationLogs
    from servefit.aws.services.sagemaker.endpoints import Served
    from servefit.aws.wire.messages import HttpRequest

_TIMEOUT_S = 60.0
"""Of SageMaker: a model has to answer within it."""

_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")

_OF_SAGEMAKER = "x-amzn-sagemaker-"
"""Before the names of the headers that members of InvokeEndpoint are sent in."""

_VARIANT = f"{_OF_SAGEMAKER}target-variant"

_TAKEN = (*_PASSED_ON, _VARIANT, f"{_OF_SAGEMAKER}inference-id")
"""The InferenceId goes to what captures data at AWS, which nothing does here."""

_NO_COMPONENTS = (
    "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference "
    "components. Please remove the Inference Component Name header and try again."
)
"""In AWS's words."""

_NS_PER_US = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exchange:
    """The answer of an endpoint. ``model_us`` is the time that it says it had the request, None where it does not."""

    status: int
    content: bytes
    content_type: str
    model_us: float | None = None


class Runtime:
    """Invokes endpoints. ``served_by`` says what answers for an endpoint, by its name, and raises ApiError where there
    is none. Each invocation is kept in ``logs``."""

    def __init__(self, served_by: Callable[[str], Served], logs: InvocationLogs) -> None:
        self._served_by = served_by
        self._logs = logs

    def invoke(self, request: HttpRequest, region: str) -> HttpAnswer:
        """Return what the endpoint answers. Raises ApiError: ValidationError for an endpoint that is not there,
        ModelError for one that refuses the body or does not answer."""
        began_s = time.perf_counter()
        name = unquote(request.path.split("/")[2])
        served = self._served_by(name)
        _check_target(request, name, served)
        sent_s = time.perf_counter()
        try:
            exchange = _exchanged(request, served.port)
        except (OSError, HTTPException) as error:
            exchange = _Exchange(
                status=NO_ANSWER, content=(str(error) or type(error).__name__).encode(), content_type=""
            )
        ended_s = time.perf_counter()
        model_us = 1e6 * (ended_s - sent_s) if exchange.model_us is None else exchange.model_us
        self._logs.add(
            served.variant,
            at_s=time.time(),
            model_us=model_us,
            overhead_us=1e6 * (ended_s - began_s) - model_us,
            status=exchange.status,
        )
        if exchange.status != 200:
            raise self._model_error(name, region, exchange.status or 503, exchange.content.decode("utf-8", "replace"))
        headers = {"content-type": exchange.content_type, "x-amzn-invoked-production-variant": served.variant.name}
        return HttpAnswer(headers=headers, body=exchange.content)

    @staticmethod
    def _model_error(name: str, region: str, status: int, text: str) -> ApiError:
        message = (
            f'Received client error ({status}) from primary with message "{text[:1000]}". '
            f"See api/endpoints/{name}/stderr.txt in servefit's state folder for the endpoint's own messages."
        )
        fields: dict[str, object] = {
            "OriginalStatusCode": status,
            "OriginalMessage": text[:1000],
            "LogStreamArn": f"arn:aws:logs:{region}:servefit:log-group:/aws/sagemaker/Endpoints/{name}",
        }
        return ApiError("ModelError", message, status=424, fields=fields)


def _check_target(request: HttpRequest, name: str, served: Served) -> None:
    """Raise ApiError, ValidationError, for a request that is for something else than the one model of the one variant
    of an endpoint."""
    for header in request.headers:
        member = header.removeprefix(_OF_SAGEMAKER)
        if header == member or header in _TAKEN:
            continue
        reason = f"Endpoint {name} does not support {member.title().replace('-', '')}: leave it out."
        if member == "target-model":
            reason = f"Endpoint {name} is not a multi-model endpoint and does not support target model header."
        raise ApiError("ValidationError", _NO_COMPONENTS if member == "inference-component" else reason)
    own, asked = served.variant.name, request.headers.get(_VARIANT)
    if asked not in (None, own):
        raise ApiError("ValidationError", f"Variant {asked} of endpoint {name} not found: its variant is {own}.")


def _exchanged(request: HttpRequest, port: int) -> _Exchange:
    """Pass a request on, and return the answer. Raises OSError and HTTPException."""
    headers = {key: request.headers[key] for key in _PASSED_ON if key in request.headers}
    connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", "/invocations", request.body, headers)
        answer = connection.getresponse()
        queued_ns, predicted_ns = read_timing(answer.getheader("server-timing", "").encode("latin-1"))
        return _Exchange(
            status=answer.status,
            content=answer.read(),
            content_type=answer.getheader("content-type", "application/octet-stream"),
            model_us=None if predicted_ns == UNKNOWN_NS else (queued_ns + predicted_ns) / _NS_PER_US,
        )
    finally:
        connection.close()
