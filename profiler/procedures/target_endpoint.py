"""From a URL and a payload to what is sent where: the guard of other machines, the protocol, and rows or documents.

By the time a target is there, the endpoint has answered a request as the load clients will send them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import quote

import numpy as np

from servefit.errors import MeasurementError, PayloadMismatch, SpecError
from servefit.profiler.drivers.http.address import Address
from servefit.profiler.drivers.http.bodies import check_sizes
from servefit.profiler.drivers.http.destination import Destination, Documents
from servefit.profiler.drivers.http.detection import detect, is_servefit
from servefit.profiler.drivers.http.resolution import resolve_address
from servefit.profiler.drivers.http.single_requests import get, send_request
from servefit.serving.protocols.datatypes import DTYPES

if TYPE_CHECKING:
    from servefit.backends.model import Signature
    from servefit.backends.model.packing import Packing
    from servefit.backends.payload import Payload
    from servefit.profiler.drivers.http.bodies import Tensor

Protocol: TypeAlias = Literal[
    "auto", "open-inference", "open-inference-binary", "sagemaker-csv", "sagemaker-json", "sagemaker-opaque", "json"
]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

_MODELS = "/v2/models/"
_TRIED_REQUESTS = 3
"""One of them may be refused for its values alone."""

_MAX_FEATURES = 100_000
"""Of rows that are drawn for a server as it asks for them: one takes 400 KB then."""
_PLACEHOLDER = np.zeros((1, 1), dtype=np.float32)
"""In the place of rows, where it is asked what a server speaks and none are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTarget:
    """The endpoint that load is for, and what it is sent.

    ``rows`` are (n, features), and nothing where ``destination`` holds documents of its own. ``payload`` says
    what they come from, ``synthetic`` that they are random, ``truncated_from`` how many there were where only the first
    are used, and ``unused_columns`` which of its columns the model does not have. ``is_here`` says that it is this
    machine.
    """

    destination: Destination
    rows: np.ndarray
    payload: str
    synthetic: bool
    truncated_from: int | None
    unused_columns: tuple[str, ...] = ()
    is_here: bool


