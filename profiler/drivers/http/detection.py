"""Finds out what a server speaks, by asking it. Nothing is followed elsewhere: no redirects, no proxies."""

from __future__ import annotations

import math
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from servefit.backends.model.packing import Packing
from servefit.backends.model.texts import TEXT_SIZE
from servefit.backends.model.types import Input
from servefit.errors import SpecError
from servefit.profiler.drivers.http.bodies import Tensor
from servefit.profiler.drivers.http.destination import Destination
from servefit.profiler.drivers.http.single_requests import get, post, send_request
from servefit.serving.protocols.datatypes import BYTES, DTYPES, numpy_name
from servefit.serving.protocols.metadata import FEATURE_NAMES, SERVER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from servefit.profiler.drivers.http.address import Address

_SAY_WHICH = "say which one: --model NAME (model=NAME)"

_MODEL_PATH = re.compile(r"(?P<model>/v2/models/(?P<name>[^/?]+)(/versions/[^/?]+)?)(/infer)?/?")


def detect(address: Address, *, rows: np.ndarray, model: str | None = None, timeout_s: float = 10.0) -> Destination:
    """Find out how the server at ``address``, which was looked up, takes ``rows`` (n, features).

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


def is_servefit(address: Address, *, timeout_s: float) -> bool:
    """Return whether the server at ``address`` says in the Open Inference Protocol that it is servefit's. Raises
    MeasurementError where nobody answers."""
    answer = get(address.at("/v2"), timeout_s=timeout_s)
    metadata = answer.value() if answer.is_success else None
    return isinstance(metadata, dict) and metadata.get("name") == SERVER


def _open_inference(address: Address, model: str, timeout_s: float) -> Destination:
    """Read the names of the inputs in the model's own metadata."""
    described = get(address.at(address.path.removesuffix("/infer")), timeout_s=timeout_s)
    metadata = described.value() if described.is_success else None
    inputs = metadata.get("inputs") if isinstance(metadata, dict) else None
    if described.status == HTTPStatus.NOT_FOUND:
        raise SpecError("model", model, f"is not served at {address.url}", remedy=_SAY_WHICH)
    if not isinstance(inputs, list) or not inputs or not all(isinstance(described, dict) for described in inputs):
        return Destination(address=address, form="open-inference", model=model)
    tensors = tuple(tensor_of(described, model) for described in inputs)
    packing = None
    if not _may_be_a_table(inputs, tensors) or is_servefit(address, timeout_s=timeout_s):
        packing = packing_of(inputs, tensors, model)
    return Destination(address=address, form="open-inference", model=model, tensors=tensors, packing=packing)


def _may_be_a_table(inputs: Sequence[dict[str, Any]], tensors: Sequence[Tensor]) -> bool:
    """Return whether a tensor that leaves its size open may be a table of any width, of which other servers do not say
    how wide it is. servefit does."""
    shape = inputs[0].get("shape")
    is_of_numbers = len(tensors) == 1 and tensors[0].datatype != BYTES
    return is_of_numbers and tensors[0].shape is None and (not isinstance(shape, list) or len(shape) < 3)


def packing_of(inputs: Sequence[dict[str, Any]], tensors: Sequence[Tensor], model: str) -> Packing | None:
    """Return how the inputs lie in a row where requests have sizes of their own. Each has a name of ours: metadata do
    not say which of them are the same. None where there are none. Raises SpecError."""
    texts = any(tensor.datatype == BYTES for tensor in tensors)
    if texts and all(tensor.shape == (1,) for tensor in tensors):
        columns = [
            Input(name=tensor.name, datatype=numpy_name(tensor.datatype), shape=(), start=0, stop=0)
            for tensor in tensors
        ]
        return Packing(columns, [TEXT_SIZE])
    if all(tensor.shape is not None for tensor in tensors) and not texts:
        return None
    shapes = [described.get("shape") for described in inputs]
    packed, names = [], []
    for tensor, sizes in zip(tensors, shapes, strict=True):
        if not isinstance(sizes, list) or not sizes or not all(type(size) is int for size in sizes):
            raise SpecError("model", model, f"does not say what shape its input {tensor.name!r:.60} has")
        shape = tuple(size if size > 0 else f"{tensor.name}.{axis}" for axis, size in enumerate(sizes[1:], start=1))
        names += [size for size in shape if isinstance(size, str)]
        packed.append(Input(name=tensor.name, datatype=numpy_name(tensor.datatype), shape=shape, start=0, stop=0))
    return Packing(packed, [*names, TEXT_SIZE] if texts else names)


def tensor_of(described: dict[str, Any], model: str) -> Tensor:
    """Read an input of ``model``, as its metadata have it. Raises SpecError for one that takes no numbers."""
    datatype, sizes = described.get("datatype"), described.get("shape")
    if not isinstance(datatype, str) or datatype not in (*DTYPES, BYTES):
        raise SpecError("model", model, f"takes {datatype!r:.40} as input, and rows are numbers and texts")
    row = sizes[1:] if isinstance(sizes, list) and sizes else [None]
    shape = tuple(row) if all(type(size) is int and size > 0 for size in row) else None
    return Tensor(str(described.get("name", Tensor().name)), datatype, shape, _feature_names(described, shape))


def _feature_names(described: dict[str, Any], shape: tuple[int, ...] | None) -> tuple[str, ...]:
    """Return the names of the columns of an input of that ``shape``, as an endpoint of servefit tells them; none where
    they do not fit it."""
    parameters = described.get("parameters")
    names = parameters.get(FEATURE_NAMES) if isinstance(parameters, dict) else None
    if not isinstance(names, list) or shape is None or len(names) != math.prod(shape):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()


def _only_model(address: Address, timeout_s: float) -> str:
    """Return the name of the only model of a server that lists its models."""
    listed = post(address.at("/v2/repository/index"), b"{}", timeout_s=timeout_s).value()
    models = listed if isinstance(listed, list) else []
    names = sorted({str(entry["name"]) for entry in models if isinstance(entry, dict) and "name" in entry})
    if len(names) == 1:
        return names[0]
    problem = f"serves {', '.join(names)}" if names else "does not say which models it serves"
    raise SpecError("model", None, f"is not named, and the server {problem}", remedy=_SAY_WHICH)


def _sagemaker(address: Address, rows: np.ndarray, timeout_s: float) -> Destination:
    for form in ("sagemaker-csv", "sagemaker-json"):
        destination = Destination.to(address, form)
        (request,) = destination.requests(rows[:1])
        if send_request(address, request, timeout_s=timeout_s).is_success:
            return destination
    return Destination.to(address, "sagemaker-csv")
