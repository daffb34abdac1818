"""Networks run by OpenVINO on the CPU: ONNX models, converted to OpenVINO's own format, IR, when they are compiled.

Each precision is a backend of its own: f32, where OpenVINO is held to what the model's own library predicts, bf16, and
int8, which NNCF calibrates. How a network is opened is in ``openvino_library``, how rows go through it in
``tensor_predictor``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from servefit.backends.libraries.cpu import has_instructions
from servefit.backends.libraries.installed import installed, thread_counts
from servefit.backends.libraries.openvino_indices import watch_indices
from servefit.backends.libraries.openvino_library import compiled_network, core, imported_silently, reason_of
from servefit.backends.libraries.openvino_session import COPIED_BYTES, OpenVinoSession
from servefit.backends.libraries.tensor_predictor import TensorPredictor
from servefit.backends.model.onnx_io import OnnxInterface, calls
from servefit.backends.model.types import Format, Library, Task
from servefit.backends.types import LAYERS, Artifact, Availability, Knob, Precision, Predictor, Settings, Target
from servefit.errors import BackendError, CompileFailed, RowsRefused

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.libraries.layer_times import LayerTimes
    from servefit.backends.model import Model

_IR = "model.xml"
_WEIGHTS = "model.bin"

_MAX_WEIGHTS_TWICE = 2**24
"""A network with so many bytes of weights is opened once more, for requests of one row alone. Larger ones take so long
that a call's own time, which is 12 us less then, does not count."""

_MAX_INTEGER = 2**31 - 1
"""OpenVINO computes with whole numbers of 32 bits, whatever the model says."""

_ROWS_A_CALL = 8
"""More of them save little, and take the memory of all intermediate values. Chosen, not measured."""

_WITH_GRAPHS_OF_THEIR_OWN = ("If", "Loop", "TensorIterator")

_ROWS = 2
"""A number of rows to try, where the network does not insist on one."""

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
        is_own = model.library is Library.OPENVINO
        if model.format is Format.ONNX_ORT:
            return Availability.no("it does not read ONNX Runtime's own format")
        if model.onnx_file is None and not is_own:
            return Availability.no(f"it serves ONNX models and its own, and this is one of {model.library}")
        if not is_own and (model.trees is not None or model.signature.task is not Task.TENSOR):
            return Availability.no("it serves networks, and has no operators for trees and classifiers of tables")
        for model_input in model.signature.inputs:
            if model_input.is_whole and model_input.whole_range[1] > _MAX_INTEGER:
                return Availability.no(
                    f"it computes whole numbers with 32 bits, and {model_input.name!r} takes larger ones"
                )
        return Availability.yes()

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return (Knob(name="threads", values=thread_counts(vcpus)),)

    def compile_estimate_s(self, model: Model) -> float:
        return 1.0 + model.size_bytes / 2e7

    def cache_key(self) -> str:
        return f"{self.arithmetic}, openvino 3, onnx_io 5"

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        return self._written(workdir, converted(model, self.name))

    def _written(self, workdir: Path, network: Converted) -> Mapping[str, Any]:
        """Write the network, give the facts, and see that it opens here as it will be served. Raises CompileFailed."""
        openvino = imported_silently("openvino")
        table_rows = watch_indices(network.graph)
        # Left to itself it makes float16 of the weights.
        openvino.save_model(network.graph, str(workdir / _IR), compress_to_fp16=False)
        try:
            compiled_network(workdir / _IR, self.name, self.arithmetic, Settings(threads=1))
        except BackendError as error:
            raise CompileFailed(self.name, str(error).removeprefix(f"{self.name}: ")) from error
        interface = OnnxInterface.from_facts(network.facts)
        follows = _shapes_follow_inputs(core().read_model(str(workdir / _IR)), interface)
        is_small = (workdir / _WEIGHTS).stat().st_size <= _MAX_WEIGHTS_TWICE
        return {
            **network.facts,
            "table_rows": table_rows,
            "shapes_follow_inputs": follows,
            "of_one_row": _shapes_of_one_row(interface) if follows and is_small else None,
        }

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return self._opened(artifact, settings)[0]

    def layer_times(
        self, artifact: Artifact, settings: Settings, requests: list[np.ndarray], duration_s: float
    ) -> LayerTimes:
        """Time the layers of ``artifact`` in calls with ``requests``, for so long."""
        from servefit.backends.libraries.layer_times import openvino_layer_times

        predictor, session = self._opened(artifact, settings, timed=True)
        return openvino_layer_times(session.timed_layers, predictor.predict, requests, duration_s)

    def _opened(
        self, artifact: Artifact, settings: Settings, *, timed: bool = False
    ) -> tuple[Predictor, OpenVinoSession]:
        """Return what predicts, and what it calls, of which layers are ``timed``."""
        facts, opened = dict(artifact.facts), (artifact.folder / _IR, self.name, self.arithmetic, settings)
        facts.pop(LAYERS, None)
        shapes = facts.pop("of_one_row", None)  # artifacts of before have none, and do not say the other
        session = OpenVinoSession(
            compiled_network(*opened, timed=timed),
            self.name,
            facts.pop("table_rows"),
            shapes_follow_inputs=facts.pop("shapes_follow_inputs", False),
            of_one_row=None if shapes is None else compiled_network(*opened, shapes, timed=timed),
        )
        return _OpenVinoPredictor(session, facts, self.name), session


