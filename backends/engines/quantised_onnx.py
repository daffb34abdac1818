"""ONNX models with int8 weights and activations, by ONNX Runtime's own tools, for ONNX Runtime.

Dynamically: the scale of activations is found in every call, so predictions depend on what else is in it. Statically:
it is chosen once, by rows of a payload. How far predictions may go from the model's own is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.backends.checking.calibration import MAX_ROWS_TOGETHER
from servefit.backends.engines.onnxruntime import OnnxRuntimeBackend
from servefit.backends.libraries.cpu import has_instructions
from servefit.backends.libraries.onnx_session import open_session
from servefit.backends.model import onnx_io
from servefit.backends.model.onnx_file import read_graph
from servefit.backends.model.onnx_io import OnnxInterface, refusals
from servefit.backends.model.packing import join_predictions
from servefit.backends.model.types import Task
from servefit.backends.types import LAYERS, Artifact, Availability, Precision, Predictor, Settings, Target
from servefit.errors import BackendError, CompileFailed

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from servefit.backends.model import Model

_MODEL = "model.onnx"

_PRODUCTS = ("MatMul", "Gemm")
"""The operators that texts and tables spend their time on. Products of two activations are left as they are."""

_OF_IMAGES = (*_PRODUCTS, "Conv", "Relu", "Clip", "MaxPool", "AveragePool", "Add", "Concat", "Flatten", "Reshape")
"""The operators of networks with convolutions: from one to the next, values stay 8 bits wide."""

_SCALES_OF_CHANNELS = 13
"""The version of ONNX from which on weights may have a scale for each channel, and not only one."""

_ROWS_A_CALL = 8
"""More of them save little, and take the memory of all intermediate values. Chosen, not measured."""


class _QuantisedBackend(OnnxRuntimeBackend):
    """The common part of the two backends."""

    precision = Precision.INT8

    def probe(self, target: Target = Target.CPU) -> Availability:
        if target is not Target.CPU:
            return Availability.no("servefit quantises for the CPU only")
        return super().probe(target)

    def supports(self, model: Model) -> Availability:
        if model.onnx_file is None or model.trees is not None or model.signature.task is not Task.TENSOR:
            return Availability.no("it serves networks of ONNX")
        return Availability.yes()

    def cache_key(self) -> str:
        return f"{self.name} 4, {_weight_bits()} bits, {super().cache_key()}"

    def _served(self, artifact: Artifact) -> Artifact:
        facts = dict(artifact.facts)
        facts.pop(LAYERS, None)
        if facts.pop("weight_bits") > _weight_bits():
            raise BackendError(
                self.name,
                "its weights have 8 bits, and the sums of their products run over on this processor, which has no VNNI",
                remedy="compile it on a processor without, or serve it on one with",
            )
        return replace(artifact, facts=facts)

    def _prepared(self, model: Model, workdir: Path) -> tuple[Path, Mapping[str, Any]]:
        """Write the model as it is before it is quantised, shapes told and constants folded; give its file, and the
        facts for serving."""
        from onnxruntime.quantization.shape_inference import quant_pre_process

        from servefit.backends.libraries.onnx_native import prepare

        if model.onnx_file is None:
            raise CompileFailed(self.name, "it is no ONNX model")
        facts = prepare(model.onnx_file, workdir)
        prepared = workdir / "prepared.onnx"
        try:
            quant_pre_process(workdir / _MODEL, prepared, skip_symbolic_shape=True)
        except Exception as error:  # ONNX Runtime's tools have no base class for what they do not take
            raise _failed(self.name, error) from error
        return prepared, facts


class DynamicInt8Backend(_QuantisedBackend):
    """Products with int8 weights. Convolutions are left as they are: ONNX Runtime's dynamically quantised ones are
    several times slower than those in float32."""

    name = "onnxruntime/int8-dynamic"

    def compile_estimate_s(self, model: Model) -> float:
        return 3.0 + model.size_bytes / 3e7

    def compile(self, model: Model, target: Target, workdir: Path) -> Mapping[str, Any]:
        from onnxruntime import quantization

        prepared, facts = self._prepared(model, workdir)
        try:
            quantization.quantize_dynamic(
                prepared,
                workdir / _MODEL,
                # A Gemm becomes a MatMul and an Add first.
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=_adds_up_in_16_bits(),
                extra_options={"DefaultTensorType": 1},
            )
        except Exception as error:
            raise _failed(self.name, error) from error
        return _quantised(self.name, prepared, workdir / _MODEL, facts)

    def load(self, artifact: Artifact, settings: Settings) -> Predictor:
        return _JudgedCalls(super().load(artifact, settings))


class _JudgedCalls:
    """Calls ``predictor`` with no more rows at once than are judged together. The scale of activations is that of the
    whole call, which the largest value in it decides: the more rows, the less exactly each is predicted."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) <= MAX_ROWS_TOGETHER:
            return self._predictor.predict(rows)
        begins = range(0, len(rows), MAX_ROWS_TOGETHER)
        return join_predictions([self._predictor.predict(rows[begin : begin + MAX_ROWS_TOGETHER]) for begin in begins])

    def close(self) -> None:
        self._predictor.close()


