"""servefit finds the cheapest way to serve a trained model on hardware you own.

The public names below are loaded when they are first used: a measurement worker imports this package too, and must
not pay for, or be disturbed by, what it does not need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from servefit.version import __version__ as __version__

if TYPE_CHECKING:
    from servefit.api.job import Job as Job
    from servefit.api.job import Recommendation as Recommendation
    from servefit.api.job import load_job as load_job
    from servefit.api.notebook_progress import NotebookProgress as NotebookProgress
    from servefit.api.recommend import recommend as recommend
    from servefit.backends.compilation import compile_model as compile_model
    from servefit.backends.model import Model as Model
    from servefit.backends.payload.bodies import Bodies as Bodies
    from servefit.backends.quality.limits import PrecisionLimits as PrecisionLimits
    from servefit.errors import AgentLost as AgentLost
    from servefit.errors import BackendError as BackendError
    from servefit.errors import BackendUnavailable as BackendUnavailable
    from servefit.errors import CompileFailed as CompileFailed
    from servefit.errors import CorruptModel as CorruptModel
    from servefit.errors import HostMismatch as HostMismatch
    from servefit.errors import JobInUse as JobInUse
    from servefit.errors import LimitNotKept as LimitNotKept
    from servefit.errors import MeasurementError as MeasurementError
    from servefit.errors import ModelError as ModelError
    from servefit.errors import ObjectiveError as ObjectiveError
    from servefit.errors import OutOfMemory as OutOfMemory
    from servefit.errors import OutputMismatch as OutputMismatch
    from servefit.errors import PayloadMismatch as PayloadMismatch
    from servefit.errors import RowsRefused as RowsRefused
    from servefit.errors import ScriptFailed as ScriptFailed
    from servefit.errors import ServefitError as ServefitError
    from servefit.errors import SlotTaken as SlotTaken
    from servefit.errors import SpecError as SpecError
    from servefit.errors import StateError as StateError
    from servefit.errors import StorageError as StorageError
    from servefit.errors import TimedOut as TimedOut
    from servefit.errors import UnreadableMeasurement as UnreadableMeasurement
    from servefit.errors import UnsupportedModel as UnsupportedModel
    from servefit.errors import UntrustedModel as UntrustedModel
    from servefit.errors import WorkerCrashed as WorkerCrashed
    from servefit.profiler.evidence.limits import LatencyThreshold as LatencyThreshold
    from servefit.profiler.evidence.summary import Summary as Summary
    from servefit.profiler.evidence.summary import summarize as summarize
    from servefit.profiler.procedures.compare_deployments import compare_deployments as compare_deployments
    from servefit.profiler.procedures.comparing.comparison import Comparison as Comparison
    from servefit.profiler.procedures.prepare import Deployment as Deployment
    from servefit.profiler.procedures.profile import profile as profile
    from servefit.profiler.record.storage.measurements import load_endpoint_runs as load_endpoint_runs
    from servefit.profiler.record.storage.measurements import load_measurement as load_measurement
    from servefit.profiler.record.storage.measurements import save_measurement as save_measurement
    from servefit.profiler.record.traffic import ClosedLoop as ClosedLoop
    from servefit.profiler.record.types import Measurement as Measurement
    from servefit.sagemaker.sdk_types import CategoricalParameter as CategoricalParameter
    from servefit.sagemaker.sdk_types import ModelLatencyThreshold as ModelLatencyThreshold
    from servefit.sagemaker.sdk_types import Phase as Phase
    from servefit.sagemaker.sdk_types import Stairs as Stairs
    from servefit.sagemaker.sizing import right_size as right_size
    from servefit.search.autoscaling.plan import ScalingPlan as ScalingPlan
    from servefit.search.autoscaling.scale import scale as scale
    from servefit.search.endpoints.load import load_endpoint as load_endpoint
    from servefit.search.endpoints.load_result import LoadTest as LoadTest
    from servefit.search.jobs.job import JobInterrupted as JobInterrupted
    from servefit.search.request.job_request import EnvironmentRange as EnvironmentRange
    from servefit.search.request.job_request import JobRequest as JobRequest
    from servefit.search.request.sla import Sla as Sla
    from servefit.search.results.recommendation import Trial as Trial

_HOME_OF = {
    "Bodies": "servefit.backends.payload.bodies",
    "ClosedLoop": "servefit.profiler.record.traffic",
    "Comparison": "servefit.profiler.procedures.comparing.comparison",
    "Deployment": "servefit.profiler.procedures.prepare",
    "EnvironmentRange": "servefit.search.request.job_request",
    "Job": "servefit.api.job",
    "JobInterrupted": "servefit.search.jobs.job",
    "JobRequest": "servefit.search.request.job_request",
    "LatencyThreshold": "servefit.profiler.evidence.limits",
    "LoadTest": "servefit.search.endpoints.load_result",
    "Measurement": "servefit.profiler.record.types",
    "Model": "servefit.backends.model",
    "NotebookProgress": "servefit.api.notebook_progress",
    "PrecisionLimits": "servefit.backends.quality.limits",
    "Recommendation": "servefit.api.job",
    "ScalingPlan": "servefit.search.autoscaling.plan",
    "Sla": "servefit.search.request.sla",
    "Summary": "servefit.profiler.evidence.summary",
    "Trial": "servefit.search.results.recommendation",
    "compare_deployments": "servefit.profiler.procedures.compare_deployments",
    "compile_model": "servefit.backends.compilation",
    "load_endpoint": "servefit.search.endpoints.load",
    "load_endpoint_runs": "servefit.profiler.record.storage.measurements",
    "load_job": "servefit.api.job",
    "load_measurement": "servefit.profiler.record.storage.measurements",
    "profile": "servefit.profiler.procedures.profile",
    "recommend": "servefit.api.recommend",
    "save_measurement": "servefit.profiler.record.storage.measurements",
    "scale": "servefit.search.autoscaling.scale",
    "summarize": "servefit.profiler.evidence.summary",
    # The words of SageMaker's Python SDK
    "CategoricalParameter": "servefit.sagemaker.sdk_types",
    "ModelLatencyThreshold": "servefit.sagemaker.sdk_types",
    "Phase": "servefit.sagemaker.sdk_types",
    "Stairs": "servefit.sagemaker.sdk_types",
    "right_size": "servefit.sagemaker.sizing",
    # Everything that is raised on purpose
    "BackendError": "servefit.errors",
    "BackendUnavailable": "servefit.errors",
    "CompileFailed": "servefit.errors",
    "CorruptModel": "servefit.errors",
    "AgentLost": "servefit.errors",
    "HostMismatch": "servefit.errors",
    "JobInUse": "servefit.errors",
    "LimitNotKept": "servefit.errors",
    "MeasurementError": "servefit.errors",
    "ModelError": "servefit.errors",
    "ObjectiveError": "servefit.errors",
    "OutOfMemory": "servefit.errors",
    "OutputMismatch": "servefit.errors",
    "RowsRefused": "servefit.errors",
    "ScriptFailed": "servefit.errors",
    "PayloadMismatch": "servefit.errors",
    "ServefitError": "servefit.errors",
    "SlotTaken": "servefit.errors",
    "SpecError": "servefit.errors",
    "StateError": "servefit.errors",
    "StorageError": "servefit.errors",
    "TimedOut": "servefit.errors",
    "UnreadableMeasurement": "servefit.errors",
    "UnsupportedModel": "servefit.errors",
    "UntrustedModel": "servefit.errors",
    "WorkerCrashed": "servefit.errors",
}

_MODULES = {"errors": "servefit.errors", "sagemaker": "servefit.sagemaker"}


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return [*filter(_is_here, _HOME_OF), "__version__"]
    if not _is_here(name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(_MODULES[name]) if name in _MODULES else getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*filter(_is_here, (*_HOME_OF, *_MODULES)), "__version__"])


def _is_here(name: str) -> bool:
    """Return whether ``name`` is public, and the annex that it may be of is installed."""
    home = _HOME_OF.get(name) or _MODULES.get(name, "")
    if home.startswith("servefit.sagemaker"):
        from servefit.annexed import is_there

        return is_there("aws")
    return bool(home)
