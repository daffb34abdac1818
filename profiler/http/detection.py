"""Finds out what a server speaks, by asking it. Nothing is followed elsewhere: no redirects, no proxies."""

from __future__ import annotations

import http.client
import json
import re
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from servefit.errors import MeasurementError, SpecError
from servefit.profiler.http.address import Address
from servefit.profiler.http.destination import DEFAULT_TENSOR, Destination

if TYPE_CHECKING:
    import numpy as np

_MODEL_PATH = re.compile(r"(?P<model>/v2/models/(?P<name>[^/?]+)(/versions/[^/?]+)?)(/infer)?/?")
_LONGEST_ANSWER_BYTES = 1 << 20
_DATATYPES: dict[str, Literal["FP32", "FP64"]] = {"FP32": "FP32", "FP64": "FP64"}


def detect(url: str, *, rows: np.ndarray, model: str | None = None, timeout_s: float = 10.0) -> Destination:
    """How the server at ``url`` takes ``rows``, float32 (n, features).

    The Open Inference Protocol, if the path is that of a model or GET /v2 answers; SageMaker's container contract, if
    the path is /invocations or GET /ping answers, with CSV unless the server takes the first row in JSON alone; else a
    POST of bare JSON rows to the path. ``model`` is the name of the model where the server has several.

    Raises SpecError for a URL or a model that makes no sense, and MeasurementError where nobody answers.
    """
    address = Address.parse(url)
    asking = _Asking(address, timeout_s)
    if named := _MODEL_PATH.fullmatch(address.path):
        return _open_inference(asking, address.at(f"{named['model']}/infer"), named["name"])
    if address.path == "/":
        if asking.get("/v2").status == http.client.OK:
            name = model or _only_model(asking)
            return _open_inference(asking, address.at(f"/v2/models/{name}/infer"), name)
        if asking.get("/ping").status == http.client.OK:
            return _sagemaker(asking, address.at("/invocations"), rows)
    if address.path.partition("?")[0].endswith("/invocations"):
        return _sagemaker(asking, address, rows)
    return Destination(address=address, form="json")


def _open_inference(asking: _Asking, address: Address, model: str) -> Destination:
    """The model's own metadata say how its input is called."""
    described = asking.get(address.path.removesuffix("/infer"))
    inputs = described.json().get("inputs") if described.status == http.client.OK else None
    first = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict) else None
    if described.status == http.client.NOT_FOUND:
        raise SpecError("model", model, f"is not served at {address.url}", remedy="say which one is: --model NAME")
    if first is None:
        return Destination(address=address, form="open-inference", model=model)
    datatype = first.get("datatype")
    if datatype not in _DATATYPES:
        raise SpecError("model", model, f"takes {datatype!r:.40} as input, and rows are FP32 or FP64")
    return Destination(
        address=address,
        form="open-inference",
        model=model,
        tensor=str(first.get("name", DEFAULT_TENSOR)),
        datatype=_DATATYPES[datatype],
    )


def _only_model(asking: _Asking) -> str:
    """The name of the one model of a server that lists its models."""
    listed = asking.post("/v2/repository/index", {"content-type": "application/json"}, b"{}").value()
    names = sorted({str(one["name"]) for one in listed if isinstance(one, dict) and "name" in one})
    if len(names) == 1:
        return names[0]
    known = f"serves {', '.join(names)}" if names else "does not say which models it serves"
    raise SpecError("model", None, f"is not named, and the server {known}", remedy="say which one: --model NAME")


def _sagemaker(asking: _Asking, address: Address, rows: np.ndarray) -> Destination:
    for form in ("sagemaker-csv", "sagemaker-json"):
        destination = Destination.of(address.url, form)
        (request,) = destination.requests(rows[:1])
        head, _, body = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
        if asking.post(address.path, headers, body).status == http.client.OK:
            return destination
    return Destination.of(address.url, "sagemaker-csv")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes

    def value(self) -> list[Any]:
        """The JSON list that the body is; empty for anything else."""
        found = self._decoded()
        return found if isinstance(found, list) else []

    def json(self) -> dict[str, Any]:
        """The JSON object that the body is; empty for anything else."""
        found = self._decoded()
        return found if isinstance(found, dict) else {}

    def _decoded(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _Asking:
    """Asks the server at ``address`` one thing at a time, over a connection each."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def get(self, path: str) -> _Answer:
        return self._ask("GET", path, {}, None)

    def post(self, path: str, headers: dict[str, str], body: bytes) -> _Answer:
        return self._ask("POST", path, headers, body)

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> _Answer:
        address = self._address
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        with closing(kind(address.host, address.port, timeout=self._timeout_s)) as connection:
            try:
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                return _Answer(answer.status, answer.read(_LONGEST_ANSWER_BYTES))
            except (OSError, http.client.HTTPException) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
                raise MeasurementError(
                    f"{address.at(path).url} does not answer: {reason}", remedy="start the server, or correct the URL"
                ) from error
