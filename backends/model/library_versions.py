"""The versions of the libraries that open a model, of which what is found out about it is true. None is imported."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from servefit.backends.model.scripts import python_and_packages
from servefit.backends.model.types import Format, Library
from servefit.errors import BackendUnavailable

_MODULES = {Library.ONNX: "onnxruntime"}
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def versions_text(kind: Format) -> str:
    """Return the libraries that open a file of that format, each with its version, as part of a file's name. Raises
    BackendUnavailable for one that is not installed."""
    library = kind.library
    if library is Library.SCRIPT:  # any of the packages may be what it uses
        return f"{library}-{python_and_packages()}-treelite-{metadata.version('treelite')}"
    if library is Library.OPENVINO:
        return f"openvino-{_version_of('openvino', extra='openvino')}"
    if library is not Library.TORCH:
        module = _MODULES.get(library, library.value)
        return f"{library}-{_version_of(module, extra=module)}-treelite-{metadata.version('treelite')}"
    modules = ["torch", "onnxruntime"]
    if kind is not Format.TORCHSCRIPT:
        modules.append("onnxscript")
    if kind is Format.HUGGINGFACE:
        modules.append("transformers")
    extra = "huggingface" if kind is Format.HUGGINGFACE else "torch"
    return "-".join(f"{module}-{_version_of(module, extra=extra)}" for module in modules)


def _version_of(module: str, *, extra: str) -> str:
    if find_spec(module) is None:
        raise BackendUnavailable(
            module, f"the model needs {module}, which is not installed", remedy=f"pip install 'servefit[{extra}]'"
        )
    try:
        return metadata.version(_DISTRIBUTIONS.get(module, module))
    except metadata.PackageNotFoundError:
        # Installed under another name, such as xgboost-cpu or onnxruntime-gpu.
        return metadata.version(metadata.packages_distributions()[module][0])