class StaticInt8Backend(_QuantisedBackend):
    """Products and convolutions with int8 weights, between activations whose scales are those of calibration rows."""

    name = "onnxruntime/int8-static"
    calibrates = True

    def compile_estimate_s(self, model: Model) -> float:
        return 6.0 + model.size_bytes / 5e6

    def compile(
        self,
        model: Model,
        target: Target,
        workdir: Path,
        *,
        calibration: np.ndarray | None = None,
        spared: Collection[str] = (),
    ) -> Mapping[str, Any]:
        from onnxruntime import quantization

        from servefit.backends.libraries.onnx_layers import layers_by_error

        if calibration is None:
            raise CompileFailed(self.name, "it calibrates on rows of a payload, and there is none")
        prepared, facts = self._prepared(model, workdir)
        feeds = onnx_io.calls(OnnxInterface.from_facts(facts), calibration, _ROWS_A_CALL)
        graph, first = _with_named_nodes(prepared), next(feeds)
        facts = {**facts, LAYERS: layers_by_error(graph, first, workdir)}
        has_convolutions = any(node.op_type == "Conv" for node in graph.graph.node)
        opset = max(entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
        try:
            quantization.quantize_static(
                prepared,
                workdir / _MODEL,
                _reader(chain([first], feeds)),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=list(_OF_IMAGES if has_convolutions else _PRODUCTS),
                nodes_to_exclude=[*_products_of_activations(graph), *_layers_of(graph, spared)],
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                per_channel=opset >= _SCALES_OF_CHANNELS,
                reduce_range=_adds_up_in_16_bits(),
                extra_options={
                    "DefaultTensorType": 1,
                    # Fails where weights have a scale for each channel, and a bias is small beside them.
                    "QDQDisableWeightAdjustForInt32Bias": True,
                },
            )
        except Exception as error:
            raise _failed(self.name, error) from error
        return _quantised(self.name, prepared, workdir / _MODEL, facts)


def _with_named_nodes(path: Path) -> onnx.ModelProto:
    """Return the model at ``path``, where every node has been given a name."""
    model = read_graph(path)
    for nth, node in enumerate(model.graph.node):
        node.name = f"{nth} {node.name}"
    path.write_bytes(model.SerializeToString())
    return model


def _products_of_activations(model: onnx.ModelProto) -> list[str]:
    """Return the names of the products that have no constant weights, such as those of attention."""
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    return [node.name for node in model.graph.node if node.op_type in _PRODUCTS and node.input[1] not in constants]


def _layers_of(model: onnx.ModelProto, outputs: Collection[str]) -> list[str]:
    """Return the names of the nodes that give ``outputs``."""
    return [node.name for node in model.graph.node if not set(node.output).isdisjoint(outputs)]


def _reader(feeds: Iterator[dict[str, np.ndarray]]) -> Any:
    """Return the ``feeds`` of calibration calls as a reader of ONNX Runtime's tools."""
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(feeds, None)

    return Reader()


def _quantised(backend: str, before: Path, after: Path, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Remove the model as it was, and return the facts. Raises CompileFailed where nothing was quantised, and where
    ONNX Runtime does not open what its tools wrote."""
    quantised = sum("Quantize" in node.op_type for node in read_graph(after).graph.node)
    if quantised <= sum("Quantize" in node.op_type for node in read_graph(before).graph.node):
        raise CompileFailed(backend, "it has nothing with constant weights to quantise")
    before.unlink()
    facts = {**facts, "weight_bits": _weight_bits()}
    try:
        open_session(after, Target.CPU, Settings(threads=1))
    except refusals() as error:
        raise _failed(backend, error) from error
    return facts


def _failed(backend: str, error: Exception) -> CompileFailed:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CompileFailed(backend, f"ONNX Runtime's tools do not quantise it: {reason[:300]}")


def _weight_bits() -> int:
    """Return how many bits weights may have here."""
    return 7 if _adds_up_in_16_bits() else 8


def _adds_up_in_16_bits() -> bool:
    """Return whether products of int8 are added up in 16 bits here, where they run over unless weights have 7 bits: so
    it is on x86 without VNNI."""
    return has_instructions("avx2", "avx512f") and not has_instructions("avx512_vnni", "avx_vnni")
