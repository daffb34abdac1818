"""SageMaker Runtime: InvokeEndpoint, which is passed on to the endpoint on this machine."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING
from urllib.parse import unquote

from servefit.aws.wire.errors import ApiError
from servefit.aws.wire.messages import HttpAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from servefit.aws.wire.messages import HttpRequest

_TIMEOUT_S = 60.0
"""Of SageMaker: a model has to answer within it."""

_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")


class Runtime:
    """Invokes endpoints. ``port_of`` says at which port of this machine an endpoint listens, by its name, and raises
    ApiError where there is none."""

    def __init__(self, port_of: Callable[[str], int]) -> None:
        self._port_of = port_of

    def invoke(self, request: HttpRequest, region: str) -> HttpAnswer:
        """Return what the endpoint answers. Raises ApiError: ValidationError for an endpoint that is not there,
        ModelError for one that refuses the body or does not answer."""
        name = unquote(request.path.split("/")[2])
        port = self._port_of(name)
        headers = {key: request.headers[key] for key in _PASSED_ON if key in request.headers}
        connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", "/invocations", request.body, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            content_type = answer.getheader("content-type", "application/octet-stream")
        except (OSError, HTTPException) as error:
            raise self._model_error(name, region, 503, str(error) or type(error).__name__) from error
        finally:
            connection.close()
        if status != 200:
            raise self._model_error(name, region, status, content.decode("utf-8", "replace"))
        return HttpAnswer(headers={"content-type": content_type}, body=content)

    @staticmethod
    def _model_error(name: str, region: str, status: int, text: str) -> ApiError:
        message = (
            f'Received client error ({status}) from primary with message "{text[:1000]}". '
            f"See the endpoint's own messages in servefit's state folder."
        )
        fields: dict[str, object] = {
            "OriginalStatusCode": status,
            "OriginalMessage": text[:1000],
            "LogStreamArn": f"arn:aws:logs:{region}:servefit:log-group:/aws/sagemaker/Endpoints/{name}",
        }
        return ApiError("ModelError", message, status=424, fields=fields)
