"""Finds backends by name: the built-in ones, and those that other packages offer under an entry point.

A package adds a backend by pointing an entry point of the group ``servefit.backends`` at a class that follows
:class:`~servefit.backends.types.Backend`. Nothing is imported before a backend is asked for by name, and what another
package offers in child processes and workers alone: what it says of itself is in ``capabilities``.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions
from typing import TYPE_CHECKING, cast

from servefit.backends.installed import Package
from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.types import Backend

_log = logging.getLogger(__name__)

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


def backend_names() -> tuple[str, ...]:
    """Names of all backends: the built-in ones first, then those of other packages in alphabetical order."""
    return (*BUILT_IN, *sorted(_entry_points()))


def imported(name: str) -> Backend:
    """The backend called ``name`` itself, for child processes that compile, and for workers. Raises SpecError for an
    unknown name, and whatever another package raises."""
    if name in BUILT_IN:
        return _built_in(name)
    return cast("Backend", entry_point(name).load()())


def entry_point(name: str) -> EntryPoint:
    """Where another package offers the backend called ``name``. Raises SpecError for an unknown one."""
    points = _entry_points()
    if name not in points:
        raise SpecError.unknown("backend", name, backend_names())
    return points[name]


def _built_in(name: str) -> Backend:
    module, _, attribute = BUILT_IN[name].partition(":")
    return cast("Backend", getattr(import_module(module), attribute)())


def _entry_points() -> dict[str, EntryPoint]:
    """Those of all packages, by name; of two with one name the first on the path. ``importlib.metadata.entry_points``
    would fail for all of them where one file cannot be read."""
    found: dict[str, EntryPoint] = {}
    for distribution in distributions():
        try:
            points = distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except (TypeError, ValueError, OSError) as error:
            _warn_once(Package.of(distribution), str(error))
            continue
        for point in points:
            if point.name not in BUILT_IN:
                found.setdefault(point.name, point)
    return found


@cache
def _warn_once(package: Package, problem: str) -> None:
    _log.warning("the entry points of %s, installed in %s, cannot be read: %s", package, package.folder, problem)
