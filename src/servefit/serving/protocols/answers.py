"""Predictions as the formats of /invocations have them.

JSON is ``{"predictions": [0.1, 0.9]}``, with one list a row where a row gives several values. JSON Lines has one
``{"prediction": 0.1}`` a row, so that SageMaker's batch transform can join lines with predictions. CSV has one line a
row. A prediction that is no finite number is ``null`` in JSON, which has no word for it, and nan or inf in CSV.
"""

from __future__ import annotations

import io

import msgspec
import numpy as np

from servefit.serving.messages import Reply

_CSV = b"text/csv; charset=utf-8"
_ENCODER = msgspec.json.Encoder()


def json_answer(predictions: np.ndarray) -> Reply:
    return Reply(200, _ENCODER.encode({"predictions": predictions.tolist()}))


def json_lines_answer(predictions: np.ndarray, *, content_type: bytes) -> Reply:
    lines = _ENCODER.encode_lines([{"prediction": prediction} for prediction in predictions.tolist()])
    return Reply(200, lines, content_type)


def csv_answer(predictions: np.ndarray) -> Reply:
    values = predictions.tolist()
    document = _ENCODER.encode(values)
    if b"null" in document:
        rows = (row if isinstance(row, list) else [row] for row in values)
        return Reply(200, "".join(",".join(map(repr, row)) + "\n" for row in rows).encode(), _CSV)
    if document[:2] == b"[[":
        return Reply(200, document[2:-2].replace(b"],[", b"\n") + b"\n", _CSV)
    return Reply(200, document[1:-1].replace(b",", b"\n") + b"\n", _CSV)


def npy_answer(predictions: np.ndarray) -> Reply:
    stream = io.BytesIO()
    np.save(stream, predictions, allow_pickle=False)
    return Reply(200, stream.getvalue(), b"application/x-npy")
