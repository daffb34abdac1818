"""Finds backends by name: the built-in ones, and those that other packages offer under an entry point.

A package adds a backend by pointing an entry point of the group ``servefit.backends`` at a class that follows
:class:`~servefit.backends.types.Backend`. Nothing is imported before a backend is asked for by name, and what another
package offers in child processes and workers alone: what it says of itself is in ``capabilities``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, cast

from servefit.backends.model.types import Library
from servefit.plug_ins import PlugIns

if TYPE_CHECKING:
    from servefit.backends.types import Backend

ENTRY_POINT_GROUP = "servefit.backends"

BUILT_IN = {
    "xgboost": "servefit.backends.engines.xgboost:XGBoostBackend",
    "lightgbm": "servefit.backends.engines.lightgbm:LightGBMBackend",
    "catboost": "servefit.backends.engines.catboost:CatBoostBackend",
    "sklearn": "servefit.backends.engines.sklearn:SklearnBackend",
    "onnxruntime": "servefit.backends.engines.onnxruntime:OnnxRuntimeBackend",
    "openvino": "servefit.backends.engines.openvino:OpenVinoBackend",
    "openvino/bf16": "servefit.backends.engines.openvino:OpenVinoBf16Backend",
    "openvino/int8": "servefit.backends.engines.openvino:OpenVinoInt8Backend",
    "onnxruntime/int8-dynamic": "servefit.backends.engines.quantised_onnx:DynamicInt8Backend",
    "onnxruntime/int8-static": "servefit.backends.engines.quantised_onnx:StaticInt8Backend",
    "torch": "servefit.backends.engines.torch:TorchBackend",
    "treelite": "servefit.backends.engines.treelite:TreeliteBackend",
    "tl2cgen": "servefit.backends.engines.tl2cgen:TL2cgenBackend",
    "onedal": "servefit.backends.engines.onedal:OneDALBackend",
    "forest": "servefit.backends.engines.forest:ForestBackend",
    "pipeline": "servefit.backends.engines.pipeline:PipelineBackend",
    "script": "servefit.backends.engines.script:ScriptBackend",
}

BACKENDS = PlugIns(field="backend", group=ENTRY_POINT_GROUP, built_in=BUILT_IN)


def backend_names() -> tuple[str, ...]:
    """Return the names of all backends: the built-in ones first, then those of other packages in alphabetical order."""
    return BACKENDS.names()


def candidate_names(library: Library) -> tuple[str, ...]:
    """Return the names of the backends that are tried with a model of ``library`` unasked: a script is served by itself
    or by another package's backend, and the backend of scripts serves nothing else."""
    is_script = library is Library.SCRIPT
    return tuple(name for name in backend_names() if name not in BUILT_IN or (name == "script") is is_script)


def imported(name: str) -> Backend:
    """Return the backend called ``name`` itself, for child processes that compile, and for workers. Raises SpecError
    for an unknown name, and whatever another package raises."""
    if name in BUILT_IN:
        return _built_in(name)
    return cast("Backend", entry_point(name).load()())


def entry_point(name: str) -> EntryPoint:
    """Return where another package offers the backend called ``name``. Raises SpecError for an unknown one, and
    for one that several packages offer."""
    return BACKENDS.entry_point(name)


def _built_in(name: str) -> Backend:
    return cast("Backend", BACKENDS.imported(name)())
