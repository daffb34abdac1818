"""ONNX models as they are, for the onnxruntime backend: what is changed before serving, and how they are called.

The one change is that a ZipMap at the end is taken off: it wraps every row's probabilities into a Python dict. How rows
become inputs and outputs become predictions is described in ``model.onnx_io``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from servefit.backends.libraries.onnx_session import ORT_NAME, UNOPTIMISED
from servefit.backends.libraries.tensor_predictor import TensorPredictor
from servefit.backends.model.onnx_file import read_onnx
from servefit.backends.types import Settings, Target
from servefit.errors import RowsRefused

if TYPE_CHECKING:
    import onnx
    import onnxruntime

    from servefit.backends.model.onnx_io import OnnxInterface


def prepare(file: Path, workdir: Path) -> Mapping[str, Any]:
    """Write the ONNX model in ``file`` into ``workdir`` as the model.onnx to serve; give the facts that
    ``NativePredictor`` needs."""
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.model.onnx_interface import interface_of

    proto = read_onnx(file)
    interface, _ = interface_of(open_session(file, Target.CPU, Settings(threads=1), optimised=False))
    if interface.output_is_maps:
        interface = _without_zipmap(proto, interface)
    (workdir / "model.onnx").write_bytes(proto.SerializeToString())
    return interface.to_facts()


def prepare_ort(file: Path, workdir: Path) -> Mapping[str, Any]:
    """Copy the model in ``file``, in ONNX Runtime's own format, into ``workdir``; give the facts as ``prepare``."""
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.model.onnx_interface import interface_of

    interface, _ = interface_of(open_session(file, Target.CPU, Settings(threads=1), optimised=False))
    (workdir / ORT_NAME).write_bytes(file.read_bytes())
    return interface.to_facts()


def _without_zipmap(proto: onnx.ModelProto, interface: OnnxInterface) -> OnnxInterface:
    """Replace a ZipMap output by the tensor that the ZipMap reads.

    A ZipMap is left where its labels are not in order: maps come out sorted by label, the tensor does not.
    """
    import onnx

    for node in proto.graph.node:
        if node.op_type == "ZipMap" and (node.output[0],) == interface.outputs and _sorted_labels(node):
            for output in [value for value in proto.graph.output if value.name in interface.outputs]:
                proto.graph.output.remove(output)
            tensor = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None)
            proto.graph.output.append(tensor)
            proto.graph.node.remove(node)
            return replace(interface, outputs=(tensor.name,), output_is_maps=False)
    return interface


def _sorted_labels(zipmap: onnx.NodeProto) -> bool:
    return all(
        sorted(labels) == list(labels)
        for attribute in zipmap.attribute
        for labels in (attribute.ints, attribute.strings)
    )


FINITE = "predictions_are_finite"
"""The fact about an artifact whose model's own library predicts finite numbers: see ``NativePredictor``."""


class NativePredictor(TensorPredictor):
    """Predicts with a session of ONNX Runtime. Where the facts say FINITE, it refuses rows whose predictions are not
    finite: a step of these is computed in float32, and the model's own library computes in float64."""

    def __init__(self, session: onnxruntime.InferenceSession, facts: Mapping[str, Any]) -> None:
        of_interface = dict(facts)
        of_interface.pop(UNOPTIMISED, None)
        self._finite = of_interface.pop(FINITE, False)
        truths = any(node.type == "tensor(bool)" for node in session.get_outputs() if node.name in facts["outputs"])
        super().__init__(session, of_interface, truths=truths)
        self._refusing = refusing(self._predict_rows)

    def predict(self, rows: np.ndarray) -> np.ndarray:
        predictions = self._refusing(rows)
        if self._finite and not np.isfinite(predictions).all():
            raise RowsRefused("onnxruntime", "a number is beyond what the ONNX model of this estimator computes in")
        return predictions


def refusing(
    predict: Callable[[np.ndarray], np.ndarray], backend: str = "onnxruntime"
) -> Callable[[np.ndarray], np.ndarray]:
    """Return ``predict``, which calls ONNX Runtime for ``backend``, so that it raises RowsRefused where this does not
    take the rows."""
    refusals = _refusals()

    def predicted(rows: np.ndarray) -> np.ndarray:
        try:
            return predict(rows)
        except refusals as error:
            if _blames_machine(error):
                raise
            raise RowsRefused(backend, reason_of(error)) from error

    return predicted


def _refusals() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as library

    # What is in the rows is found wrong by one operator or another, each of which has a status of its own.
    return library.InvalidArgument, library.Fail, library.RuntimeException


def _blames_machine(error: Exception) -> bool:
    return any(sign in str(error) for sign in _SIGNS_OF_THE_MACHINE)


_SIGNS_OF_THE_MACHINE = ("CUDA", "cuda", "CUBLAS", "CUDNN", "allocate memory", "AllocateRaw", "bad_alloc")
"""ONNX Runtime's words where not the rows are to blame."""

_SOURCE = re.compile(
    r"^/\S+:\d+ .*? was false\. |^\[ONNXRuntimeError\] : \d+ : \w+ : (?:Load model from .*? failed: ?)?"
)
"""Where in ONNX Runtime a check failed, which status that is, and which file it reads."""


def reason_of(error: Exception) -> str:
    """Return what ONNX Runtime says of rows or models that it refuses, without its own status and sources."""
    text = " ".join(str(error).split())
    return _SOURCE.sub("", text.rpartition("Status Message: ")[2])[:300]
