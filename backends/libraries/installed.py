"""Installed packages: their versions and folders, told without importing it."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from servefit.backends.types import Availability
from servefit.errors import BackendUnavailable


def installed(module: str, *distributions: str, remedy: str) -> Availability:
    """Return the version of ``module``, which one of ``distributions`` brought (its own name, where none is given).

    A library may be installed under several names: xgboost and xgboost-cpu, onnxruntime and onnxruntime-gpu.
    """
    if find_spec(module) is None:
        return Availability.no(f"{module} is not installed", remedy=remedy)
    for distribution in distributions or (module,):
        try:
            return Availability.yes(metadata.version(distribution))
        except metadata.PackageNotFoundError:
            continue
    return Availability.no(
        f"{module} can be found, but none of {', '.join(distributions or (module,))} is installed", remedy=remedy
    )


def package_folder(module: str) -> Path:
    """Return the folder in which the package ``module`` is installed. Raises BackendUnavailable.

    Loaders open a package's shared library there and do not import the package: imports of numeric packages take from
    0.3 s up to several seconds, in every worker and child process.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise BackendUnavailable(module, f"{module} is not installed", remedy=f"pip install {module}")
    return Path(spec.origin).parent


def thread_counts(vcpus: int) -> tuple[int, ...]:
    """Return the thread counts worth trying on ``vcpus``: the powers of two up to it, and itself."""
    powers = {1 << exponent for exponent in range(vcpus.bit_length())}
    return tuple(sorted({*powers, vcpus}))
