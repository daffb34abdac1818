"""Makes the user's statements on inputs part of a model: values that never change, what rows are padded by, and the
shapes of TorchScript.

Its file is written anew, so that digests, caches, bundles and other hosts tell models apart of which something else was
said. An ONNX file is rewritten in a child process: what is written is in ``onnx_constants`` and ``onnx_padding``. To a
file of PyTorch it is added (``torch_archive``), and done to the ONNX file that the module becomes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from servefit.backends.model.keeping import ModelFile, file_digest
from servefit.backends.model.onnx_constants import fix_inputs
from servefit.backends.model.onnx_file import read_onnx
from servefit.backends.model.torch_archive import with_said
from servefit.backends.model.types import Format, Library
from servefit.errors import SpecError
from servefit.isolation import call_isolated
from servefit.state import writing

if TYPE_CHECKING:
    from servefit.backends.model.given import Given

_TIMEOUT_S, _MEMORY_BYTES = 120.0, 16 * 2**30
"""As for an inspection, which reads the same file."""


def with_given(model: ModelFile, given: Given, folder: Path) -> ModelFile:
    """Return the ``model`` with the statements ``given`` on its inputs, in the empty ``folder``. Raises SpecError for
    missing or unsuitable inputs (those of a PyTorch module are checked by the inspection), StateError, and the errors
    of reading it."""
    if given.shapes and model.format is not Format.TORCHSCRIPT:
        raise SpecError("input", next(iter(given.shapes)), "has a shape, which models other than TorchScript tell")
    if model.format is Format.TORCHSCRIPT and given.constants:
        name, value = next(iter(given.constants.items()))
        raise SpecError(
            "input",
            f"{name}={value:g}",
            "is a value, and TorchScript does not tell the datatype and the shape that it has",
            remedy="wrap the module in one that passes it on, and save that, or save it with torch.export.save",
        )
    if model.format.library is Library.TORCH:
        return with_said(model, given, folder)
    if model.format is not Format.ONNX:
        raise given.refuse()
    with writing(folder):
        folder.mkdir()
    target = folder / "model.onnx"
    call_isolated(
        f"{__name__}:write_given",
        model.file,
        given,
        target,
        timeout_s=_TIMEOUT_S,
        memory_bytes=_MEMORY_BYTES,
    )
    return ModelFile(file=target, digest=file_digest(target), format=Format.ONNX)


def write_given(path: Path, given: Given, target: Path) -> None:
    """Write the model at ``path``, with the statements ``given``, to ``target``: the part of ``with_given`` in the
    child process."""
    from servefit.backends.model.onnx_padding import mark_padded

    model = read_onnx(path)
    if given.constants:
        fix_inputs(model, given.constants)
    if given.padded_by is not None:
        mark_padded(model, given.padded_by)
    with writing(target):
        target.write_bytes(model.SerializeToString(deterministic=True))
