"""The distributions that serving one artifact takes, with the versions that are installed here.

Nothing is imported to find out. servefit itself is not among them: its code travels in the bundle.
"""

from __future__ import annotations

import ast
import pickle
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from servefit.backends.finding.registry import BUILT_IN, entry_point
from servefit.backends.libraries.script.predictor import UNPACKED
from servefit.backends.model.scripts import SCRIPT, required_packages
from servefit.backends.model.types import Format
from servefit.backends.pipelines.compiling import STEPS
from servefit.backends.types import Artifact, Target
from servefit.errors import BackendUnavailable, UnsupportedModel
from servefit.plug_ins import Package

SERVING = ("httptools", "msgspec", "numpy", "prometheus-client", "uvloop")
"""The distributions that servefit.serving imports, whatever it serves."""

_LOADED = {
    "xgboost": ("xgboost",),
    "lightgbm": ("lightgbm",),
    "catboost": ("catboost",),
    "sklearn": ("sklearn",),
    "onnxruntime": ("onnxruntime",),
    "onnxruntime/int8-dynamic": ("onnxruntime",),
    "onnxruntime/int8-static": ("onnxruntime",),
    "openvino": ("openvino",),
    "openvino/bf16": ("openvino",),
    "openvino/int8": ("openvino",),
    "torch": ("torch",),
    "treelite": ("treelite",),
    "tl2cgen": (),
    "onedal": ("daal4py",),
    "forest": (),
    "pipeline": (),
    "script": (),
}
"""The packages that a backend loads to serve. TL2cgen's artifacts are machine code; forest's kernel is servefit's, as
are the steps of pipelines, but for those that stay in scikit-learn."""

_LIBRARY_ALONE = frozenset({"xgboost", "lightgbm", "treelite", "openvino", "openvino/bf16", "openvino/int8"})
"""Backends that open a package's shared library and never import the package: what it depends on stays away. That is
600 MB for xgboost, scipy and the library by which several GPUs train together. OpenVINO is imported, but depends on its
telemetry alone, beside NumPy, and does without. On CUDA nothing is left out."""

_EXTRAS_ON_CUDA = ("cuda", "cudnn")
"""The extras by which onnxruntime-gpu brings the libraries of CUDA, where they are installed that way."""


def python_version() -> str:
    """Return the Python that the versions hold for, such as "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def platform_name() -> str:
    """Return the platform that they hold for, such as "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def requirements(artifact: Artifact) -> tuple[str, ...]:
    """Return the pins, "numpy==2.4.6", in alphabetical order.

    Raises BackendUnavailable where something is not installed, and UnsupportedModel for a pickle that refers to modules
    which no installed distribution brings.
    """
    alone = _is_alone(artifact)
    of_backend = set(_backend_distributions(artifact))
    pinned: dict[str, str] = {}
    waiting = [*SERVING, *sorted(of_backend)]
    while waiting:
        name = waiting.pop()
        distribution = _installed(name, artifact.backend)
        canonical = _canonical(distribution.metadata["Name"])
        # A backend of another package depends on servefit, whose code is in the bundle.
        if canonical in pinned or canonical == "servefit":
            continue
        pinned[canonical] = distribution.version
        if not (alone and name in of_backend):
            waiting.extend(_needed_by(distribution, artifact.target))
    return tuple(f"{name}=={version}" for name, version in sorted(pinned.items()))


def _backend_distributions(artifact: Artifact) -> Iterator[str]:
    """Iterate over the distributions that the backend itself loads."""
    name = artifact.backend
    if name not in BUILT_IN:
        yield Package.of(entry_point(name).dist).name
        return
    loaded = set(_LOADED[name])
    if name == "sklearn" and artifact.facts.get("in_frames"):
        loaded.add("pandas")
    modules = set(loaded)
    if name == "sklearn":
        modules |= modules_of_pickle(artifact.folder / "model.pkl")
    if "steps" in artifact.facts:
        loaded |= set(artifact.facts["loaded"])
        modules |= loaded | modules_of_pickle(artifact.folder / STEPS)
    if name == "torch" and artifact.facts["format"] == Format.HUGGINGFACE:
        modules.add("transformers")
    bringing = metadata.packages_distributions()
    if name == "script":
        # What is not installed is one of its own modules, or one that it can do without: it has been seen to load.
        modules |= modules_of_code(artifact.folder / UNPACKED) & bringing.keys()
    for module in sorted(modules - sys.stdlib_module_names - {"servefit"}):
        if module in bringing:
            yield from bringing[module]
        elif module in loaded:
            raise BackendUnavailable(name, f"{module} is not installed")
        else:
            raise UnsupportedModel(
                f"its pickle refers to the module {module!r}, which no installed distribution brings",
                remedy="install it as a package, or export the model to ONNX",
            )


