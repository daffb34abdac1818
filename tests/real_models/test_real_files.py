"""Real ONNX files are opened, compiled and served as they are, and predict what ONNX Runtime predicts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.real_models.files import NAMES, RealFile, Request, real_file
from tests.serving.asked_model import AskedModel

from servefit.serving.protocols.datatypes import datatype_of

pytestmark = pytest.mark.integration


DAILY = ("det",)
"""An image: the others are thorough."""


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in DAILY else pytest.mark.thorough) for name in NAMES]
)
def real(request: pytest.FixtureRequest) -> RealFile:
    return real_file(request.param)


@pytest.fixture(scope="module")
def served(real: RealFile, shared_state: Path) -> Iterator[AskedModel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVEFIT_HOME", str(shared_state))
        yield AskedModel(real.path, inputs=real.constants)


def as_instances(request: Request) -> bytes:
    rows = len(next(iter(request.values())))
    instances = [{name: values[nth].tolist() for name, values in request.items()} for nth in range(rows)]
    return json.dumps({"instances": instances}).encode()


def as_columns(request: Request) -> bytes:
    return json.dumps({"inputs": {name: values.tolist() for name, values in request.items()}}).encode()


def as_tensors(request: Request) -> bytes:
    return json.dumps({"inputs": [described(name, values) for name, values in request.items()]}).encode()


def described(name: str, values: np.ndarray, *, binary: bool = False) -> dict[str, object]:
    content = {"parameters": {"binary_data_size": values.nbytes}} if binary else {"data": values.ravel().tolist()}
    return {"name": name, "shape": list(values.shape), "datatype": datatype_of(values.dtype.name), **content}


def as_bytes(request: Request) -> tuple[bytes, int]:
    """A request of binary tensors, whose order is not the model's, and the length of what describes them."""
    turned = {name: request[name] for name in reversed(list(request))}
    header = json.dumps({"inputs": [described(name, values, binary=True) for name, values in turned.items()]}).encode()
    return header + b"".join(np.ascontiguousarray(values).tobytes() for values in turned.values()), len(header)


def of_tensors(answer: Any) -> dict[str, np.ndarray]:
    return {each["name"]: np.reshape(each["data"], each["shape"]) for each in answer["outputs"]}


def of_rows(answer: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """The values of each output, of which the rows are objects unless it is the only one."""
    if len(outputs) == 1:
        return {outputs[0]: answer["predictions"]}
    return {name: [row[name] for row in answer["predictions"]] for name in outputs}


def test_it_predicts_what_onnx_runtime_predicts_whichever_way_it_is_asked(real: RealFile, served: AskedModel) -> None:
    outputs = [output.name for output in served.config.signature.output_tensors]
    for request in real.requests:
        body, length = as_bytes(request)
        inferred = [served.infer(as_tensors(request)), served.infer(body, header_length=length)]
        invoked = [served.invoke(as_instances(request)), served.invoke(as_columns(request))]
        found: list[Mapping[str, Any]] = [of_tensors(answer) for answer in map(served.answer, inferred)]
        found += [of_rows(answer, outputs) for answer in map(served.answer, invoked)]
        for name, expected in zip(outputs, real.answers(request, outputs), strict=True):
            scale = np.abs(expected).max()
            for values in found:
                got = np.reshape(values[name], expected.shape)
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * scale)


def test_requests_are_joined_unless_rows_are_one_after_the_other_in_time(real: RealFile, served: AskedModel) -> None:
    assert served.model.batch_dependent == (real.name == "vad_sequence")
