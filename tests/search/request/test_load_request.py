"""How long a load on an endpoint is said to take."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.traffic import ClosedLoop
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla

LIMITS = (LatencyThreshold(percentile="p95", limit_ms=10.0),)


@pytest.mark.parametrize(
    ("asked", "seconds", "may_end_early"),
    [
        ({}, 20.0, True),
        ({"users": 4}, 5.0, False),
        ({"users": 4, "duration_s": 9.0}, 9.0, False),
        ({"sla": Sla(rate_per_s=100.0)}, 5.0, False),
        ({"sla": Sla(rate_per_s=100.0, thresholds=LIMITS)}, 5.0, True),
        ({"sla": Sla(thresholds=LIMITS)}, 30.0, True),
        ({"phases": ClosedLoop.constant(users=2, duration_s=12.0)}, 12.0, True),
        ({"phases": ClosedLoop.constant(users=2, duration_s=12.0), "sla": Sla(rate_per_s=100.0)}, 17.0, True),
    ],
)
def test_a_load_takes_as_long_as_its_parts(asked: dict[str, Any], seconds: float, may_end_early: bool) -> None:
    request = LoadRequest(**asked)
    assert request.max_duration_s == seconds
    assert request.may_end_early is may_end_early
