"""Reads ONNX files, and opens no other: weights that a file keeps elsewhere are refused wherever they stand in it.

A model may name any file of its folder, and ONNX Runtime and the onnx package then read that: it would come out as
predictions, and be neither in the model's digest nor in a bundle. So this looks before either of the two does. What
is named is read once, by ``onnx_weights``, when the user opens the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servefit.errors import CorruptModel, UnsupportedModel

if TYPE_CHECKING:
    import onnx

_MAX_DEPTH = 60
"""Messages within messages. A node in a branch of a branch is some eight deep, and protobuf itself ends at 100."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Return the model in the file at ``path``. Raises UnsupportedModel where it keeps weights in other files,
    CorruptModel where it is nested too deeply, and what protobuf raises for a file that is damaged."""
    model = read_graph(path)
    if next(weights_elsewhere(model, path), None) is not None:
        raise UnsupportedModel(f"{path} keeps its weights in other files", remedy="save it as one file")
    return model


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name: numbers, texts as bytes, lists of these, and arrays."""
    import onnx

    def value(attribute: Any) -> Any:
        content = onnx.helper.get_attribute_value(attribute)
        return onnx.numpy_helper.to_array(content) if isinstance(content, onnx.TensorProto) else content

    return {attribute.name: value(attribute) for attribute in node.attribute}


def read_graph(path: Path) -> onnx.ModelProto:
    """Return the model in the file at ``path``, without the weights that it keeps elsewhere. Raises what protobuf
    raises for a file that is damaged."""
    import onnx

    # Without a format, onnx goes by the suffix, and ONNX Runtime does not.
    return onnx.load(str(path), format="protobuf", load_external_data=False)


def weights_elsewhere(model: onnx.ModelProto, path: Path) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of ``model``, which is from ``path``, whose values are in another file. Raises CorruptModel
    where messages are nested too deeply."""
    import onnx

    waiting: list[tuple[Any, int]] = [(model, 0)]
    while waiting:
        message, depth = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            if message.data_location == onnx.TensorProto.EXTERNAL:
                yield message
            continue
        if depth > _MAX_DEPTH:
            raise CorruptModel(path, f"its graphs are nested more than {_MAX_DEPTH} messages deep")
        # Whatever may hold a tensor, in this version of the format or a later one: initializers, attributes, branches,
        # loops, functions, training.
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend((part, depth + 1) for part in ((value,) if hasattr(value, "ListFields") else value))
