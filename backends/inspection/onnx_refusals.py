"""ONNX Runtime's refusals of a model, in words about the model: the library's texts name its statuses, its sources and
the file again. Runs in the inspection's child process.
"""

from __future__ import annotations

import re
from pathlib import Path

from servefit.errors import CorruptModel, ModelError, UnsupportedModel

_UNIMPLEMENTED = re.compile(r"Could not find an implementation for (\w+)\((\d+)\)")
_UNKNOWN = re.compile(r"(\S+?)\(-?\d+\) is not a registered function/op")
_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")
_OWN = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:|^Exception during initialization: "
)
_SOURCE = re.compile(r"\S+\.(?:cc|h):\d+ (operator\(\) )?")


def refusal(path: Path, error: Exception) -> ModelError:
    """Return the error that says why ONNX Runtime does not open the model at ``path``."""
    said = " ".join(str(error).split())
    if match := _UNIMPLEMENTED.search(said):
        operator, opset = match.groups()
        return UnsupportedModel(
            f"ONNX Runtime has no {operator} as opset {opset} has it for these datatypes",
            remedy="export it with a newer opset, or convert it: onnx.version_converter.convert_version(model, 17)",
        )
    if match := _UNKNOWN.search(said):
        return UnsupportedModel(f"it has the operator {match[1].rpartition(' ')[2]}, which ONNX Runtime does not know")
    if match := _LOCALE.search(said):
        return UnsupportedModel(
            f"it needs the locale {match[1]}, which this host does not have",
            remedy="install it (Debian: apt install locales-all), or export the model with the locale C.UTF-8",
        )
    previous = ""
    while said != previous:
        previous, said = said, _OWN.sub("", said).strip()
    return CorruptModel(path, _SOURCE.sub("", said)[:300].rstrip(" .:") or type(error).__name__)
