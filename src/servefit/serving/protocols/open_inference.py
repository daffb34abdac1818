"""POST /v2/models/{model}/infer: the Open Inference Protocol, version 2, with the binary tensor data extension.

The request is JSON, or JSON of Inference-Header-Content-Length bytes and then the binary data of its inputs; where that
header is 0, the body is the one input's values alone, as Triton has it. ``tensors`` makes rows of the inputs.
A network's outputs are called as it calls them, of its datatypes and shapes (``network_outputs``). All other models
have one, called "predictions", (rows, values a row), FP32 but for ONNX models whose own is of another datatype.
It is JSON unless the client asks for binary data. In JSON, ``null`` is a missing value in the input, and a prediction
that is no finite number in the output.

Where a model has one input, a request may call it anything: KServe's and MLServer's clients call it many things.
Several are told apart by name. Outputs are asked for by name, so an unknown one is refused. Parameters that are not
understood are ignored, save those that would change what the output means.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import msgspec
import numpy as np

from servefit.errors import PayloadMismatch
from servefit.serving.messages import Encode, Inference, Refused, Reply, Request
from servefit.serving.protocols.datatypes import DTYPES, datatype_of
from servefit.serving.protocols.media import refuse_encoded, text
from servefit.serving.protocols.metadata import OUTPUT, outputs_of
from servefit.serving.protocols.network_outputs import InferReply, OutputTensor, inference_answer
from servefit.serving.protocols.opaque_bodies import refuse_tensors
from servefit.serving.protocols.tensors import InputTensor, TensorParameters, rows_of_raw, rows_of_tensors
from servefit.serving.replying import refusal
from servefit.serving.routing import VERSION
from servefit.serving.rows import (
    JSON_MARKS,
    MAX_ORDINARY_BYTES,
    SHORT_BYTES,
    THOROUGH_BYTES,
    Cell,
    mismatch,
    raise_for_extreme_numbers,
    raise_for_long_body,
    raise_for_long_text,
    refuse_crowded,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from servefit.serving.config import EndpointConfig

_Content = TypeVar("_Content")
_Data: TypeAlias = list[Cell | list[Cell]]
_HEADER_LENGTH = b"inference-header-content-length"
_MAX_ID_CHARACTERS = 4096
"""It is sent back with every answer; a UUID has 36. Chosen, not measured."""


class _OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int | None = None
    shared_memory_region: str | None = None


class _RequestedOutput(msgspec.Struct):
    name: str
    parameters: _OutputParameters | None = None


class _RequestParameters(msgspec.Struct):
    binary_data_output: bool = False


class _InferRequest(msgspec.Struct, Generic[_Content]):
    inputs: list[InputTensor[_Content]]
    id: str | None = None
    outputs: list[_RequestedOutput] | None = None
    parameters: _RequestParameters | None = None


_REQUESTS = msgspec.json.Decoder(_InferRequest[_Data])
_ENCODER = msgspec.json.Encoder()


def decode(request: Request, config: EndpointConfig, *, at_once: bool = False) -> Inference:
    """Return the rows that ``request`` asks predictions of, and how to answer. Raises Refused, and TakesLong for a body
    that is not to be read ``at_once``."""
    try:
        return _inference(request, config, at_once)
    except PayloadMismatch as error:
        raise mismatch(error) from error


def _inference(request: Request, config: EndpointConfig, at_once: bool) -> Inference:
    if config.signature.opaque:
        raise refuse_tensors()
    headers, document = request.headers, request.body
    binary: bytes | memoryview = b""
    refuse_encoded(headers)
    if _HEADER_LENGTH in headers:
        length = _header_length(headers[_HEADER_LENGTH], len(document))
        if length == 0:
            plain_only = at_once and len(document) > THOROUGH_BYTES
            rows = rows_of_raw(document, config.signature, config.limits, plain_only=plain_only)
            every = {name: True for name, _, _ in outputs_of(config.signature)}
            return Inference(rows, _answer(config, None, every))
        binary = (document if len(document) <= SHORT_BYTES else memoryview(document))[length:]
        document = document[:length]
    if len(document) > SHORT_BYTES:
        if at_once:
            raise_for_long_text(document)
        refuse_crowded(document, JSON_MARKS, b"", config.signature, config.limits)
    message: _InferRequest[Any]
    plain = not config.signature.integer_features
    try:
        if not plain:
            raise_for_long_body(document, at_once=at_once)
        elif len(document) > MAX_ORDINARY_BYTES:
            raise_for_extreme_numbers(document)
        # Read as floats; whole numbers stay what they are where the model takes such.
        message = _REQUESTS.decode(document) if plain else _any_request(document)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise_for_long_body(document, at_once=at_once)
        message, plain = _any_request(document), False
    encode = _encoder(message, config)
    try:
        rows = rows_of_tensors(
            message.inputs,
            binary,
            config.signature,
            config.limits,
            plain=plain,
            plain_only=at_once and len(request.body) > THOROUGH_BYTES,
        )
    except RecursionError as error:
        raise Refused(400, "inputs: expected tensors of numbers, got JSON that is nested too deeply") from error
    return Inference(rows, encode)


def _header_length(value: bytes, body_bytes: int) -> int:
    digits = value.strip()
    if not digits.isdigit() or len(digits) > 18 or int(digits) > body_bytes:
        raise refused(
            400,
            f"inference-header-content-length: expected a length within the body's {body_bytes} bytes, "
            f"got {text(value)!r:.60}",
        )
    return int(digits)


def _any_request(document: bytes) -> _InferRequest[Any]:
    """Return a request whose data are not flat or not numbers, or that has the NaN that Python writes. Raises
    Refused."""
    try:
        content = json.loads(document.decode("utf-8-sig"))
        message = msgspec.convert(content, _InferRequest[Any])
    except UnicodeDecodeError as error:
        raise Refused(400, "body: expected JSON, got bytes that are not UTF-8 text") from error
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise refused(400, f"body: expected text, got {error.object!r:.60}") from error
    except msgspec.ValidationError as error:
        problem, _, where = str(error).partition(" - at `$")
        raise refused(400, f"{where.strip('`.') or 'body'}: {problem[:1].lower()}{problem[1:]}") from error
    except json.JSONDecodeError as error:
        raise Refused(400, f"body: expected JSON, got text that breaks off: {error}") from error
    except ValueError as error:  # an integer with more digits than Python converts
        raise refused(400, f"body: expected JSON, got {error}") from error
    except RecursionError as error:
        raise Refused(400, "body: expected a request, got JSON that is nested too deeply") from error
    if message.id is not None and any(
        "\ud800" <= character <= "\udfff" for character in message.id[:_MAX_ID_CHARACTERS]
    ):
        raise refused(400, f"id: expected text, got {message.id!r:.60}")
    return message


def _encoder(message: _InferRequest[Any], config: EndpointConfig) -> Encode:
    if message.id is not None and len(message.id) > _MAX_ID_CHARACTERS:
        raise Refused(400, f"id: expected at most {_MAX_ID_CHARACTERS} characters, got {len(message.id)}")
    binary = message.parameters is not None and message.parameters.binary_data_output
    names = [name for name, _, _ in outputs_of(config.signature)]
    wanted: dict[str, bool] = {}
    for index, output in enumerate(message.outputs or ()):
        # Earlier versions called the only output of a network OUTPUT.
        if output.name not in names and (output.name != OUTPUT or len(names) > 1):
            expected = repr(names[0]) if len(names) == 1 else f"one of {', '.join(map(repr, names)):.400}"
            raise refused(400, f"outputs[{index}].name: expected {expected}, got {output.name!r:.60}")
        wanted[output.name] = binary
        if output.parameters is None:
            continue
        for parameter in ("classification", "shared_memory_region"):
            if getattr(output.parameters, parameter) is not None:
                raise Refused(400, f"outputs[{index}].parameters.{parameter}: is not supported here")
        if output.parameters.binary_data is not None:
            wanted[output.name] = output.parameters.binary_data
    return _answer(config, message.id or None, wanted or dict.fromkeys(names, binary))


def _answer(config: EndpointConfig, identifier: str | None, wanted: Mapping[str, bool]) -> Encode:
    """Return the encoder of an answer with the outputs ``wanted``, by name: whether each is binary."""
    signature = config.signature
    if signature.output_tensors:
        packing = signature.output_packing
        return partial(
            inference_answer,
            name=config.name,
            identifier=identifier,
            packing=packing,
            wanted=dict(wanted),
            unbatched=tuple(tensor.name for tensor in signature.output_tensors if tensor.unbatched),
        )
    answer = _binary_answer if wanted[OUTPUT] else _json_answer
    return partial(answer, name=config.name, identifier=identifier, datatype=_datatype(config))


def _datatype(config: EndpointConfig) -> str:
    return datatype_of(config.signature.output_datatype)


def _json_answer(predictions: np.ndarray, *, name: str, identifier: str | None, datatype: str) -> Reply:
    tensor = OutputTensor(OUTPUT, datatype, _shape(predictions), predictions.ravel().tolist())
    return Reply(200, _ENCODER.encode(InferReply(name, VERSION, [tensor], identifier)))


def _binary_answer(predictions: np.ndarray, *, name: str, identifier: str | None, datatype: str) -> Reply:
    try:
        with np.errstate(over="raise"):
            content = predictions.astype(DTYPES[datatype], copy=False).tobytes()
    except FloatingPointError:
        return refusal(Refused(400, f"outputs: a prediction is beyond {datatype}: ask for it in JSON"))
    tensor = OutputTensor(OUTPUT, datatype, _shape(predictions), parameters=TensorParameters(len(content)))
    document = _ENCODER.encode(InferReply(name, VERSION, [tensor], identifier))
    length = ((b"inference-header-content-length", b"%d" % len(document)),)
    return Reply(200, document + content, b"application/octet-stream", length)


def _shape(predictions: np.ndarray) -> list[int]:
    """Return (rows, values a row): Triton's clients count on as many dimensions as the configuration has, and the
    rows'."""
    return [len(predictions), 1 if predictions.ndim == 1 else predictions.shape[1]]