def _installed(name: str, backend: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as error:
        raise BackendUnavailable(backend, f"{name} is not installed", remedy=f"pip install {name}") from error


def depends_on(pinned: Mapping[str, str], artifact: Artifact, python: str) -> Iterator[tuple[str, str, str]]:
    """Iterate over what the ``pinned`` packages of an artifact, versions by name, depend on with another Python, as in
    "3.12": the package, what it needs, and the versions of that which do."""
    from packaging.requirements import Requirement

    alone = {_canonical(name) for name in _backend_distributions(artifact)} if _is_alone(artifact) else set()
    environment = {"extra": "", "python_version": python, "python_full_version": f"{python}.0"}
    for name in sorted(pinned.keys() - alone):
        for requirement in map(Requirement, metadata.distribution(name).requires or ()):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                yield name, _canonical(requirement.name), str(requirement.specifier)


def _is_alone(artifact: Artifact) -> bool:
    """Return whether only the shared library of the backend's package is opened."""
    return artifact.backend in _LIBRARY_ALONE and artifact.target is Target.CPU


def _needed_by(distribution: metadata.Distribution, target: Target) -> Iterator[str]:
    """Iterate over the distributions that ``distribution`` depends on here, without its extras but for those of
    CUDA."""
    from packaging.requirements import Requirement

    for requirement in map(Requirement, distribution.requires or ()):
        marker = requirement.marker
        if marker is None or marker.evaluate({"extra": ""}):
            yield requirement.name
        elif target is Target.CUDA and any(marker.evaluate({"extra": extra}) for extra in _EXTRAS_ON_CUDA):
            with suppress(metadata.PackageNotFoundError):
                yield metadata.distribution(requirement.name).metadata["Name"]


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def modules_of_pickle(path: Path) -> set[str]:
    """Return the top-level modules whose names a pickle refers to, found without importing or running anything of
    theirs."""
    modules: set[str] = set()

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, _name: str) -> type[_Anything]:
            modules.add(module.partition(".")[0])
            return _Anything

        def persistent_load(self, _facts: Any) -> None:
            """A forest, in a file of its own."""

    with path.open("rb") as stream:
        Reader(stream).load()
    return modules


def modules_of_code(model_dir: Path) -> set[str]:
    """Return the top-level modules that the code beside a script imports, found without running it, and the packages of
    its requirements.txt that are installed, by the modules that they bring."""
    modules: set[str] = set()
    for file in (model_dir / SCRIPT).parent.rglob("*.py"):
        for node in _nodes(file):
            if isinstance(node, ast.Import):
                modules.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.partition(".")[0])
    wanted = {_canonical(name) for name in required_packages(model_dir)}
    for module, distributions in metadata.packages_distributions().items():
        if any(_canonical(distribution) in wanted for distribution in distributions):
            modules.add(module)
    return modules


def _nodes(file: Path) -> Iterator[ast.AST]:
    """Iterate over the syntax tree of ``file``; nothing of one that is no Python, which nothing can import either."""
    try:
        yield from ast.walk(ast.parse(file.read_bytes()))
    except (SyntaxError, ValueError, RecursionError):
        return


class _Anything:
    """A stand-in for whatever a pickle would call, make or fill."""

    def __new__(cls, *_arguments: Any, **_options: Any) -> _Anything:
        return object.__new__(cls)

    def __init__(self, *_arguments: Any, **_options: Any) -> None: ...

    def __call__(self, *_arguments: Any, **_options: Any) -> _Anything:
        return _Anything()

    def __setstate__(self, _state: Any) -> None: ...

    def __setitem__(self, _key: Any, _value: Any) -> None: ...

    def append(self, _item: Any) -> None: ...

    def extend(self, _items: Iterable[Any]) -> None: ...

    def add(self, _item: Any) -> None: ...

    def update(self, _items: Mapping[Any, Any]) -> None: ...
