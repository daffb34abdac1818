"""The user's statements on the inputs of a model: values that never change, what rows are padded by, and, of
TorchScript, datatypes and shapes. How it becomes part of the model is in ``onnx_given``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from servefit.backends.model.input_shapes import InputShape, input_shapes, looks_like_shape
from servefit.backends.model.onnx_constants import checked_values
from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.showing import shown


@shown()
@dataclass(frozen=True, slots=True)
class Given:
    """``constants`` are the values of inputs by name, ``padded_by`` is the name of the mask, "zeros" where there
    is none, or None. ``shapes`` are those of the inputs of a module of TorchScript."""

    constants: Mapping[str, float] = field(default_factory=dict)
    padded_by: str | None = None
    shapes: Mapping[str, InputShape] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.constants) or bool(self.shapes) or self.padded_by is not None

    @classmethod
    def checked(cls, inputs: Mapping[str, Any] | None, pad: str | None) -> Given:
        """Return the arguments of ``Model.load``, checked. Raises SpecError."""
        check_type("pad", pad, str | None)
        check_type("inputs", inputs, Mapping[str, object] | None)
        texts = inputs or {}
        shapes = input_shapes({name: value for name, value in texts.items() if looks_like_shape(value)})
        return cls(checked_values({name: value for name, value in texts.items() if name not in shapes}), pad, shapes)

    def inputs(self) -> dict[str, float | str]:
        """Return what ``Model.load`` was given as inputs."""
        return {**{name: str(shape) for name, shape in self.shapes.items()}, **self.constants}

    def refuse(self) -> SpecError:
        """Return the error for a model that has no such inputs."""
        name = next(iter({**self.constants, **self.shapes}), self.padded_by)
        option = "pad" if name == self.padded_by and not self.constants else "input"
        return SpecError(option, name, "is for ONNX files and modules of PyTorch, and this model is neither")


NOTHING_GIVEN = Given()
