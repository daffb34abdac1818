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
_KNOWN = f"{JSON}, {CSV} and {NPY}"


def input_fn(body: str | bytes, content_type: str) -> np.ndarray:
    """Return the array in ``body``. Raises ScriptFailed for any other content type; ValueError."""
    match media_type(content_type):
        case "application/json":
            return np.array(json.loads(body))
        case "text/csv":
            text = body if isinstance(body, str) else body.decode()
            return np.genfromtxt(io.StringIO(text), delimiter=",")
        case "application/x-npy" if isinstance(body, bytes):
            array: np.ndarray = np.load(io.BytesIO(body), allow_pickle=False)
            return array
    reason = f"is not there, and without it {content_type!r:.80} is not read, only {_KNOWN}"
    raise ScriptFailed("input_fn", reason, status=415)


def predict_fn(data: Any, model: Any) -> Any:
    """Return what the model's own predict says. Raises ScriptFailed for a model without one."""
    if not callable(getattr(model, "predict", None)):
        reason = f"is not there, and what model_fn gave, a {type(model).__name__}, has no predict"
        raise ScriptFailed("predict_fn", reason, status=500)
    return model.predict(data)


def output_fn(prediction: Any, accept: str) -> bytes:
    """Return ``prediction`` as ``accept`` has it. Raises ScriptFailed for any other type; what NumPy raises."""
    match media_type(accept):
        case "application/json":
            return json.dumps(_plain(prediction)).encode()
        case "text/csv":
            stream = io.StringIO()
            np.savetxt(stream, np.atleast_1d(np.asarray(prediction)), delimiter=",", fmt="%s")
            return stream.getvalue().encode()
        case "application/x-npy":
            content = io.BytesIO()
            np.save(content, np.asarray(prediction), allow_pickle=False)
            return content.getvalue()
    reason = f"is not there, and without it {accept!r:.80} is not written, only {_KNOWN}"
    raise ScriptFailed("output_fn", reason, status=406)


def _plain(prediction: Any) -> Any:
    return prediction.tolist() if hasattr(prediction, "tolist") else prediction
