"""The inspection of a module of PyTorch: it becomes an ONNX file, which tells the inputs and the outputs, and is what
other runtimes serve. Runs in the inspection's child process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.backends.inspection.onnx import inspect_onnx
from servefit.backends.inspection.torch_export import export
from servefit.backends.model.onnx_given import write_given
from servefit.backends.model.torch_io import open_module

if TYPE_CHECKING:
    from pathlib import Path

    from servefit.backends.model.inspection_record import Inspection
    from servefit.backends.model.types import Format, Input

_CONVERTED, _MASK = "converted.onnx", "attention_mask"


def inspect_torch(path: Path, kind: Format, folder: Path) -> Inspection:
    """Open a module, write it into ``folder`` as an ONNX file, with what was said of its inputs, and inspect that.
    Raises UnsupportedModel where it cannot be one, SpecError where it does not have these inputs, and what opening it
    raises."""
    module = open_module(path, kind, plain=True)
    warnings = export(module, folder / _CONVERTED)
    if module.said.constants or module.said.padded_by is not None:
        write_given(folder / _CONVERTED, module.said, folder / _CONVERTED)
    inspection = inspect_onnx(folder / _CONVERTED, folder)
    signature = replace(inspection.signature, inputs=tuple(map(_unmasked, inspection.signature.inputs)))
    return replace(
        inspection,
        format=kind,
        signature=signature,
        converted_name=_CONVERTED,
        warnings=(*warnings, *inspection.warnings),
    )


def _unmasked(model_input: Input) -> Input:
    """Return the input; if it is the mask, limit the drawn values to 1. Texts are served at their own lengths, and
    implementations of attention differ on rows that are masked completely."""
    return (
        replace(model_input, lowest=1, highest=1) if model_input.name == _MASK and model_input.is_whole else model_input
    )
