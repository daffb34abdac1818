"""A model of OpenVINO's own format, IR, behind the calls that sessions of ONNX Runtime have: so it is described, and
rows go in and predictions come out, as with ONNX models (``model.onnx_interface``, ``model.onnx_io``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from servefit.backends.libraries.openvino_indices import watch_indices
from servefit.backends.libraries.openvino_library import compiled_graph, core, reason_of
from servefit.backends.libraries.openvino_session import OpenVinoSession
from servefit.backends.model.openvino_files import graph_in
from servefit.backends.types import Settings
from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    import numpy as np

_TYPES = {
    "f32": "tensor(float)",
    "f64": "tensor(double)",
    "f16": "tensor(float16)",
    "boolean": "tensor(bool)",
    "string": "tensor(string)",
    **{
        f"{letter}{bits}": f"tensor({kind}{bits})"
        for letter, kind in (("i", "int"), ("u", "uint"))
        for bits in (8, 16, 32, 64)
    },
}
"""ONNX Runtime's names of OpenVINO's types."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or an output, as ONNX Runtime describes one; a size that each request has for itself is None."""

    name: str
    type: str
    shape: Sequence[int | None]


class OpenVinoNetwork:
    """Calls ``graph``, an openvino.Model, in float32 on one thread: the reference of models of OpenVINO."""

    def __init__(self, graph: Any) -> None:
        self._inputs, self._outputs = [_port(one) for one in graph.inputs], [_port(one) for one in graph.outputs]
        self.table_rows = watch_indices(graph)
        compiled = compiled_graph(graph, "openvino", "f32", Settings(threads=1))
        self._session = OpenVinoSession(compiled, "openvino", self.table_rows, shapes_follow_inputs=False)

    def get_inputs(self) -> list[Port]:
        return self._inputs

    def get_outputs(self) -> list[Port]:
        return self._outputs

    def get_modelmeta(self) -> SimpleNamespace:
        return SimpleNamespace(custom_metadata_map={})

    def run(self, names: list[str], feeds: Mapping[str, np.ndarray], /) -> list[np.ndarray]:
        """Return the outputs called ``names``. Raises RowsRefused."""
        return self._session.run(names, feeds)


def read_ir(archive: Path) -> Any:
    """Return the graph of a model that ``openvino_files`` put into one file, an openvino.Model: inputs and outputs that
    were saved without names have some when OpenVINO has read them. Raises CorruptModel."""
    with TemporaryDirectory() as folder:
        try:
            return core().read_model(str(graph_in(archive, Path(folder))))
        except RuntimeError as error:
            raise CorruptModel(archive, f"OpenVINO does not read it: {reason_of(error)}") from error


def _port(port: Any) -> Port:
    name, shape = min(port.names), port.get_partial_shape()
    if shape.rank.is_dynamic:
        raise UnsupportedModel(f"its tensor {name!r} may have any number of dimensions")
    kind = port.get_element_type().get_type_name()
    sizes = [None if size.is_dynamic else size.get_length() for size in shape]
    return Port(name, _TYPES.get(kind, f"tensor({kind})"), sizes)
