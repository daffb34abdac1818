"""The datatypes and shapes of inputs as a user writes them: ``float32[rows,3,224,224]``.

A module of TorchScript takes tensors of any shape, as far as its file tells. So the user says what it is given: numbers
for sizes that never change, and names for those that each request has for itself. The first size is the number of rows
in a call.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from servefit.backends.model.width import MAX_FEATURES
from servefit.errors import SpecError
from servefit.showing import shown

DATATYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Those that PyTorch and ONNX both have."""

_MAX_DIMENSIONS = 8
"""Videos have five. Chosen, not measured."""

_SHAPE = re.compile(r"\s*(?P<datatype>\w*)\s*\[(?P<sizes>[^\[\]]*)\]\s*")
_NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


@shown()
@dataclass(frozen=True, slots=True)
class InputShape:
    """The NumPy datatype of an input, and its sizes with that of the rows: numbers, or names of sizes that are
    free."""

    datatype: str
    sizes: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.datatype}[{','.join(map(str, self.sizes))}]"


def is_by_position(names: Iterable[str]) -> bool:
    """Return whether ``names`` are those that ``numpy.savez`` gives arrays that have none, in their order."""
    return all(name == f"arr_{nth}" for nth, name in enumerate(names))


def looks_like_shape(value: Any) -> bool:
    """Return whether ``value`` is meant to be a datatype and a shape, rightly or not."""
    return isinstance(value, str) and "[" in value


def input_shape(name: str, text: str) -> InputShape:
    """Return what ``text`` says of the input ``name``. Raises SpecError.

    Example:
        >>> input_shape("image", "float32[rows,3,224,224]").sizes
        ('rows', 3, 224, 224)
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise SpecError("input", text, "is no datatype and shape, such as float32[rows,3,224,224]")
    if match["datatype"] not in DATATYPES:
        raise SpecError.unknown("datatype", match["datatype"], DATATYPES)
    sizes = tuple(_size(part.strip(), text) for part in match["sizes"].split(","))
    if len(sizes) > _MAX_DIMENSIONS:
        raise SpecError("input", text, f"has more than {_MAX_DIMENSIONS} sizes")
    if sizes[0] in sizes[1:] and isinstance(sizes[0], str):
        raise SpecError("input", text, f"has the number of rows ({sizes[0]}) not only in the first place")
    if prod(size for size in sizes if isinstance(size, int)) > MAX_FEATURES:
        raise SpecError("input", f"{name}={text}", f"has more than {MAX_FEATURES:,} values")
    return InputShape(match["datatype"], sizes)


def input_shapes(texts: Mapping[str, str]) -> dict[str, InputShape]:
    """Return the shapes of several inputs, by name. Raises SpecError, also where they differ in the number of rows."""
    shapes = {name: input_shape(name, text) for name, text in texts.items()}
    if len(rows := {shape.sizes[0] for shape in shapes.values()}) > 1:
        counts = " and ".join(sorted(map(str, rows)))
        raise SpecError("input", ", ".join(texts), f"differ in the first size, the number of rows: {counts}")
    return shapes


def _size(part: str, text: str) -> int | str:
    if _NUMBER.fullmatch(part) and int(part) > 0:
        return int(part)
    if _NAME.fullmatch(part):
        return part
    raise SpecError("input", text, f"has the size {part!r:.40}, which is neither a number above 0 nor a name")
