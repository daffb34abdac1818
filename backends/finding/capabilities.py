"""The capabilities of backends, as they say themselves: whether they run here, which models they take, and which
settings they have.

The built-in ones are asked in this process. Those of other packages answer from a child process (``foreign``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.backends.finding.registry import BUILT_IN, backend_names, entry_point, imported
from servefit.backends.types import Availability, Knob, Precision, Target
from servefit.errors import SpecError
from servefit.plug_ins import Package

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.types import Capabilities


@dataclass(slots=True)
class _RefusedBackend:
    """The backend called ``name``, which several packages want, so that it cannot be asked: it is not available, for
    the reason in ``refusal``."""

    name: str
    refusal: Availability

    @property
    def precision(self) -> Precision:
        return Precision.EXACT

    @property
    def calibrates(self) -> bool:
        return False

    def probe(self, target: Target = Target.CPU) -> Availability:
        return self.refusal

    def supports(self, model: Model) -> Availability:
        return self.refusal

    def knobs(self, model: Model, vcpus: int, target: Target = Target.CPU) -> tuple[Knob, ...]:
        return ()

    def compile_estimate_s(self, model: Model) -> float:
        return 0.0

    def cache_key(self) -> str:
        return ""


def backend(name: str) -> Capabilities:
    """Return the capabilities of the backend called ``name``. A built-in name cannot be taken over by another package.

    A backend of another package is asked in a child process, once somebody wants to know: see ``foreign``. Whatever
    its package does is a reason for it not to be available, and goes on in no process of ours. Raises SpecError for an
    unknown name.
    """
    if name in BUILT_IN:
        return imported(name)
    from servefit.backends.finding.foreign import Origin, foreign_backend

    try:
        point = entry_point(name)
    except SpecError as error:
        if name not in backend_names():
            raise
        return _RefusedBackend(name, Availability.no(error.problem, remedy=error.remedy))
    return foreign_backend(Origin(name=name, value=point.value, package=Package.of(point.dist)))


def ask_backends(
    names: Iterable[str], model: Model | None = None, *, timeout_s: float | None = None
) -> dict[str, Capabilities]:
    """Return the backends called ``names``, ready for questions about ``model``. Backends of other packages start to
    answer at once, in parallel, within ``timeout_s`` or the usual limit if that is shorter. Raises SpecError for an
    unknown name."""
    from servefit.backends.finding.foreign import ForeignBackend

    candidates = {name: backend(name) for name in names}
    for candidate in candidates.values():
        if isinstance(candidate, ForeignBackend):
            candidate.begin(model, timeout_s=timeout_s)
    return candidates


def of_precision(names: Iterable[str], allowed: Collection[Precision] = (Precision.EXACT,)) -> tuple[str, ...]:
    """Return those of ``names`` whose precision is among the ``allowed`` ones. Nobody is asked in a child process:
    those of other packages are all returned."""
    return tuple(name for name in names if name not in BUILT_IN or imported(name).precision in allowed)


def has_answered(backend: Capabilities, model: Model) -> bool:
    """Return whether the answers of ``backend`` about ``model`` are known without waiting for them."""
    from servefit.backends.finding.foreign import ForeignBackend

    return not isinstance(backend, ForeignBackend) or backend.has_answered(model)
