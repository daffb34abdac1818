"""Rows of a payload as the bodies of requests, in the forms that endpoints take."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from servefit.backends.model.opaque import request_in
from servefit.errors import SpecError
from servefit.serving.protocols.datatypes import BYTES, DTYPES, datatype_of, texts_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from servefit.backends.model.packing import Packing
    from servefit.backends.model.types import Signature

Form: TypeAlias = Literal[
    "sagemaker-json", "sagemaker-csv", "sagemaker-opaque", "open-inference", "open-inference-binary", "json"
]
"""``sagemaker-json`` is {"instances": rows}, ``sagemaker-csv`` a line a row without a header, ``open-inference`` the
Open Inference Protocol in JSON and ``-binary`` with its extension for binary tensors, ``json`` the bare rows.
``sagemaker-opaque`` sends rows that are requests of bytes (``backends.model.opaque``) as these bytes."""

FORMS: tuple[Form, ...] = get_args(Form)


MAX_BYTES = 8 * 2**20
"""As much of a payload of rows is sent, over and over; whatever it is, it has left the caches by then. Files as they
are differ more than rows do, so all that a payload keeps of them are sent."""

JSON_VALUES = 4096
"""A request of a network that has more values is sent as binary tensors. Chosen: so many take a server about a
millisecond to read from JSON, and those of an image several times as long as a small network takes to predict them."""

_Headers: TypeAlias = tuple[tuple[str, str], ...]

Bodies: TypeAlias = "Iterable[tuple[_Headers, bytes]]"
"""Headers and body of one request after the other."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a request in the Open Inference Protocol: as many of the columns of a row as its ``shape`` has,
    which is that of one row; all, where it is not known. ``feature_names`` are those of its columns, where the server
    tells them."""

    name: str = "input-0"
    datatype: str = "FP32"
    shape: tuple[int, ...] | None = None
    feature_names: tuple[str, ...] = ()


def bodies(
    form: Form,
    rows: np.ndarray,
    *,
    rows_per_request: int,
    tensors: Sequence[Tensor] = (Tensor(),),
    packing: Packing | None = None,
) -> Iterator[tuple[_Headers, bytes]]:
    """Yield headers and body of one request after the other. They rotate through ``rows`` (n, features), float32, int64
    or float64: request k holds those from ``k * rows_per_request`` on, modulo the payload. The one after the last is
    the first again, unless rows take more than 8 MiB.

    ``tensors`` are those of the Open Inference Protocol, which share the columns out among them in their order; or as
    ``packing`` says, where requests have sizes of their own. Raises SpecError for rows of different sizes in one
    request, and for a form that does not tell sizes.
    """
    period = len(rows) // int(np.gcd(len(rows), rows_per_request))
    total = 0
    for number in range(period):
        which = [(number * rows_per_request + nth) % len(rows) for nth in range(rows_per_request)]
        if form == "sagemaker-opaque":
            headers, body = _opaque(rows[which])
        elif form == "open-inference-binary":
            headers, body = _binary(_blocks(rows[which], tensors, packing))
        elif form == "open-inference":
            headers, body = _JSON, _open_inference(_blocks(rows[which], tensors, packing))
        elif packing is None:
            headers, body = _text(form, rows[which])
        elif form == "sagemaker-csv" and packing.has_texts and all(one.shape in ((), (1,)) for one in packing.tensors):
            headers, body = _CSV, _lines(rows[which], packing)
        else:
            headers, body = _JSON, _instances(form, rows[which], packing)
        yield headers, body
        total += len(body)
        if total > MAX_BYTES and form != "sagemaker-opaque":
            return


def check_sizes(rows: np.ndarray, packing: Packing | None, *, rows_per_request: int, form: Form) -> None:
    """Raise SpecError, before anything is sent, where rows of different sizes would be in one request, of a ``form``
    that has one tensor for all of them."""
    if packing is None or rows_per_request == 1 or not form.startswith("open-inference"):
        return
    group = np.empty(len(rows), dtype=np.int64)
    for nth, (which, _) in enumerate(packing.groups(rows)):
        group[which] = nth
    if not group.any():
        return
    for begin in range(0, len(rows) * rows_per_request, rows_per_request):
        of_request = group[np.arange(begin, begin + rows_per_request) % len(rows)]
        if (of_request != of_request[0]).any():
            raise _sizes_differ(rows_per_request)


def _sizes_differ(rows: int) -> SpecError:
    problem = "puts rows of different sizes into one request, which is one tensor"
    return SpecError("rows_per_request", rows, problem, remedy="send one row a request")


def usual_form(signature: Signature, rows: np.ndarray, *, rows_per_request: int) -> Form:
    """Return the form in which requests of ``rows`` are sent to an endpoint of ours: the Open Inference Protocol, with
    binary tensors where they are images, or as large; opaque requests as they are."""
    if signature.opaque:
        return "sagemaker-opaque"
    if not signature.output_tensors:
        return "open-inference"
    packing = signature.packing
    values = sum(len(which) * (packing.width(sizes) - len(sizes)) for which, sizes in packing.groups(rows))
    is_large = values / len(rows) * rows_per_request > JSON_VALUES
    return "open-inference-binary" if is_large else "open-inference"


_MEASURED = 50
"""Bodies whose mean length stands for that of all. Chosen, not measured."""


def mean_body_bytes(form: Form, rows: np.ndarray, *, rows_per_request: int, packing: Packing | None = None) -> int:
    """Return the mean length of the first bodies that :func:`bodies` yields, in bytes."""
    yielded = bodies(
        form, rows, rows_per_request=rows_per_request, tensors=tensors_of(packing) or (Tensor(),), packing=packing
    )
    lengths = [len(body) for _, body in islice(yielded, _MEASURED)]
    return round(sum(lengths) / len(lengths))


_JSON: _Headers = (("content-type", "application/json"),)
_CSV: _Headers = (("content-type", "text/csv"),)


def _cells(values: np.ndarray, missing: str) -> str:
    """Join numbers with commas, each as short as it can be and still the same in the datatype of ``values``."""
    if values.dtype.kind == "O":
        return ",".join(map(json.dumps, values.tolist()))
    if values.dtype.kind == "b":
        return ",".join("true" if value else "false" for value in values)
    return ",".join(missing if value != value else str(value) for value in values)


def _opaque(rows: np.ndarray) -> tuple[_Headers, bytes]:
    """Return the request in the only row. Raises SpecError for several."""
    if len(rows) > 1:
        raise SpecError("rows_per_request", len(rows), "are as many requests", remedy="send one row a request")
    request = request_in(rows[0])
    headers = (("content-type", request.content_type), ("accept", request.accept))
    return tuple((name, value) for name, value in headers if value), request.body


def _text(form: Form, rows: np.ndarray) -> tuple[_Headers, bytes]:
    if form == "sagemaker-csv":
        return _CSV, "".join(f"{_cells(row, '')}\n" for row in rows).encode()
    listed = "[" + ",".join(f"[{_cells(row, 'null')}]" for row in rows) + "]"
    return _JSON, (f'{{"instances":{listed}}}' if form == "sagemaker-json" else listed).encode()


def tensors_of(packing: Packing | None) -> tuple[Tensor, ...]:
    """Return the tensors that lie in packed rows."""
    tensors = () if packing is None else packing.tensors
    return tuple(Tensor(tensor.name, datatype_of(tensor.datatype)) for tensor in tensors)


def _lines(rows: np.ndarray, packing: Packing) -> bytes:
    """Return rows whose columns are of different kinds as CSV without a header."""
    columns = [block.reshape(-1).tolist() for block in packing.unpack(rows, {})]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        ["" if value is None or value != value else value for value in row] for row in zip(*columns, strict=True)
    )
    return text.getvalue().encode()


def _instances(form: Form, rows: np.ndarray, packing: Packing) -> bytes:
    """Return packed rows as objects of their tensors by name."""
    if form != "sagemaker-json":
        raise SpecError("protocol", form, "does not tell the sizes of a request", remedy="use open-inference")
    listed = []
    for row in rows:
        tensors = _packed(row[np.newaxis], tensors_of(packing), packing)
        values = {tensor.name: _typed(tensor, block).tolist()[0] for tensor, block in tensors}
        listed.append(json.dumps(values, separators=(",", ":")))
    return f'{{"instances":[{",".join(listed)}]}}'.encode()


def _packed(rows: np.ndarray, tensors: Sequence[Tensor], packing: Packing) -> list[tuple[Tensor, np.ndarray]]:
    groups = list(packing.groups(rows))
    if len(groups) > 1:
        raise _sizes_differ(len(rows))
    return list(zip(tensors, packing.unpack(rows, groups[0][1]), strict=True))


def _blocks(rows: np.ndarray, tensors: Sequence[Tensor], packing: Packing | None) -> list[tuple[Tensor, np.ndarray]]:
    """Return the columns of each tensor, (rows, *shape). The last has what is left over, and is refused then."""
    if packing is not None:
        return _packed(rows, tensors, packing)
    blocks, begin = [], 0
    for tensor in tensors:
        end = rows.shape[1] if tensor is tensors[-1] else begin + math.prod(tensor.shape or ())
        values = rows[:, begin:end]
        if tensor.shape is not None and math.prod(tensor.shape) == values.shape[1]:
            values = values.reshape(len(rows), *tensor.shape)
        blocks.append((tensor, values))
        begin = end
    return blocks


def _open_inference(blocks: Sequence[tuple[Tensor, np.ndarray]]) -> bytes:
    inputs = []
    for tensor, values in blocks:
        data = _cells(_typed(tensor, values).ravel(), "null")
        shape = ",".join(map(str, values.shape))
        described = f'"name":{json.dumps(tensor.name)},"shape":[{shape}],"datatype":"{tensor.datatype}"'
        inputs.append(f'{{{described},"data":[{data}]}}')
    return f'{{"inputs":[{",".join(inputs)}]}}'.encode()


def _typed(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Return ``values`` to be written as text: floats as they are in the row, where fewer digits do."""
    if tensor.datatype == BYTES:
        return values
    kind = DTYPES[tensor.datatype]
    return values if kind.kind == "f" else values.astype(kind)


def _binary(blocks: Sequence[tuple[Tensor, np.ndarray]]) -> tuple[_Headers, bytes]:
    contents = [_content(tensor, values) for tensor, values in blocks]
    described = [
        {
            "name": tensor.name,
            "shape": list(values.shape),
            "datatype": tensor.datatype,
            # No text in binary data is missing.
            **({"data": values.ravel().tolist()} if content is None else _sized(content)),
        }
        for (tensor, values), content in zip(blocks, contents, strict=True)
    ]
    header = json.dumps(
        {"inputs": described, "parameters": {"binary_data_output": True}}, separators=(",", ":")
    ).encode()
    headers = (
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", str(len(header))),
    )
    return headers, header + b"".join(content for content in contents if content is not None)


def _content(tensor: Tensor, values: np.ndarray) -> bytes | None:
    """Return the values of a tensor as binary data; None where a text is missing."""
    if tensor.datatype != BYTES:
        return np.ascontiguousarray(values, dtype=DTYPES[tensor.datatype]).tobytes()
    return None if None in values else texts_to_bytes(values.ravel().tolist())


def _sized(content: bytes) -> dict[str, dict[str, int]]:
    return {"parameters": {"binary_data_size": len(content)}}
