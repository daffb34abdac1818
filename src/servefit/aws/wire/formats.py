"""Requests and answers of the JSON protocols and of the query protocol, which has forms and XML.

CloudWatch speaks both: which one, boto3's version decides. XML is written by moto, and no other module imports its
serializers. Forms are read in ``forms``, since moto takes the square of their length, and JSON here, since a value of a
wrong type is to be refused and not to be tried.
"""

from __future__ import annotations

import json
import re
from math import nan
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from xml.sax.saxutils import escape

from servefit.aws.wire import values
from servefit.aws.wire.errors import ApiError, unreadable
from servefit.aws.wire.forms import read_form
from servefit.aws.wire.messages import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moto.core.model import OperationModel

    from servefit.aws.wire.messages import HttpRequest

Protocol: TypeAlias = Literal["json", "query"]

_JSON_VERSIONS = {"cloudwatch": "1.0"}
"""Versions of the JSON protocol other than 1.1."""


_QUERY = frozenset({"cloudwatch", "sts", "iam"})
"""The services that speak the query protocol."""

_ONLY_JSON = frozenset({"sagemaker", "sagemaker-runtime", "logs", "application-autoscaling"})
"""The services that do not take forms, which any web page can send."""

_CODES = {"ValidationException": "ValidationError"}
"""Names of errors that these services have in place of the usual ones."""


def protocol_of(service: str, request: HttpRequest) -> Protocol:
    """Return the protocol that a request to a service is in."""
    return "query" if request.is_form and service not in _ONLY_JSON else "json"


def read_request(service: str, operation: OperationModel, request: HttpRequest) -> dict[str, Any]:
    """Return the input of an operation. Raises ApiError, SerializationException, for what is not of its form."""
    if operation.input_shape is None:
        return {}
    if protocol_of(service, request) == "json":
        try:
            parameters: dict[str, Any] = values.read(operation.input_shape, _object(request.body))
        except RecursionError as error:
            raise unreadable("the body is nested too deep") from error
        return parameters
    return read_form(operation.input_shape, request.form)


def write_answer(
    service: str, operation: OperationModel, result: Mapping[str, Any], request: HttpRequest, *, request_id: str
) -> HttpAnswer:
    """Return what an operation gives as the answer to a request."""
    if protocol_of(service, request) == "query":
        from moto.core.serialize import QuerySerializer, SerializationContext

        written = QuerySerializer(operation, context=SerializationContext(request_id=request_id)).serialize(result)
        return _xml(200, str(written["body"]), request_id)
    # A number that is not available is the text NaN in AWS's JSON protocols; botocore would leave that a text, where
    # programs count on a number, and reads the bare word as one.
    is_botocore = "botocore" in request.headers.get("user-agent", "").lower()
    not_a_number = nan if is_botocore else "NaN"
    body = {} if operation.output_shape is None else values.write(operation.output_shape, result, not_a_number)
    content = json.dumps(body, allow_nan=is_botocore).encode()
    return HttpAnswer(headers=_headers(_json_type(service), request_id), body=content)


def write_error(service: str, error: ApiError, *, protocol: Protocol, request_id: str) -> HttpAnswer:
    """Return an error as an answer."""
    code = _CODES.get(error.code, error.code) if service in _QUERY else error.code
    if protocol == "query":
        content = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{escape(code)}</Code><Message>{escape(error.message)}</Message>"
            f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _xml(error.status, content, request_id)
    body = {"__type": code, "message": error.message, "Message": error.message, **error.fields}
    headers = {**_headers(_json_type(service), request_id), "x-amzn-errortype": code}
    if service == "cloudwatch":
        headers["x-amzn-query-error"] = f"{code};Sender"
    return HttpAnswer(status=error.status, headers=headers, body=json.dumps(body).encode())


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}", parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        raise unreadable(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise unreadable("the body is not a JSON object")
    return document


def _not_a_number(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


def _xml(status: int, document: str, request_id: str) -> HttpAnswer:
    """Return a document as an answer. Characters that XML does not have, which clients may send and get back, are
    replaced."""
    content = _NOT_IN_XML.sub("\ufffd", document).encode()
    return HttpAnswer(status=status, headers=_headers("text/xml", request_id), body=content)


_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _json_type(service: str) -> str:
    return f"application/x-amz-json-{_JSON_VERSIONS.get(service, '1.1')}"


def _headers(content_type: str, request_id: str) -> dict[str, str]:
    return {"content-type": content_type, "x-amzn-requestid": request_id}
