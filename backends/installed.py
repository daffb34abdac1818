"""Whether a library is installed, and which version, told without importing it."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from servefit.backends.types import Availability


def installed(module: str, *distributions: str, remedy: str) -> Availability:
    """The version of ``module``, which one of ``distributions`` brought (its own name, where none is given).

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


def thread_counts(vcpus: int) -> tuple[int, ...]:
    """The thread counts worth trying on ``vcpus``: the powers of two up to it, and itself."""
    powers = {1 << exponent for exponent in range(vcpus.bit_length())}
    return tuple(sorted({*powers, vcpus}))
