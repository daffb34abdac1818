"""servefit finds the cheapest way to serve a trained model on hardware you own.

The public names below are loaded when they are first used: a measurement worker imports this package too, and must
not pay for, or be disturbed by, what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from servefit.backends.compilation import compile_model as compile_model
    from servefit.backends.model import Model as Model
    from servefit.errors import ServefitError as ServefitError
    from servefit.profiler.against import compare_deployments as compare_deployments
    from servefit.profiler.limits import LatencyThreshold as LatencyThreshold
    from servefit.profiler.preparing import Deployment as Deployment
    from servefit.profiler.profiling import profile as profile
    from servefit.profiler.storage.measurements import load_endpoint_runs as load_endpoint_runs
    from servefit.profiler.storage.measurements import load_measurement as load_measurement
    from servefit.profiler.storage.measurements import save_measurement as save_measurement
    from servefit.profiler.summary import summarize as summarize
    from servefit.profiler.traffic import ClosedLoop as ClosedLoop
    from servefit.search.loading import load_endpoint as load_endpoint
    from servefit.search.running import load_job as load_job
    from servefit.search.sagemaker import right_size as right_size
    from servefit.search.scaling import scale as scale
    from servefit.search.sdk import CategoricalParameter as CategoricalParameter
    from servefit.search.sdk import ModelLatencyThreshold as ModelLatencyThreshold
    from servefit.search.sdk import Phase as Phase
    from servefit.search.sdk import Stairs as Stairs

__version__ = "0.1.0"

_HOME_OF = {
    "CategoricalParameter": "servefit.search.sdk",
    "ClosedLoop": "servefit.profiler.traffic",
    "Deployment": "servefit.profiler.preparing",
    "LatencyThreshold": "servefit.profiler.limits",
    "Model": "servefit.backends.model",
    "ModelLatencyThreshold": "servefit.search.sdk",
    "Phase": "servefit.search.sdk",
    "ServefitError": "servefit.errors",
    "Stairs": "servefit.search.sdk",
    "compare_deployments": "servefit.profiler.against",
    "compile_model": "servefit.backends.compilation",
    "load_endpoint": "servefit.search.loading",
    "load_endpoint_runs": "servefit.profiler.storage.measurements",
    "load_job": "servefit.search.running",
    "load_measurement": "servefit.profiler.storage.measurements",
    "profile": "servefit.profiler.profiling",
    "right_size": "servefit.search.sagemaker",
    "save_measurement": "servefit.profiler.storage.measurements",
    "scale": "servefit.search.scaling",
    "summarize": "servefit.profiler.summary",
}

__all__ = [*_HOME_OF, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
