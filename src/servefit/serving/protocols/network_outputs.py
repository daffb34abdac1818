"""Predictions of networks as answers: every output under its own name, of its own datatype and shape.

JSON of /invocations has ``{"predictions": [...]}``, where each row is the values of the only output, nested as it is
shaped, or an object of them by the names of the outputs; JSON Lines has one such row a line. CSV has the values of a
row one after the other. NPY has the only output as one array.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from servefit.serving.messages import Refused, Reply
from servefit.serving.protocols.answers import csv_answer
from servefit.serving.protocols.datatypes import DTYPES, datatype_of
from servefit.serving.protocols.tensors import TensorParameters
from servefit.serving.replying import refusal
from servefit.serving.routing import VERSION

if TYPE_CHECKING:
    from servefit.backends.model.packing import Packing
    from servefit.backends.model.types import Signature

_ENCODER = msgspec.json.Encoder()


class OutputTensor(msgspec.Struct, omit_defaults=True):
    """One output in an answer of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float] | list[int] | None = None
    parameters: TensorParameters | None = None


class InferReply(msgspec.Struct, omit_defaults=True):
    """An answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | None = None


def is_flat(signature: Signature) -> bool:
    """Return whether predictions are told as those of tables are: a value or a list of values a row."""
    return not signature.output_sizes and (
        not signature.output_tensors
        or (len(signature.output_tensors) == 1 and len(signature.output_tensors[0].shape) < 2)
    )


def inference_answer(
    predictions: np.ndarray,
    *,
    name: str,
    identifier: str | None,
    packing: Packing,
    wanted: Mapping[str, bool],
    unbatched: Collection[str] = (),
) -> Reply:
    """Answer in the Open Inference Protocol with the outputs ``wanted``, which say whether they are binary. Where there
    is only one, it may be called anything. Those ``unbatched`` have no dimension for rows."""
    rows = predictions.reshape(len(predictions), -1)
    (_, sizes), *others = packing.groups(rows)
    if others:  # rows of one request are of the same sizes, but what a network finds in them may not be
        return refusal(Refused(400, "inputs: the outputs of these rows differ in shape: send one row a request"))
    places = {place.tensor.name: place for place in packing.places(sizes)}
    tensors, contents = [], []
    for output, binary in wanted.items():
        place = places.get(output) or next(iter(places.values()))
        datatype = datatype_of(place.tensor.datatype)
        block = rows[:, place.start : place.stop]
        is_unbatched = place.tensor.name in unbatched
        if is_unbatched and len(rows) > 1:
            reason = f"inputs: the output {output!r:.60} has no dimension for rows: send one row a request"
            return refusal(Refused(400, reason))
        shape = list(place.shape) if is_unbatched else [len(rows), *place.shape]
        if binary:
            with np.errstate(over="ignore", invalid="ignore"):
                content = block.astype(DTYPES[datatype]).tobytes()
            contents.append(content)
            tensors.append(OutputTensor(output, datatype, shape, parameters=TensorParameters(len(content))))
        else:
            tensors.append(
                OutputTensor(output, datatype, shape, _values(block, place.tensor.datatype).ravel().tolist())
            )
    document = _ENCODER.encode(InferReply(name, VERSION, tensors, identifier))
    if not contents:
        return Reply(200, document)
    length = ((b"inference-header-content-length", b"%d" % len(document)),)
    return Reply(200, document + b"".join(contents), b"application/octet-stream", length)


def json_answer(predictions: np.ndarray, *, packing: Packing) -> Reply:
    return Reply(200, _ENCODER.encode({"predictions": list(_told(predictions, packing))}))


def json_lines_answer(predictions: np.ndarray, *, content_type: bytes, packing: Packing) -> Reply:
    lines = _ENCODER.encode_lines([{"prediction": prediction} for prediction in _told(predictions, packing)])
    return Reply(200, lines, content_type)


def csv_lines_answer(predictions: np.ndarray, *, packing: Packing) -> Reply:
    rows = _rows(predictions, packing)
    flat = [np.concatenate([block.ravel() for block in row.values()]) for row in rows]
    parts = [csv_answer(values.reshape(1, -1)) for values in flat]
    return Reply(200, b"".join(part.body for part in parts), parts[0].content_type)


def npy_answer(predictions: np.ndarray, *, packing: Packing) -> Reply:
    rows = [list(row.values()) for row in _rows(predictions, packing)]
    if any(len(row) != 1 or row[0].shape != rows[0][0].shape for row in rows):
        reason = "accept: an NPY array holds one output of one shape, and these are several: ask for JSON"
        return refusal(Refused(406, reason))
    stream = io.BytesIO()
    np.save(stream, np.stack([row[0] for row in rows]), allow_pickle=False)
    return Reply(200, stream.getvalue(), b"application/x-npy")


def _told(predictions: np.ndarray, packing: Packing) -> Iterator[Any]:
    """Yield the JSON value of each row."""
    for row in _rows(predictions, packing):
        outputs = {name: block.tolist() for name, block in row.items()}
        yield outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _rows(predictions: np.ndarray, packing: Packing) -> Iterator[dict[str, np.ndarray]]:
    """Yield the outputs of each row by name, of their own shapes and datatypes."""
    rows = predictions.reshape(len(predictions), -1)
    outputs: dict[int, dict[str, np.ndarray]] = {}
    for which, sizes in packing.groups(rows):
        for place in packing.places(sizes):
            block = _values(rows[which, place.start : place.stop], place.tensor.datatype)
            for row, values in zip(which.tolist(), block, strict=True):
                outputs.setdefault(row, {})[place.tensor.name] = values.reshape(place.shape)
    for row in range(len(rows)):
        yield outputs[row]


def _values(block: np.ndarray, datatype: str) -> np.ndarray:
    """Return values of an output, in its datatype where that is one of whole numbers or booleans."""
    return block if datatype.startswith("float") else block.astype(datatype)
