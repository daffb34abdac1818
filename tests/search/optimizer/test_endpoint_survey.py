"""What requests cost in an endpoint, measured of endpoints whose costs are known."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.recorded_runs import S, recorded_run
from tests.report.simulated import SimulatedEnvelope

from servefit.errors import MeasurementError
from servefit.profiler.procedures.decided_runs import ATTEMPTS
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop
from servefit.profiler.record.types import ClientRecord, Configuration
from servefit.search.optimizer.endpoint_survey import MAX_JOINED, survey_endpoint
from servefit.search.simulation.endpoint import SURVEY_S, EndpointCosts, EndpointQueue, serve_connections
from servefit.time_limit import time_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.profiler.drivers.driver import MeasuredDriver
    from servefit.profiler.record.types import Run, Traffic

SUBJECT = Configuration(vcpus=2, backend="quick", workers=2, max_batch=32, batch_delay_us=1000)
SERVICE = ServiceTimes(
    batches=(BatchTimes(requests=1, strata_ns=(30_000.0,)), BatchTimes(requests=64, strata_ns=(345_000.0,)))
)
KNOWN = EndpointCosts(
    request_ns=40_000.0,
    call_ns=20_000.0,
    after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(10_000.0,)), AfterIdle(idle_ns=200_000.0, extra_ns=(60_000.0,))),
    rows=1,
    request_bytes=200,
)


@dataclass(slots=True, kw_only=True)
class KnownEndpoint:
    """An endpoint that takes what ``costs`` say, and answers only if ``answers``."""

    configuration: Configuration
    costs: EndpointCosts
    answers: bool = True
    waited_percent: float | None = None
    runs: list[Traffic] = field(default_factory=list)
    load_s: float = 0.1
    envelope: Any = field(default_factory=lambda: SimulatedEnvelope(cpus=(0,)))

    @property
    def usual_users(self) -> int:
        """As many as fill a call."""
        return self.configuration.max_batch

    def run(self, traffic: Traffic, **_: Any) -> Run:
        self.runs.append(traffic)
        due, ended = self._arrivals(traffic) if isinstance(traffic, OpenLoop) else self._users(traffic)
        until_ns = S + round(traffic.duration_s * 1e9)
        run = recorded_run(traffic, due, ended if self.answers else np.zeros_like(ended), until_ns=until_ns)
        busy_percent = 100 * self.costs.client_ns * len(due) / (traffic.duration_s * 1e9)
        client = ClientRecord(
            processes=1,
            cpus=(1,),
            cpu_percent=busy_percent,
            connections=1,
            reconnections=0,
            errors={},
            shares_cpus=False,
            waited_percent=self.waited_percent,
        )
        return replace(run, client=client)

    def _arrivals(self, traffic: OpenLoop) -> tuple[np.ndarray, np.ndarray]:
        due = S + traffic.arrivals_ns()
        queue = EndpointQueue.of(self.configuration, self.costs)
        drawn = SERVICE.draw(len(due), most_requests=queue.max_batch, workers=1, random=np.random.default_rng(0))
        return due, serve_connections(due, drawn, queue).ended_ns.astype(np.int64)

    def _users(self, traffic: ClosedLoop) -> tuple[np.ndarray, np.ndarray]:
        """Every call is of as many requests as may be."""
        batch = self.configuration.max_batch
        call_ns = SERVICE.mean_ns(batch) + EndpointQueue.of(self.configuration, self.costs).overhead_ns(batch)
        ends = S + np.arange(1, round(traffic.duration_s * 1e9 / call_ns) + 1) * call_ns
        ended = np.repeat(ends, batch).astype(np.int64)
        return ended - round(call_ns), ended


def surveyed(
    costs: EndpointCosts, *, max_batch: int = 128, rate_per_s: float | None = None, answers: bool = True
) -> tuple[EndpointCosts, list[Configuration]]:
    """The costs that are found, and the configurations that were started for it."""
    started: list[Configuration] = []

    @contextmanager
    def start(configuration: Configuration) -> Iterator[MeasuredDriver]:
        started.append(configuration)
        yield KnownEndpoint(configuration=configuration, costs=costs, answers=answers)

    found = survey_endpoint(
        start, SUBJECT, SERVICE, rows=1, request_bytes=200, max_batch=max_batch, rate_per_s=rate_per_s
    )
    return found, started


def test_the_costs_of_a_request_and_of_a_call_are_told_apart() -> None:
    found, _ = surveyed(KNOWN)
    assert found.request_ns == pytest.approx(KNOWN.request_ns, rel=0.03)
    assert found.call_ns == pytest.approx(KNOWN.call_ns, rel=0.1)
    assert (found.rows, found.request_bytes, found.joined, found.problems) == (1, 200, MAX_JOINED, ())


def test_what_an_idle_worker_takes_longer_is_found_by_how_long_it_was_idle() -> None:
    found, _ = surveyed(KNOWN)
    assert found.after_idle[0].idle_ns == 0
    for idle_ns in (30_000.0, 400_000.0, 5e6):
        assert found.typical_extra_ns(idle_ns) == pytest.approx(KNOWN.typical_extra_ns(idle_ns), abs=3_000)


def test_endpoints_of_one_worker_are_loaded_that_join_no_few_and_many_requests() -> None:
    _, started = surveyed(KNOWN)
    assert [each.max_batch for each in started] == [1, 4, MAX_JOINED]
    assert {(each.vcpus, each.workers, each.batch_delay_us) for each in started} == {(1, 1, 0)}
    assert [each.max_batch for each in surveyed(KNOWN, max_batch=8)[1]] == [1, 4, 8]
    assert [each.max_batch for each in surveyed(KNOWN, max_batch=2)[1]] == [1, 2]


@pytest.mark.parametrize(("times", "joined"), [(0.24, 1), (0.26, MAX_JOINED)])
def test_endpoints_that_join_are_measured_where_single_calls_do_not_carry_four_times_the_rate(
    times: float, joined: int
) -> None:
    single_per_s = 1e9 / (KNOWN.of_call_ns(1) + SERVICE.mean_ns(1))
    found, started = surveyed(KNOWN, rate_per_s=times * single_per_s)
    assert found.joined == joined
    assert [each.max_batch for each in started][-1] == joined


@pytest.mark.parametrize("shared", [0.3, 0.7])
@pytest.mark.parametrize("variation", [0.0, 0.5])
def test_where_single_calls_carry_four_times_the_rate_joining_hardly_moves_p95(shared: float, variation: float) -> None:
    """What a single request takes is ``shared`` by those of a call, and calls vary by ``variation`` of their mean."""
    random = np.random.default_rng(0)
    spread = np.sqrt(np.log(1 + variation**2))
    single_ns = 1e6 * random.lognormal(-(spread**2) / 2, spread, 20_000)
    service = ServiceTimes(
        batches=(
            BatchTimes.of(1, single_ns),
            BatchTimes.of(MAX_JOINED, single_ns * (shared + (1 - shared) * MAX_JOINED)),
        )
    )
    costs = replace(KNOWN, request_ns=1.0, call_ns=0.0, after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(0.0,)),))
    due_ns = np.cumsum(random.exponential(4e6, 60_000))

    def p95_ns(joined: int) -> float:
        drawn = service.draw(len(due_ns), most_requests=joined, workers=1, random=np.random.default_rng(1))
        served = serve_connections(due_ns, drawn, EndpointQueue(costs=costs, max_batch=joined))
        return float(np.percentile(served.ended_ns - due_ns, 95))

    assert p95_ns(MAX_JOINED) == pytest.approx(p95_ns(1), rel=0.06)


def test_single_requests_are_told_apart_from_those_that_are_joined() -> None:
    found, _ = surveyed(replace(KNOWN, single_ns=45_000.0))
    assert found.single_ns == pytest.approx(45_000.0, rel=0.03)
    assert found.request_ns == pytest.approx(KNOWN.request_ns, rel=0.03)
    assert found.call_ns == pytest.approx(KNOWN.call_ns, rel=0.15)


def test_what_a_request_takes_the_client_is_no_cost_of_the_endpoint() -> None:
    found, _ = surveyed(replace(KNOWN, client_ns=12_000.0))
    assert found.client_ns == pytest.approx(12_000.0, rel=0.03)
    assert found.request_ns == pytest.approx(KNOWN.request_ns, rel=0.03)
    assert found.typical_extra_ns(400_000.0) == pytest.approx(KNOWN.typical_extra_ns(400_000.0), abs=3_000)


def test_where_nothing_is_joined_a_call_is_no_cost_of_its_own() -> None:
    found, started = surveyed(KNOWN, max_batch=1)
    assert (len(started), found.joined) == (1, 1)
    assert found.call_ns == 0
    assert found.request_ns == pytest.approx(KNOWN.request_ns + KNOWN.call_ns, rel=0.03)


def test_an_endpoint_that_answers_nothing_cannot_be_surveyed() -> None:
    with pytest.raises(MeasurementError, match="not one request was answered"):
        surveyed(KNOWN, answers=False)


@pytest.mark.parametrize(("in_s", "times"), [(3600.0, ATTEMPTS), (SURVEY_S, 1)])
def test_a_disturbed_load_is_made_again_only_if_there_is_time_for_a_survey_after_it(in_s: float, times: int) -> None:
    loads: list[Traffic] = []

    @contextmanager
    def start(configuration: Configuration) -> Iterator[MeasuredDriver]:
        yield KnownEndpoint(configuration=configuration, costs=KNOWN, waited_percent=20.0, runs=loads)

    with time_limit(lambda: in_s):
        found = survey_endpoint(start, SUBJECT, SERVICE, rows=1, request_bytes=200, max_batch=64)
    # Two closed loops of each of three endpoints, and two open ones, for which a client may wait.
    assert len(loads) == 6 * times + 2
    assert [problem.kind for problem in found.problems] == ["competing load"]