def resolve_target(
    url: str,
    *,
    payload: Any = None,
    protocol: str = "auto",
    model: str | None = None,
    rows_per_request: int = 1,
    seed: int = 0,
    timeout_s: float = 10.0,
    allow_remote: bool = False,
) -> LoadTarget:
    """Find out how the endpoint at ``url`` takes ``payload``, and see to it that it answers.

    ``payload`` is a path, an array, or None for random rows, where the endpoint says how wide they are; or Bodies, and
    what these take for "sagemaker-opaque", which are sent as they are. Where the
    protocol is plain JSON, the JSON objects of a payload are sent as they stand. ``model`` is the name of the model
    where the server has several. Nothing is sent to another machine unless ``allow_remote``.

    Raises SpecError for nonsense, PayloadMismatch, and MeasurementError for an endpoint that does not answer, or
    refuses what it is sent, with what it says.
    """
    if protocol not in PROTOCOLS:
        raise SpecError.unknown("protocol", str(protocol), PROTOCOLS)
    address, is_here = resolve_address(Address.parse(url), allow_remote=allow_remote, timeout_s=timeout_s)
    probe = _EndpointProbe(address=address, model=None if model is None else quote(model, safe=""), timeout_s=timeout_s)
    destination, sample = _destination_and_payload(probe, payload, protocol, seed)
    check_sizes(sample.rows, destination.packing, rows_per_request=rows_per_request, form=destination.form)
    _check_answers(destination, sample.rows, rows_per_request, timeout_s)
    return LoadTarget(
        destination=destination,
        rows=sample.rows,
        payload=sample.source,
        synthetic=sample.synthetic,
        truncated_from=sample.truncated_from,
        unused_columns=sample.unused_columns,
        is_here=is_here,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _EndpointProbe:
    """Asks the endpoint itself how it takes rows."""

    address: Address
    model: str | None
    timeout_s: float

    def detect(self, rows: np.ndarray = _PLACEHOLDER) -> Destination:
        return detect(self.address, rows=rows, model=self.model, timeout_s=self.timeout_s)

    def serves_script(self) -> bool:
        """Return whether it is an endpoint of servefit that serves a script."""
        from servefit.backends.model.opaque import SIGNATURE

        if self.address.path.removesuffix("/invocations") not in ("", "/"):
            return False
        root = self.address.at("/")
        if not is_servefit(root, timeout_s=self.timeout_s):
            return False
        tensors = replace(self, address=root).detect().tensors
        return [tensor.name for tensor in tensors] == [tensor.name for tensor in SIGNATURE.inputs]

    def as_described(self, protocol: str) -> Destination | None:
        """Return the model's destination in the Open Inference Protocol if that names its columns or if requests have
        sizes of their own; else None. With another ``protocol``, only an endpoint of servefit is asked for its
        names."""
        address, is_of_model = self.address, _MODELS in self.address.path
        if (is_of_model or address.path == "/") and protocol in ("auto", "open-inference", "open-inference-binary"):
            is_asked = is_of_model or get(address.at("/v2"), timeout_s=self.timeout_s).is_success
        else:
            takes_csv = protocol.startswith("sagemaker") or address.path.endswith("/invocations")
            is_asked = takes_csv and is_servefit(address, timeout_s=self.timeout_s)
        if not is_asked:
            return None
        destination = (self if is_of_model else replace(self, address=address.at("/"))).detect()
        named = len(destination.tensors) == 1 and destination.tensors[0].feature_names
        return destination if named or destination.packing is not None else None


def _destination_and_payload(
    probe: _EndpointProbe, payload: Any, protocol: str, seed: int
) -> tuple[Destination, Payload]:
    """Return where load goes, and rows; where documents go there are none."""
    from servefit.backends.payload.bodies import Bodies

    if protocol == "sagemaker-opaque" or (protocol == "auto" and isinstance(payload, Bodies)):
        return _opaque(probe.address, payload)
    try:
        return _destination_and_rows(probe, payload, protocol, seed)
    except (PayloadMismatch, SpecError):
        # What is no payload of rows may be one for a script.
        if protocol != "auto" or not probe.serves_script():
            raise
    return _opaque(probe.address, payload)


def _opaque(address: Address, payload: Any) -> tuple[Destination, Payload]:
    from servefit.backends.model.opaque import SIGNATURE
    from servefit.backends.payload.bodies import bodies_payload

    return Destination.to(address, "sagemaker-opaque"), bodies_payload(payload, SIGNATURE)


def _destination_and_rows(probe: _EndpointProbe, payload: Any, protocol: str, seed: int) -> tuple[Destination, Payload]:
    """Return the same for a server that takes rows, or documents."""
    from servefit.backends.payload import Payload
    from servefit.backends.payload.json_rows import objects_of
    from servefit.backends.payload.reading import payload_of

    if payload is None:
        sample = _random_rows(probe, seed)
        return _destination(probe, protocol, sample.rows), sample
    objects = objects_of(payload) if protocol in ("auto", "json") else ()
    if objects and (protocol == "json" or probe.detect().form == "json"):
        source = Path(payload).name if isinstance(payload, str | Path) else "objects"
        return Documents.at(probe.address, objects), Payload(rows=_PLACEHOLDER, source=source)
    described = probe.as_described(protocol)
    if described is not None:
        sample = payload_of(payload, signature_of(described))
        destination = _destination(probe, protocol, sample.rows)
        return replace(destination, packing=described.packing), sample
    sample = payload_of(payload)
    destination = _destination(probe, protocol, sample.rows)
    signature = signature_of(destination, sample.rows.shape[1])
    # What the endpoint takes is known now: names of tensors, and datatypes that are not those of rows of tables.
    return destination, sample if signature is None else payload_of(payload, signature)


def _random_rows(probe: _EndpointProbe, seed: int) -> Payload:
    """Draw rows as wide as the endpoint says that its model takes them."""
    from servefit.backends.payload.reading import check_seed
    from servefit.backends.payload.synthetic import random_payload

    check_seed(seed)
    address = probe.address
    if _MODELS not in address.path:
        probe = replace(probe, address=address.at("/"))
    if get(address.at("/v2"), timeout_s=probe.timeout_s).is_success:
        destination = probe.detect()
        features = sum(_width(tensor) for tensor in destination.tensors)
        if 0 < features <= _MAX_FEATURES and all(tensor.shape is not None for tensor in destination.tensors):
            signature = signature_of(destination, features)
            return random_payload(features, seed=seed, inputs=() if signature is None else signature.inputs)
    raise SpecError(
        "payload", None, "is not given, and the server does not say what its model takes", remedy="give sample rows"
    )


def signature_of(destination: Destination, width: int = 0) -> Signature | None:
    """Return the signature of a model behind the Open Inference Protocol, with rows of ``width`` columns if the server
    does not state their number; None for a table of floats without names, or if it is unknown."""
    from servefit.backends.model import Input, Signature, Task

    if destination.packing is not None:
        return _packed_signature(destination.packing)
    tensors = destination.tensors
    is_table = len(tensors) == 1 and tensors[0].datatype in ("FP32", "FP64")
    if (is_table and not tensors[0].feature_names) or not destination.form.startswith("open-inference"):
        return None
    inputs: list[Input] = []
    for tensor in tensors:
        shape = (width,) if tensor.shape is None else tensor.shape
        start = inputs[-1].stop if inputs else 0
        datatype = DTYPES[tensor.datatype].name
        stop = start + math.prod(shape)
        inputs.append(Input(name=tensor.name, datatype=datatype, shape=shape, start=start, stop=stop))
    whole = tuple(column for one in inputs if one.is_whole for column in range(one.start, one.stop))
    in_columns = all(one.stop - one.start == 1 for one in inputs)
    names = tensors[0].feature_names if len(inputs) == 1 else tuple(one.name for one in inputs if in_columns)
    return Signature(
        task=Task.TENSOR,
        features=inputs[-1].stop,
        outputs=1,
        feature_names=names,
        accepts_missing=not whole,
        integer_features=whole,
        inputs=tuple(inputs),
    )


def _packed_signature(packing: Packing) -> Signature:
    """Return what a model takes whose requests have sizes of their own."""
    from servefit.backends.model import Input, Signature, Task
    from servefit.backends.model.types import Size

    return Signature(
        task=Task.TENSOR,
        features=0,
        outputs=1,
        accepts_missing=False,
        inputs=tuple(tensor for tensor in packing.tensors if isinstance(tensor, Input)),
        sizes=tuple(Size(name=name, usual=1) for name in packing.sizes),
    ).of_sizes({})


def _width(tensor: Tensor) -> int:
    return 0 if tensor.shape is None else math.prod(tensor.shape)


def _destination(probe: _EndpointProbe, protocol: str, rows: np.ndarray) -> Destination:
    """Return the destination of rows in ``protocol``. The server is asked for the names of its inputs in any case."""
    match protocol:
        case "auto":
            return probe.detect(rows)
        case "open-inference" | "open-inference-binary":
            destination = probe.detect(rows)
            if destination.form == "open-inference":
                return replace(destination, form=protocol)
            return Destination.to(probe.address, protocol, model=probe.model)
        case "sagemaker-csv" | "sagemaker-json" | "json":
            return Destination.to(probe.address, protocol)
    raise SpecError.unknown("protocol", protocol, PROTOCOLS)


def _check_answers(destination: Destination, rows: np.ndarray, rows_per_request: int, timeout_s: float) -> None:
    """Send a few requests one by one: what a server says to those that it refuses is not read once there is load."""
    tried = destination.requests(rows[: _TRIED_REQUESTS * rows_per_request], rows_per_request=rows_per_request)
    refused: list[str] = []
    for request in tried[:_TRIED_REQUESTS]:
        answer = send_request(destination.address, request, timeout_s=timeout_s)
        if answer.is_success:
            return
        refused.append(answer.described())
    raise MeasurementError(
        f"{destination.address.url} answers no request: {'; '.join(dict.fromkeys(refused))}",
        remedy="see whether it takes this payload in this form",
    )
