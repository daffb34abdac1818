"""Rows of a payload as the bodies of requests, in the forms that endpoints take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

Form: TypeAlias = Literal["sagemaker-json", "sagemaker-csv", "open-inference", "open-inference-binary", "json"]
"""``sagemaker-json`` is {"instances": rows}, ``sagemaker-csv`` a line a row without a header, ``open-inference`` the
Open Inference Protocol in JSON and ``-binary`` with its extension for binary tensors, ``json`` the bare rows."""

FORMS: tuple[Form, ...] = ("sagemaker-json", "sagemaker-csv", "open-inference", "open-inference-binary", "json")

MOST_BYTES = 8 * 2**20
"""As much of a payload is sent, over and over; whatever it is, it has left the caches by then."""

_Headers: TypeAlias = tuple[tuple[str, str], ...]


def bodies(
    form: Form, rows: np.ndarray, *, rows_per_request: int, tensor: str, datatype: Literal["FP32", "FP64"]
) -> Iterator[tuple[_Headers, bytes]]:
    """Headers and body of one request after the other. They rotate through ``rows``, float32 (n, features): request k
    holds those from ``k * rows_per_request`` on, modulo the payload. The one after the last is the first again, unless
    they take more than 8 MiB.

    ``tensor`` and ``datatype`` are those of the input in the Open Inference Protocol.
    """
    period = len(rows) // int(np.gcd(len(rows), rows_per_request))
    total = 0
    missing = "" if form == "sagemaker-csv" else "null"
    for number in range(period):
        which = [(number * rows_per_request + nth) % len(rows) for nth in range(rows_per_request)]
        if form == "open-inference-binary":
            headers, body = _binary(rows[which], tensor, datatype)
        else:
            headers, body = _text(form, _texts(rows[which], missing), rows.shape[1], tensor, datatype)
        yield headers, body
        total += len(body)
        if total > MOST_BYTES:
            return


def _texts(rows: np.ndarray, missing: str) -> list[str]:
    """Every row as numbers with commas between them, each as short as it can be and still the same float32."""
    return [
        ",".join(missing if value != value else str(value) for value in row)
        for row in np.asarray(rows, dtype=np.float32)
    ]


def _text(form: Form, texts: list[str], features: int, tensor: str, datatype: str) -> tuple[_Headers, bytes]:
    if form == "sagemaker-csv":
        return (("content-type", "text/csv"),), ("\n".join(texts) + "\n").encode()
    headers = (("content-type", "application/json"),)
    if form == "open-inference":
        described = f'"name":{json.dumps(tensor)},"shape":[{len(texts)},{features}],"datatype":"{datatype}"'
        return headers, f'{{"inputs":[{{{described},"data":[{",".join(texts)}]}}]}}'.encode()
    rows = "[" + ",".join(f"[{text}]" for text in texts) + "]"
    return headers, (f'{{"instances":{rows}}}' if form == "sagemaker-json" else rows).encode()


def _binary(rows: np.ndarray, tensor: str, datatype: str) -> tuple[_Headers, bytes]:
    content = np.ascontiguousarray(rows, dtype="<f8" if datatype == "FP64" else "<f4").tobytes()
    described = {
        "name": tensor,
        "shape": list(rows.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": len(content)},
    }
    header = json.dumps(
        {"inputs": [described], "parameters": {"binary_data_output": True}}, separators=(",", ":")
    ).encode()
    headers = (
        ("content-type", "application/octet-stream"),
        ("inference-header-content-length", str(len(header))),
    )
    return headers, header + content
