"""Finds backends by name: the built-in ones, and those that other packages offer under an entry point.

A package adds a backend by pointing an entry point of the group ``servefit.backends`` at a class that follows
:class:`~servefit.backends.types.Backend`. Nothing is imported before a backend is asked for by name, and what another
package offers in child processes and workers alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from servefit.backends.refused import RefusedBackend
from servefit.backends.types import Availability
from servefit.errors import SpecError
from servefit.plug_ins import Package, PlugIns

if TYPE_CHECKING:
    from servefit.backends.model import Model
    from servefit.backends.types import Backend, Capabilities

ENTRY_POINT_GROUP = "servefit.backends"

BUILT_IN = {
    "xgboost": "servefit.backends.xgboost:XGBoostBackend",
    "lightgbm": "servefit.backends.lightgbm:LightGBMBackend",
    "sklearn": "servefit.backends.sklearn:SklearnBackend",
    "onnxruntime": "servefit.backends.onnxruntime:OnnxRuntimeBackend",
    "treelite": "servefit.backends.treelite:TreeliteBackend",
    "tl2cgen": "servefit.backends.tl2cgen:TL2cgenBackend",
    "onedal": "servefit.backends.onedal:OneDALBackend",
    "forest": "servefit.backends.forest.backend:ForestBackend",
}

BACKENDS = PlugIns(field="backend", group=ENTRY_POINT_GROUP, built_in=BUILT_IN)


def backend_names() -> tuple[str, ...]:
    """Names of all backends: the built-in ones first, then those of other packages in alphabetical order."""
    return BACKENDS.names()


def backend(name: str) -> Capabilities:
    """What the backend called ``name`` says of itself. A built-in name cannot be taken over by another package.

    A backend of another package is asked in a child process, once somebody wants to know: see ``foreign``. Whatever
    its package does is a reason for it not to be available, and goes on in no process of ours. Raises SpecError for an
    unknown name.
    """
    if name in BUILT_IN:
        return _built_in(name)
    from servefit.backends.foreign import Origin, stand_in

    try:
        point = entry_point(name)
    except SpecError as error:
        if name not in backend_names():
            raise
        return RefusedBackend(name, Availability.no(error.problem, remedy=error.remedy))
    return stand_in(Origin(name=name, value=point.value, package=Package.of(point.dist)))


def asked(
    names: Iterable[str], model: Model | None = None, *, timeout_s: float | None = None
) -> dict[str, Capabilities]:
    """The backends called ``names``, which will be asked about ``model``. Those of other packages begin to answer, side
    by side, and have ``timeout_s`` from now, and no longer than is usual. Raises SpecError for an unknown name."""
    from servefit.backends.foreign import ForeignBackend

    found = {name: backend(name) for name in names}
    for one in found.values():
        if isinstance(one, ForeignBackend):
            one.begin(model, timeout_s=timeout_s)
    return found


def has_answered(backend: Capabilities, model: Model) -> bool:
    """Whether what ``backend`` says of ``model`` is known without waiting for it."""
    from servefit.backends.foreign import ForeignBackend

    return not isinstance(backend, ForeignBackend) or backend.has_answered(model)


def imported(name: str) -> Backend:
    """The backend called ``name`` itself, for child processes that compile, and for workers. Raises SpecError for an
    unknown name, and whatever another package raises."""
    if name in BUILT_IN:
        return _built_in(name)
    return cast("Backend", entry_point(name).load()())


def entry_point(name: str) -> EntryPoint:
    """Where another package offers the backend called ``name``. Raises SpecError for an unknown one, and
    for one that several packages offer."""
    return BACKENDS.entry_point(name)


def _built_in(name: str) -> Backend:
    return cast("Backend", BACKENDS.imported(name)())
