"""Networks run by OpenVINO on the CPU: ONNX models, converted to OpenVINO's own format, IR, when they are compiled.

Each precision is a backend of its own: f32, where OpenVINO is held to what the model's own library predicts, and bf16.
How a network is opened is in ``openvino_library``, how rows go through it in ``tensor_predictor``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from servefit.backends.installed import installed, thread_counts
from servefit.backends.model.types import Library, Task
from servefit.backends.tensor_predictor import TensorPredictor
from servefit.backends.types import Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError, CompileFailed, RowsRefused

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from servefit.backends.model import Model, Signature

_IR = "model.xml"

_INT32 = -(2**31), 2**31 - 1
"""OpenVINO computes with whole numbers of 32 bits, whatever the model says, and cuts off the others."""

_NARROW = frozenset({"bool", "int8", "uint8", "int16", "uint16", "int32"})
"""Datatypes of which every value has 32 bits or less."""

REMEDY = "pip install 'servefit[openvino]'"


class OpenVinoBackend:
    """Serves networks of ONNX in float32."""

    name: ClassVar[str] = "openvino"
    precision: ClassVar[Precision] = Precision.EXACT
    calibrates: ClassVar[bool] = False
    arithmetic: ClassVar[str] = "f32"

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("servefit runs OpenVINO on the CPU only")
        return installed("openvino", remedy=REMEDY)

    def supports(self, model: Model) -> Availability:
        if model.library is not Library.ONNX:
            return Availability.no(f"it serves ONNX models, and this is one of {model.library}")
        if model.trees is not None or model.signature.task is not Task.TENSOR:
            return Availability.no("it serves networks, and has no operators for trees and classifiers of tables")
        for each in model.signature.inputs:
            if each.is_whole and each.whole_range[1] > _INT32[1]:
                return Availability.no(f"it computes whole numbers with 32 bits, and {each.name!r} takes larger ones")
        return Availability.yes()

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 1.0 + model.size_bytes / 2e7

    def cache_key(self) -> str:
        return f"{self.arithmetic}, openvino 1, onnx_io 4"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        return self._written(model, workdir, converted(model, self.name))

    def _written(self, model: Model, workdir: Path, network: Converted) -> Mapping[str, Any]:
        """Write the network, give the facts, and see that it opens here as it will be served. Raises CompileFailed."""
        from servefit.backends.openvino_library import compiled_network, imported_silently

        openvino = imported_silently("openvino")
        # Left to itself it makes float16 of the weights.
        openvino.save_model(network.graph, str(workdir / _IR), compress_to_fp16=False)
        try:
            compiled_network(workdir / _IR, self.name, self.arithmetic, Settings(threads=1))
        except BackendError as error:
            raise CompileFailed(self.name, str(error).removeprefix(f"{self.name}: ")) from error
        return {**network.facts, "ranges": _ranges(model.signature)}

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        from servefit.backends.openvino_library import OpenVinoSession, compiled_network

        facts = dict(artifact.facts)
        ranges = {name: (lowest, highest) for name, (lowest, highest) in facts.pop("ranges").items()}
        compiled = compiled_network(artifact.folder / _IR, self.name, self.arithmetic, settings)
        return _OpenVinoPredictor(OpenVinoSession(compiled, self.name, ranges), facts, self.name)


class OpenVinoBf16Backend(OpenVinoBackend):
    """Serves networks of ONNX with eight bits of a number's digits instead of 24."""

    name = "openvino/bf16"
    precision = Precision.BF16
    arithmetic = "bf16"


@dataclass(frozen=True, slots=True)
class Converted:
    """A network as OpenVINO has read it (``graph``), and how it is called."""

    graph: Any
    facts: Mapping[str, Any]


def converted(model: Model, backend: str) -> Converted:
    """Read the ONNX model with OpenVINO. Raises CompileFailed for ``backend`` with OpenVINO's own reason."""
    from servefit.backends.model.onnx_file import read_onnx
    from servefit.backends.model.onnx_interface import interface_of
    from servefit.backends.onnx_session import open_session
    from servefit.backends.openvino_library import imported_silently, reason_of

    interface, _ = interface_of(open_session(model.file, Target.CPU, Settings(threads=1), optimised=False))
    content = read_onnx(model.file).SerializeToString()
    openvino = imported_silently("openvino")
    try:
        graph = openvino.Core().read_model(content)
    except RuntimeError as error:
        raise CompileFailed(backend, f"OpenVINO does not read it: {reason_of(error)}") from error
    names = {name for output in graph.outputs for name in output.names}
    if missing := [name for name in interface.outputs if name not in names]:
        raise CompileFailed(backend, f"OpenVINO has no output {missing[0]!r}")
    return Converted(graph, interface.to_facts())


def _ranges(signature: Signature) -> dict[str, tuple[int, int]]:
    """Return what whole numbers may be sent, for the inputs where that has to be looked at: what the graph admits,
    or what has 32 bits."""
    found = {}
    for each in signature.inputs:
        if each.lowest is not None and each.highest is not None:
            found[each.name] = (each.lowest, each.highest)
        elif each.is_whole and each.datatype not in _NARROW:
            found[each.name] = _INT32
    return found


class _OpenVinoPredictor(TensorPredictor):
    """Predicts with OpenVINO."""

    def __init__(self, session: Any, facts: Mapping[str, Any], backend: str) -> None:
        super().__init__(session, facts, truths=session.truths)
        self._backend = backend

    def predict(self, rows: np.ndarray) -> np.ndarray:
        try:
            return self._predict_rows(rows)
        except RowsRefused as error:
            if error.backend == self._backend:
                raise
            raise RowsRefused(self._backend, error.reason) from error
