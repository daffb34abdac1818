"""Finds backends by name: the built-in ones, and those that other packages offer under an entry point.

A package adds a backend by pointing an entry point of the group ``servefit.backends`` at a class that follows
:class:`~servefit.backends.types.Backend`. Nothing is imported before a backend is asked for by name.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from servefit.errors import SpecError

if TYPE_CHECKING:
    from servefit.backends.types import Backend

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
    return (*BUILT_IN, *sorted(set(entry_points(group=ENTRY_POINT_GROUP).names) - set(BUILT_IN)))


def backend(name: str) -> Backend:
    """The backend called ``name``. A built-in name cannot be taken over by another package.

    Where another package's entry point cannot be loaded it is one that says so, and serves nothing: what else is
    installed goes on working. Raises SpecError for an unknown name.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast("Backend", getattr(import_module(module), attribute)())
    for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return _offered(point)
    raise SpecError.unknown("backend", name, backend_names())


def _offered(point: EntryPoint) -> Backend:
    from servefit.backends.unloadable import UnloadableBackend

    try:
        return cast("Backend", point.load()())
    except (ImportError, AttributeError, SyntaxError, TypeError, OSError) as error:
        return UnloadableBackend(point.name, f"its entry point {point.value!r} cannot be loaded: {error}")
