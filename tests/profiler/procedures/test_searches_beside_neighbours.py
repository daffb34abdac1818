"""Searches beside a neighbour that comes and goes: what is left of their runs counts."""

from __future__ import annotations

import pytest
from tests.report.simulated import SimulatedDriver

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.procedures.decided_runs import find_highest_rate
from servefit.profiler.procedures.saturation import find_saturation
from servefit.profiler.record.types import Configuration

P95_WITHIN_5_MS = (LatencyThreshold(percentile="p95", limit_ms=5.0),)


def driver_of(neighbour_in: int, *, workers: int = 1) -> SimulatedDriver:
    """Calls of 1 ms. The neighbour takes nine tenths of the CPU for a tenth of a second, once in so many."""
    configuration = Configuration(vcpus=workers, backend="forest", workers=workers)
    return SimulatedDriver(configuration=configuration, service_us=1000.0, neighbour_in=neighbour_in)


@pytest.mark.integration
def test_the_highest_rate_is_that_without_the_neighbour() -> None:
    found = {}
    for neighbour_in in (0, 4):
        highest, runs, problems = find_highest_rate(driver_of(neighbour_in), P95_WITHIN_5_MS, budget_s=60.0, seed=1)
        left_out = [bool(run.left_out_ns) for run in runs[1:]]
        assert (highest.disturbed, problems) == (False, ())
        assert all(left_out) == any(left_out) == bool(neighbour_in)
        assert "INVALID" not in {tried.verdict for tried in highest.tried}
        went_by_s = sum((run.plateau_ns[1] - run.plateau_ns[0]) / 1e9 for run in runs[1:])
        assert highest.elapsed_s == pytest.approx(went_by_s, rel=0.01), "the budget is of the time that went by"
        found[neighbour_in] = highest.root_per_s
    assert found[4] == pytest.approx(found[0], rel=0.05)


def test_the_most_requests_that_are_answered_are_those_without_the_neighbour() -> None:
    found = {}
    for neighbour_in in (0, 4):
        saturation = find_saturation(driver_of(neighbour_in, workers=2), budget_s=20.0)
        assert saturation.problems == ()
        found[neighbour_in] = max(level.throughput_per_s for level in saturation.tried.levels)
    assert found[4] == pytest.approx(found[0], rel=0.05)
