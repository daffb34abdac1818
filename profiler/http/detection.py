"""Finds out what a server speaks, by asking it. Nothing is followed elsewhere: no redirects, no proxies."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

from servefit.errors import SpecError
from servefit.profiler.http.asking import ask, get, post
from servefit.profiler.http.destination import DEFAULT_TENSOR, Destination

if TYPE_CHECKING:
    import numpy as np

    from servefit.profiler.http.address import Address

_MODEL_PATH = re.compile(r"(?P<model>/v2/models/(?P<name>[^/?]+)(/versions/[^/?]+)?)(/infer)?/?")
_DATATYPES: dict[str, Literal["FP32", "FP64"]] = {"FP32": "FP32", "FP64": "FP64"}


def detect(address: Address, *, rows: np.ndarray, model: str | None = None, timeout_s: float = 10.0) -> Destination:
    """How the server at ``address``, which was looked up, takes ``rows``, float32 (n, features).

    The Open Inference Protocol, if the path is that of a model or GET /v2 answers; SageMaker's container contract, if
    the path is /invocations or GET /ping answers, with CSV unless the server takes the first row in JSON alone; else a
    POST of bare JSON rows to the path. ``model`` is the name of the model where the server has several.

    Raises SpecError for a model that makes no sense, and MeasurementError where nobody answers.
    """
    if named := _MODEL_PATH.fullmatch(address.path):
        return _open_inference(address.at(f"{named['model']}/infer"), named["name"], timeout_s)
    if address.path == "/":
        if get(address.at("/v2"), timeout_s=timeout_s).is_success:
            name = model or _only_model(address, timeout_s)
            return _open_inference(address.at(f"/v2/models/{name}/infer"), name, timeout_s)
        if get(address.at("/ping"), timeout_s=timeout_s).is_success:
            return _sagemaker(address.at("/invocations"), rows, timeout_s)
    if address.path.partition("?")[0].endswith("/invocations"):
        return _sagemaker(address, rows, timeout_s)
    return Destination(address=address, form="json")


def _open_inference(address: Address, model: str, timeout_s: float) -> Destination:
    """The model's own metadata say how its input is called."""
    described = get(address.at(address.path.removesuffix("/infer")), timeout_s=timeout_s)
    metadata = described.value() if described.is_success else None
    inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
    first = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict) else None
    if described.status == HTTPStatus.NOT_FOUND:
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


def _only_model(address: Address, timeout_s: float) -> str:
    """The name of the one model of a server that lists its models."""
    listed = post(address.at("/v2/repository/index"), b"{}", timeout_s=timeout_s).value()
    models = listed if isinstance(listed, list) else []
    names = sorted({str(one["name"]) for one in models if isinstance(one, dict) and "name" in one})
    if len(names) == 1:
        return names[0]
    known = f"serves {', '.join(names)}" if names else "does not say which models it serves"
    raise SpecError("model", None, f"is not named, and the server {known}", remedy="say which one: --model NAME")


def _sagemaker(address: Address, rows: np.ndarray, timeout_s: float) -> Destination:
    for form in ("sagemaker-csv", "sagemaker-json"):
        destination = Destination.to(address, form)
        (request,) = destination.requests(rows[:1])
        if ask(address, request, timeout_s=timeout_s).is_success:
            return destination
    return Destination.to(address, "sagemaker-csv")
