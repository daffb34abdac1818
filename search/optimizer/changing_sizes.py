"""Slowdown of calls among calls of other sizes, compared to calls among their like, from an open loop of one worker
that joined what was waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.undisturbed import counted
from servefit.profiler.queueing.recorded_calls import RecordedCalls, served_requests
from servefit.search.optimizer.idle_times import MIN_SEEN

if TYPE_CHECKING:
    from servefit.profiler.queueing.changing_sizes import ChangingSizes
    from servefit.profiler.queueing.service import ServiceTimes
    from servefit.profiler.record.types import Run


def longer_among_others(alone: ServiceTimes, run: Run) -> ChangingSizes:
    """Return how many times longer than ``alone`` the calls of two requests and more in ``run`` took, those of about
    the same size together, as far as there are enough of them: the nearest power of two stands for a size."""
    calls = RecordedCalls.of([served_requests(counted(run))])
    joined = calls.requests > 1
    requests, service_ns = calls.requests[joined], calls.service_ns[joined]
    powers = np.rint(np.log2(requests)).astype(np.int64)
    factors = []
    for power in np.unique(powers).tolist():
        alike = powers == power
        if alike.sum() >= MIN_SEEN:
            sizes, counts = np.unique(requests[alike], return_counts=True)
            usual_ns = sum(
                count * alone.mean_ns(size) for size, count in zip(sizes.tolist(), counts.tolist(), strict=True)
            )
            factors.append((2**power, float(service_ns[alike].sum() / usual_ns)))
    return tuple(factors)
