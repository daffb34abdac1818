"""Arrivals that were fixed before, served by workers in this process or by an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servefit.profiler.queueing.open_loop import serve_arrivals as serve_in_process
from servefit.search.queueing.endpoint import EndpointQueue, Queue, serve_connections

if TYPE_CHECKING:
    import numpy as np

    from servefit.profiler.queueing.discipline import ServedRequests
    from servefit.profiler.queueing.service import DrawnTimes


def serve_arrivals(due_ns: np.ndarray, drawn: DrawnTimes, discipline: Queue) -> ServedRequests:
    """Serve what is due at ``due_ns`` (n,), ascending. ``drawn`` has times for n calls or more."""
    if isinstance(discipline, EndpointQueue):
        return serve_connections(due_ns, drawn, discipline)
    return serve_in_process(due_ns, drawn, discipline)
