"""servefit finds the cheapest way to serve a trained model on hardware you own.

The public names below are loaded when they are first used: a measurement worker imports this package too, and must
not pay for, or be disturbed by, what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from servefit.version import __version__

if TYPE_CHECKING:
    from servefit.api.job import load_job as load_job
    from servefit.api.right_size import right_size as right_size
    from servefit.api.sdk_types import CategoricalParameter as CategoricalParameter
    from servefit.api.sdk_types import ModelLatencyThreshold as ModelLatencyThreshold
    from servefit.api.sdk_types import Phase as Phase
    from servefit.api.sdk_types import Stairs as Stairs
    from servefit.backends.compilation import compile_model as compile_model
    from servefit.backends.model import Model as Model
    from servefit.errors import ServefitError as ServefitError
    from servefit.profiler.evidence.limits import LatencyThreshold as LatencyThreshold
    from servefit.profiler.evidence.summary import summarize as summarize
    from servefit.profiler.procedures.compare_deployments import compare_deployments as compare_deployments
    from servefit.profiler.procedures.prepare import Deployment as Deployment
    from servefit.profiler.procedures.profile import profile as profile
    from servefit.profiler.record.storage.measurements import load_endpoint_runs as load_endpoint_runs
    from servefit.profiler.record.storage.measurements import load_measurement as load_measurement
    from servefit.profiler.record.storage.measurements import save_measurement as save_measurement
    from servefit.profiler.record.traffic import ClosedLoop as ClosedLoop
    from servefit.search.autoscaling.scale import scale as scale
    from servefit.search.endpoints.load import load_endpoint as load_endpoint

_HOME_OF = {
    "CategoricalParameter": "servefit.api.sdk_types",
    "ClosedLoop": "servefit.profiler.record.traffic",
    "Deployment": "servefit.profiler.procedures.prepare",
    "LatencyThreshold": "servefit.profiler.evidence.limits",
    "Model": "servefit.backends.model",
    "ModelLatencyThreshold": "servefit.api.sdk_types",
    "Phase": "servefit.api.sdk_types",
    "ServefitError": "servefit.errors",
    "Stairs": "servefit.api.sdk_types",
    "compare_deployments": "servefit.profiler.procedures.compare_deployments",
    "compile_model": "servefit.backends.compilation",
    "load_endpoint": "servefit.search.endpoints.load",
    "load_endpoint_runs": "servefit.profiler.record.storage.measurements",
    "load_job": "servefit.api.job",
    "load_measurement": "servefit.profiler.record.storage.measurements",
    "profile": "servefit.profiler.procedures.profile",
    "right_size": "servefit.api.right_size",
    "save_measurement": "servefit.profiler.record.storage.measurements",
    "scale": "servefit.search.autoscaling.scale",
    "summarize": "servefit.profiler.evidence.summary",
}

__all__ = [*_HOME_OF, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