class OpenVinoBf16Backend(OpenVinoBackend):
    """Serves networks of ONNX with eight bits of a number's digits instead of 24."""

    name = "openvino/bf16"
    precision = Precision.BF16
    arithmetic = "bf16"

    def probe(self, target: Target = Target.CPU) -> Availability:
        availability = super().probe(target)
        if availability.available and not has_instructions("avx512_bf16", "amx_bf16"):
            return Availability.no("this processor has no instructions for bf16, and without it is slower than float32")
        return availability


class OpenVinoInt8Backend(OpenVinoBackend):
    """Serves networks of ONNX with weights and activations of int8, which NNCF chooses by rows of a payload."""

    name = "openvino/int8"
    precision = Precision.INT8
    calibrates = True

    def probe(self, target: Target = Target.CPU) -> Availability:
        availability = super().probe(target)
        # NNCF is needed to compile alone: its networks are served without it.
        quantiser = installed("nncf", remedy=REMEDY)
        return availability if not availability.available or quantiser.available else quantiser

    def compile_estimate_s(self, model: Model) -> float:
        return 10.0 + model.size_bytes / 2e6

    def cache_key(self) -> str:
        return f"int8 3, nncf {version('nncf') if find_spec('nncf') else 'missing'}, {super().cache_key()}"

    def compile(
        self,
        model: Model,
        target: Target,
        workdir: Path,
        *,
        calibration: np.ndarray | None = None,
        spared: Collection[str] = (),
    ) -> Mapping[str, Any]:
        from servefit.backends.libraries.onnx_layers import layers_by_error
        from servefit.backends.model.onnx_file import read_onnx

        if calibration is None:
            raise CompileFailed(self.name, "it calibrates on rows of a payload, and there is none")
        network = converted(model, self.name)
        feeds = list(calls(OnnxInterface.from_facts(network.facts), calibration, _ROWS_A_CALL))
        # Of IR no layers are ranked, and so none is put back.
        layers = [] if model.onnx_file is None else layers_by_error(read_onnx(model.onnx_file), feeds[0], workdir)
        facts = self._written(workdir, replace(network, graph=_quantised(network, feeds, spared, self.name)))
        return {**facts, LAYERS: layers}


@dataclass(frozen=True, slots=True)
class Converted:
    """A network as OpenVINO has read it (``graph``), and how it is called."""

    graph: Any
    facts: Mapping[str, Any]


