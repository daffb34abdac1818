"""A served model that is asked without a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.in_this_process import call_all_here

from servefit.backends.compilation import compile_model, load_predictor
from servefit.backends.model import Model
from servefit.backends.types import Settings
from servefit.profiler.drivers.hosted_endpoint import endpoint_config
from servefit.profiler.record.types import Configuration
from servefit.serving.messages import Inference, Request
from servefit.serving.protocols import open_inference, sagemaker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np

    from servefit.serving.config import EndpointConfig


class AskedModel:
    """The ONNX model at ``path``, compiled in this process, with these values for ``inputs`` that never change."""

    def __init__(self, path: Path, *, inputs: Mapping[str, float | str] | None = None) -> None:
        with pytest.MonkeyPatch.context() as patch:
            call_all_here(patch)
            model = Model.load(path, inputs=inputs)
            artifact = compile_model(model, "onnxruntime").artifact
        configuration = Configuration(vcpus=1, backend="onnxruntime")
        self.path = path
        self.model = model
        self.config: EndpointConfig = endpoint_config(configuration, artifact, model.signature, name="model")
        self._predictor = load_predictor(artifact, Settings())

    def infer(self, body: bytes, *, header_length: int | None = None) -> Inference:
        """What a request in the Open Inference Protocol is understood as."""
        length = {} if header_length is None else {b"inference-header-content-length": b"%d" % header_length}
        return open_inference.decode(Request(b"POST", b"/v2/models/model/infer", length, body), self.config)

    def invoke(self, body: bytes, content_type: str = "application/json") -> Inference:
        """What a request to /invocations is understood as."""
        request = Request(b"POST", b"/invocations", {b"content-type": content_type.encode()}, body)
        return sagemaker.decode(request, self.config.signature, self.config.limits)

    def predictions(self, inference: Inference) -> np.ndarray:
        return self._predictor.predict(inference.rows)

    def answer(self, inference: Inference) -> Any:
        """What it is answered, in JSON."""
        return json.loads(inference.encode(self.predictions(inference)).body)
