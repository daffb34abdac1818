"""The functions that a script may leave out, as SageMaker's inference toolkit has them for JSON, CSV and NPY
(https://github.com/aws/sagemaker-inference-toolkit, its decoder and its encoder). Pickles in NPY are not read."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from servefit.backends.model.media_types import media_type
from servefit.errors import ScriptFailed

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
KNOWN = f"{JSON}, {CSV} and {NPY}"


def input_fn(body: str | bytes, content_type: str) -> np.ndarray:
    """Return the array in ``body``. Raises ScriptFailed for any other content type; ValueError."""
    match media_type(content_type):
        case "application/json":
            return np.array(json.loads(body))
        case "text/csv":
            return _of_csv(body if isinstance(body, str) else body.decode())
        case "application/x-npy" if isinstance(body, bytes):
            array: np.ndarray = np.load(io.BytesIO(body), allow_pickle=False)
            return array
    reason = f"is not there, and without it {content_type!r:.80} is not read, only {KNOWN}"
    raise ScriptFailed("input_fn", reason, status=415)


def predict_fn(data: Any, model: Any) -> Any:
    """Return what the model's own predict says. Raises ScriptFailed for a model without one."""
    if not callable(getattr(model, "predict", None)):
        reason = f"is not there, and what model_fn gave, a {type(model).__name__}, has no predict"
        raise ScriptFailed("predict_fn", reason, status=500)
    return model.predict(data)


def output_fn(prediction: Any, accept: str) -> bytes:
    """Return ``prediction`` as ``accept`` has it. Raises ScriptFailed for any other type; what ``encoded`` raises."""
    content = encoded(prediction, accept)
    if content is None:
        reason = f"is not there, and without it {accept!r:.80} is not written, only {KNOWN}"
        raise ScriptFailed("output_fn", reason, status=406)
    return content


def encoded(prediction: Any, content_type: str) -> bytes | None:
    """Return ``prediction`` in that type; None where it is none of those known here. Raises what NumPy and json do."""
    match media_type(content_type):
        case "application/json":
            return json.dumps(prediction, default=_plain).encode()
        case "text/csv":
            stream = io.StringIO()
            np.savetxt(stream, np.atleast_1d(np.asarray(prediction)), delimiter=",", fmt="%s")
            return stream.getvalue().encode()
        case "application/x-npy":
            content = io.BytesIO()
            np.save(content, np.asarray(prediction), allow_pickle=False)
            return content.getvalue()
    return None


def _of_csv(text: str) -> np.ndarray:
    """Return a table of numbers as floats, and a table with text in the datatypes of its columns, without NaN."""
    numbers = np.genfromtxt(io.StringIO(text), delimiter=",")
    if not np.isnan(numbers).any():
        return numbers
    table = np.genfromtxt(io.StringIO(text), dtype=None, delimiter=",", encoding=None)
    columns = (
        [table.dtype] if table.dtype.fields is None else [datatype for datatype, *_ in table.dtype.fields.values()]
    )
    return numbers if all(datatype.kind in "biuf" for datatype in columns) else table


def _plain(value: Any) -> Any:
    """Return an array, wherever it is in a prediction, or a number of NumPy's, as json writes it. Raises TypeError."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not written as JSON")
