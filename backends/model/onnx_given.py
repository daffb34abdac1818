"""What the user says of the inputs of a model: values that never change, and what rows are padded by, of those of
ONNX; shapes, of TorchScript.

All become part of the model. Its file is written anew, in a child process, so that digests, caches, bundles and other
hosts tell models apart of which something else was said. What is written is in ``onnx_constants`` and ``onnx_padding``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servefit.backends.model.input_shapes import InputShape, input_shapes, looks_like_shape
from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.backends.model.onnx_constants import checked_values, fix_inputs
from servefit.backends.model.onnx_file import read_onnx
from servefit.backends.model.torch_archive import with_shapes
from servefit.backends.model.types import Format, Library
from servefit.errors import SpecError
from servefit.field_types import check_type
from servefit.isolation import call_isolated
from servefit.showing import shown
from servefit.state import writing

_TIMEOUT_S, _MEMORY_BYTES = 120.0, 16 * 2**30
"""As for an inspection, which reads the same file."""


@shown()
@dataclass(frozen=True, slots=True)
class Given:
    """``constants`` are the values of inputs by name, ``padded_by`` is the name of the mask, "zeros" where
    there is none, or None. ``shapes`` are those of the inputs of a module of TorchScript."""

    constants: Mapping[str, float] = field(default_factory=dict)
    padded_by: str | None = None
    shapes: Mapping[str, InputShape] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.constants) or bool(self.shapes) or self.padded_by is not None

    @classmethod
    def checked(cls, inputs: Mapping[str, Any] | None, pad: str | None) -> Given:
        """Return what ``Model.load`` was given. Raises SpecError."""
        check_type("pad", pad, str | None)
        given = inputs or {}
        shapes = input_shapes({name: value for name, value in given.items() if looks_like_shape(value)})
        return cls(checked_values({name: value for name, value in given.items() if name not in shapes}), pad, shapes)

    def refuse(self) -> SpecError:
        """Return the error for a model that has no such inputs."""
        name = next(iter({**self.constants, **self.shapes}), self.padded_by)
        option = "pad" if name == self.padded_by and not self.constants else "input"
        return SpecError(option, name, "is for ONNX models, and this one has a table for an input")


NOTHING_GIVEN = Given()


def with_given(found: ModelFile, given: Given, folder: Path) -> ModelFile:
    """Return the model ``found`` with what is ``given``, in the empty ``folder``. Raises SpecError for inputs that it
    does not have or that do not do, StateError, and what reading it raises."""
    if given.shapes:
        return _with_shapes(found, given, folder)
    if found.format.library is Library.TORCH:
        name = next(iter(given.constants), given.padded_by)
        raise SpecError("input" if given.constants else "pad", name, "is for ONNX models, and this one is of PyTorch")
    if found.format is not Format.ONNX:
        raise given.refuse()
    with writing(folder):
        folder.mkdir()
    target = folder / "model.onnx"
    call_isolated(
        f"{__name__}:write_given",
        found.file,
        given,
        target,
        timeout_s=_TIMEOUT_S,
        memory_bytes=_MEMORY_BYTES,
    )
    return ModelFile(file=target, digest=file_digest(target), format=Format.ONNX)


def _with_shapes(found: ModelFile, given: Given, folder: Path) -> ModelFile:
    if found.format is not Format.TORCHSCRIPT:
        raise SpecError("input", next(iter(given.shapes)), "has a shape, which models other than TorchScript tell")
    if given.constants or given.padded_by is not None:
        name = next(iter(given.constants), given.padded_by)
        raise SpecError("input" if given.constants else "pad", name, "is for ONNX models, and this one is TorchScript")
    return with_shapes(found, given.shapes, folder)


def write_given(path: Path, given: Given, target: Path) -> None:
    """Write the model at ``path``, with what is ``given``, to ``target``: the part of ``with_given`` that runs in the
    child process."""
    from servefit.backends.model.onnx_padding import mark_padded

    model = read_onnx(path)
    if given.constants:
        fix_inputs(model, given.constants)
    if given.padded_by is not None:
        mark_padded(model, given.padded_by)
    with writing(target):
        target.write_bytes(model.SerializeToString(deterministic=True))
