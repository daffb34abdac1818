"""The steps of a load on an endpoint, with simulated clients."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
from tests.report.simulated import SimulatedDriver
from tests.report.story import configuration

from servefit.profiler.evidence.verdict import widening
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.search.endpoints.load_plan import measure
from servefit.search.optimizer.progress import SilentProgress
from servefit.search.request.load_request import LoadRequest
from servefit.search.request.sla import Sla, parse_sla

if TYPE_CHECKING:
    from servefit.search.endpoints.load_plan import LoadOutcome


def outcome(request: LoadRequest) -> LoadOutcome:
    def clients() -> Any:
        four = configuration("forest", vcpus=4, workers=4)
        return nullcontext(SimulatedDriver(configuration=four, service_us=500.0, http_us=50.0))

    return measure(clients, request, SilentProgress())


def test_the_more_plateaus_of_users_in_phases_may_pass_the_surer_one_has_to_be() -> None:
    def judged(limit_ms: float) -> LoadOutcome:
        stairs = ClosedLoop.stairs(steps=4, users_per_step=1, step_duration_s=1.0)
        return outcome(LoadRequest(phases=stairs, sla=Sla(thresholds=parse_sla(f"p95={limit_ms:.6f}ms"))))

    generous = judged(1000.0)
    p95_ms, (_, high_ms) = generous.summary.latency_ms["p95"], generous.summary.latency_ms_ci95["p95"]
    assert p95_ms is not None
    surely_ms = p95_ms * (high_ms / p95_ms) ** (1.001 * widening(4, 1))
    assert surely_ms > 1.001 * high_ms
    verdicts = [judged(limit_ms).verdict for limit_ms in (1000.0, 1.0001 * high_ms, surely_ms)]
    assert verdicts == ["PASS", "UNDECIDED", "PASS"]


@pytest.mark.parametrize("seed", [7, 8])
def test_the_arrivals_at_a_rate_come_from_the_seed_that_was_asked_for(seed: int) -> None:
    found = outcome(LoadRequest(sla=Sla(rate_per_s=200.0), duration_s=1.0, seed=seed))
    traffic = found.runs[0].traffic
    assert isinstance(traffic, OpenLoop)
    assert (traffic.rate_per_s, traffic.seed) == (200.0, seed)


def test_a_load_at_a_rate_after_users_has_the_figures_of_both() -> None:
    found = outcome(LoadRequest(users=4, sla=Sla(thresholds=parse_sla("p95=20ms"), rate_per_s=400.0), duration_s=1.0))
    closed, at_rate = found.runs
    assert isinstance(closed.traffic, ClosedLoop)
    assert isinstance(at_rate.traffic, OpenLoop)
    assert found.verdict == "PASS"
    assert found.capacity is not None
    assert found.capacity.throughput_per_s > 10 * found.summary.throughput_per_s
