"""The time of each layer of a network, in a fresh process, by the runtime's own clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servefit.backends.finding.registry import imported
from servefit.errors import SpecError
from servefit.isolation import call_isolated
from servefit.profiler.machine.slot.holding import measuring_slot

if TYPE_CHECKING:
    import numpy as np

    from servefit.backends.libraries.layer_times import LayerTimes
    from servefit.backends.types import Artifact, Settings

DURATION_S = 2.0
"""Both runtimes tell whole microseconds of a call: means over some thousand are of tenths. Chosen."""

_STARTING_S = 60.0
"""To import a runtime and open a large network."""


def measure_layers(
    artifact: Artifact,
    settings: Settings,
    rows: np.ndarray,
    *,
    rows_per_request: int = 1,
    duration_s: float = DURATION_S,
) -> LayerTimes:
    """Time the layers of ``artifact`` in calls with ``rows_per_request`` of ``rows`` each, one after the other.

    Raises SpecError for a backend that does not tell of its layers.
    """
    if not hasattr(imported(artifact.backend), "layer_times"):
        raise SpecError(
            "layers",
            None,
            f"are not told by the backend {artifact.backend!r}",
            remedy="name one that does: --backend onnxruntime, or --backend openvino",
        )
    starts = range(0, max(1, len(rows) - rows_per_request + 1), rows_per_request)
    requests = [rows[start : start + rows_per_request] for start in starts]
    with measuring_slot(f"layers of {artifact.backend}"):
        times: LayerTimes = call_isolated(
            f"{__name__}:layers_here",
            *(artifact, settings, requests, duration_s),
            timeout_s=_STARTING_S + 10 * duration_s,
        )
    return times


def layers_here(artifact: Artifact, settings: Settings, requests: list[np.ndarray], duration_s: float) -> Any:
    """Time the layers in this process."""
    backend: Any = imported(artifact.backend)
    return backend.layer_times(artifact, settings, requests, duration_s)
