"""Functions that decode requests of either protocol, and refusals of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servefit.backends.model.types import Signature, Task
from servefit.backends.types import Target
from servefit.serving.config import ArtifactFacts, EndpointConfig, Limits
from servefit.serving.messages import Inference, Refused, Reply, Request
from servefit.serving.protocols import open_inference, sagemaker
from servefit.serving.protocols.datatypes import DTYPES

Decode = Callable[..., Inference]


def tensor(**changes: Any) -> dict[str, Any]:
    """An input of /infer: one row of three values, with ``changes``; ... leaves a field out."""
    plain = {"name": "input-0", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    return {name: value for name, value in {**plain, **changes}.items() if value is not ...}


@pytest.fixture(scope="session")
def config() -> EndpointConfig:
    """An endpoint for a model of the features a, b and c."""
    artifact = ArtifactFacts(
        backend="onnxruntime", backend_version="1.20", model_digest="", target=Target.CPU, folder="/artifact", facts={}
    )
    signature = Signature(task=Task.BINARY, features=3, outputs=1, feature_names=("a", "b", "c"))
    return EndpointConfig(name="fraud", artifact=artifact, signature=signature, limits=Limits(rows=20))


@pytest.fixture(scope="session")
def invoke(config: EndpointConfig) -> Decode:
    """Decodes a body sent to /invocations, of a model whose signature differs from the usual as ``changes`` say."""

    def decode(
        body: bytes | str, content_type: str | None = "application/json", accept: str | None = None, **changes: Any
    ) -> Inference:
        headers = {b"content-type": content_type, b"accept": accept}
        given = {name: value.encode("latin-1") for name, value in headers.items() if value is not None}
        content = body.encode() if isinstance(body, str) else body
        request = Request(b"POST", b"/invocations", given, content)
        return sagemaker.decode(request, replace(config.signature, **changes), config.limits)

    return decode


@pytest.fixture(scope="session")
def infer(config: EndpointConfig) -> Decode:
    """Decodes a body sent to /v2/models/fraud/infer: JSON, and the binary data after it if there are some."""

    def decode(
        document: Any, binary: bytes | None = None, *, header_length: bytes | None = None, **changes: Any
    ) -> Inference:
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {b"content-type": b"application/json"}
        if binary is not None or header_length is not None:
            length = b"%d" % len(content) if header_length is None else header_length
            headers[b"inference-header-content-length"] = length
        request = Request(b"POST", b"/v2/models/fraud/infer", headers, content + (binary or b""))
        return open_inference.decode(request, replace(config, signature=replace(config.signature, **changes)))

    return decode


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Inference], list[list[float]]]:
    """The rows of an inference, which must be as predictors take them."""

    def rows(inference: Inference) -> list[list[float]]:
        found = inference.rows
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        assert found.flags.writeable
        listed: list[list[float]] = found.tolist()
        return listed

    return rows


@pytest.fixture(scope="session")
def refusal() -> Callable[..., Refused]:
    """What a call is refused with: one line that can be sent."""

    def refused(decode: Decode, *arguments: Any, **options: Any) -> Refused:
        with pytest.raises(Refused) as caught:
            decode(*arguments, **options)
        assert 400 <= caught.value.status < 500
        assert "\n" not in caught.value.reason
        assert len(caught.value.reason.encode()) < 1000
        return caught.value

    return refused


@pytest.fixture(scope="session")
def tensor_of() -> Callable[[Reply], np.ndarray]:
    """The one output of a reply to /infer, read as its own header says."""

    def tensor(reply: Reply, datatype: str = "FP32") -> np.ndarray:
        length = dict(reply.headers).get(b"inference-header-content-length")
        document = json.loads(reply.body if length is None else reply.body[: int(length)])
        (output,) = document["outputs"]
        assert output["datatype"] == datatype
        if length is None:
            values = np.array(output["data"], dtype=DTYPES[datatype])
        else:
            values = np.frombuffer(reply.body[int(length) :], dtype=DTYPES[datatype])
            assert output["parameters"]["binary_data_size"] == values.nbytes
        return values.reshape(output["shape"])

    return tensor