def converted(model: Model, backend: str) -> Converted:
    """Read the ONNX model, or one of OpenVINO's own, with OpenVINO. Raises CompileFailed for ``backend`` with
    OpenVINO's own reason."""
    from servefit.backends.libraries.onnx_session import open_session
    from servefit.backends.libraries.openvino_network import OpenVinoNetwork, read_ir
    from servefit.backends.model.onnx_file import read_onnx
    from servefit.backends.model.onnx_interface import interface_of

    file = model.onnx_file
    if file is None:
        interface, _ = interface_of(OpenVinoNetwork(read_ir(model.file)))
        return Converted(read_ir(model.file), interface.to_facts())
    interface, _ = interface_of(open_session(file, Target.CPU, Settings(threads=1), optimised=False))
    content = read_onnx(file).SerializeToString()
    try:
        graph = core().read_model(content)
    except RuntimeError as error:
        raise CompileFailed(backend, f"OpenVINO does not read it: {reason_of(error)}") from error
    names = {name for output in graph.outputs for name in output.names}
    if missing := [name for name in interface.outputs if name not in names]:
        raise CompileFailed(backend, f"OpenVINO has no output {missing[0]!r}")
    return Converted(graph, interface.to_facts())


def _quantised(
    network: Converted, feeds: Sequence[Mapping[str, np.ndarray]], spared: Collection[str], backend: str
) -> Any:
    """Return the network quantised by NNCF, calibrated on the calls with ``feeds``, but for the layers that give the
    outputs ``spared``. Raises CompileFailed."""
    nncf = imported_silently("nncf")
    operators = {operator.get_type_name() for operator in network.graph.get_ops()}
    # NNCF must know of attention: some of its operators lose too much in 8 bits.
    is_transformer = "Convolution" not in operators and bool(operators & {"Softmax", "ScaledDotProductAttention"})
    # By default NNCF ends a range at the mean of the calls' largest values, which clips tables.
    ranges = imported_silently("nncf.quantization.range_estimator").RangeEstimatorParametersSet.MINMAX
    try:
        return nncf.quantize(
            network.graph,
            nncf.Dataset(feeds),
            subset_size=len(feeds),
            model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
            ignored_scope=nncf.IgnoredScope(names=_layers_of(network.graph, spared)) if spared else None,
            advanced_parameters=nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges),
        )
    except Exception as error:  # NNCF passes on what OpenVINO raises, and has errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CompileFailed(backend, f"NNCF does not quantise it: {reason[:300]}") from error


def _layers_of(graph: Any, outputs: Collection[str]) -> list[str]:
    """Return the names of the products and convolutions that give ``outputs`` of the ONNX model. Those with a bias are
    two operations, of which the addition has the name of the output."""
    names = []
    for node in graph.get_ops():
        if node.get_output_size() and not node.output(0).get_names().isdisjoint(outputs):
            while node.get_type_name() == "Add":
                node = node.input_value(0).get_node()
            names.append(node.get_friendly_name())
    return names


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


def _shapes_of_one_row(interface: OnnxInterface) -> Mapping[str, Sequence[int]] | None:
    """Return the shapes of the inputs for one row, by name, of a network that takes any number of rows and leaves
    nothing else open; None for others, and where a row is large: there its calls take long."""
    if interface.sizes or interface.batch is not None:
        return None
    shapes = {one.name: (1, *one.fixed_shape) for one in interface.inputs}
    size = sum(prod(shapes[one.name]) * np.dtype(one.datatype).itemsize for one in interface.inputs)
    return shapes if size <= COPIED_BYTES else None


def _shapes_follow_inputs(graph: Any, interface: OnnxInterface) -> bool:
    """Return whether the shapes of the inputs alone decide all shapes in ``graph``, an openvino.Model, whose inputs are
    then of fixed shapes. Where values do (the number of things found in an image), a call may fail though one of the
    same shapes did not."""
    if any(node.get_type_name() in _WITH_GRAPHS_OF_THEIR_OWN for node in graph.get_ordered_ops()):
        return False
    rows = interface.batch or _ROWS
    places = interface.packing.places({size.name: size.usual for size in interface.sizes})
    try:
        graph.reshape({place.tensor.name: [rows, *place.shape] for place in places})
    except RuntimeError:
        return False
    outputs = (output for node in graph.get_ordered_ops() for output in node.outputs())
    return not any(output.get_partial_shape().is_dynamic for output in outputs)
