"""Sessions of ONNX Runtime, with so many threads, on the device that was asked for.

Thread counts are always explicit: left to itself ONNX Runtime starts a thread for every core it sees and pins them,
inside or outside the mask that the process was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.backends.types import Settings, Target
from servefit.errors import BackendUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

UNOPTIMISED = "without_optimisations"
"""The fact about an artifact that ONNX Runtime opens without its graph optimisations."""

ORT_NAME = "model.ort"
"""ONNX Runtime tells its own format by the suffix."""

PROVIDERS = {Target.CPU: "CPUExecutionProvider", Target.CUDA: "CUDAExecutionProvider"}


def open_session(
    model: Path, target: Target, settings: Settings, *, optimised: bool = True, timed_in: Path | None = None
) -> onnxruntime.InferenceSession:
    """Return a session with exactly ``settings.threads`` threads on ``target``, which times its layers and writes them
    into the folder ``timed_in`` where that is given. Raises BackendUnavailable where onnxruntime would have run on the
    CPU instead of the GPU it was asked for."""
    import onnxruntime

    provider = PROVIDERS[target]
    if provider not in onnxruntime.get_available_providers():
        raise BackendUnavailable(
            "onnxruntime", f"this onnxruntime has no {provider}", remedy="pip install onnxruntime-gpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = settings.threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    if timed_in is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(timed_in / "layers")
    options.log_severity_level = 4  # what it refuses is raised too, and said to whom it concerns
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    spinning = settings.threads > 1 and settings.option("allow_spinning", default=True)
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=[provider])
    session.disable_fallback()
    if session.get_providers()[0] != provider:
        raise BackendUnavailable(
            "onnxruntime", f"asked for {provider}, onnxruntime fell back to {session.get_providers()[0]}"
        )
    return session
