"""A test of an endpoint that could not be loaded here, predicted from what the model did in process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.problem import Problem
from servefit.profiler.evidence.verdict import PREDICTION_MARGIN
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration
from servefit.search.capacity.predicted_endpoint import predicted_endpoint
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.simulation.endpoint import EndpointCosts

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.recommendation import Trial

CONFIGURATION = Configuration(vcpus=2, backend="forest", max_batch=4)
SERVICE = ServiceTimes(
    batches=(BatchTimes(requests=1, strata_ns=(100_000.0,)), BatchTimes(requests=4, strata_ns=(200_000.0,)))
)
MEASURED_PER_S = 10_000.0
"""Half of what the calls that were timed alone would answer: under load they take twice as long, 400 us for four."""

NOISE = Problem(kind="competing load", reason="others were busy", remedy="stop them")


def costs(**changed: Any) -> EndpointCosts:
    found = EndpointCosts(
        request_ns=25_000.0,
        call_ns=0.0,
        after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(5_000.0,)),),
        rows=1,
        request_bytes=100,
    )
    return replace(found, **changed)


def asked(
    rate_per_s: float | None = 500.0, limit_ms: float | None = None, *, percentile: str = "p95", **others: Any
) -> JobRequest:
    thresholds = () if limit_ms is None else (LatencyThreshold(percentile=percentile, limit_ms=limit_ms),)
    return JobRequest(name="job", sla=Sla(thresholds=thresholds, rate_per_s=rate_per_s), **others)


@pytest.fixture
def measured(trial: MakeTrial) -> Trial:
    return trial(CONFIGURATION, throughput_per_s=MEASURED_PER_S)


def predicted(measured: Trial, request: JobRequest, known: EndpointCosts | None = None) -> Trial:
    return predicted_endpoint(measured, known or costs(), request, timed=(SERVICE, True), closed=None)


def p95_ms(measured: Trial, request: JobRequest) -> float:
    found = predicted(measured, request).judged.latency_ms["p95"]
    assert found is not None
    return found


def test_its_figures_are_predicted_and_those_of_the_model_alone_stay_beside_them(measured: Trial) -> None:
    found = predicted(measured, asked())
    assert (found.basis, found.driver, found.verdict) == ("predicted", "http", "PASS")
    assert found.alone is not None
    assert (found.alone.capacity, found.alone.at_rate) == (measured.capacity, measured.at_rate)
    assert (found.measurement, found.configuration) == (measured.measurement, measured.configuration)
    # A call of four takes 400 us under load, and what it costs beside that 100 us.
    assert found.capacity.throughput_per_s == pytest.approx(4 / 500e-6, rel=0.02)
    for summary in (found.capacity, found.at_rate):
        assert summary is not None
        assert (summary.samples, summary.latency_ms_ci95) == (0, {}), "nobody measured it"
        assert (summary.cpu_percent, summary.package_power_w) == (None, None)


def test_at_a_rate_its_latency_is_that_of_the_queue_there(measured: Trial) -> None:
    quiet, busy = (
        predicted(replace(measured, at_rate=None), asked(1.0)),
        predicted(replace(measured, at_rate=None), asked(5000.0)),
    )
    assert quiet.at_rate is not None
    assert busy.at_rate is not None
    # One request a call, which takes twice as long under load, with its costs, and the worker to be woken up.
    assert quiet.at_rate.latency_ms["p95"] == pytest.approx(0.2 + 0.025 + 0.005, rel=0.05)
    assert (quiet.at_rate.loop, quiet.at_rate.offered_per_s, quiet.at_rate.largest_call) == ("open", 1.0, 1)
    assert busy.at_rate.largest_call == 4
    assert p95_ms(measured, asked(5000.0)) > p95_ms(measured, asked(1.0))


def test_what_took_longer_in_process_at_the_rate_takes_as_much_longer_in_the_endpoint(measured: Trial) -> None:
    assert measured.at_rate is not None
    unhurried = p95_ms(replace(measured, at_rate=None), asked())
    late = replace(
        measured, at_rate=replace(measured.at_rate, latency_ms={"p50": 0.1, "p90": 0.1, "p95": 3.0, "p99": 3.0})
    )
    # In process the simulation of the queue at that rate has some 0.3 ms.
    assert p95_ms(late, asked()) == pytest.approx(unhurried + 2.7, abs=0.1)
    assert p95_ms(measured, asked()) > unhurried


def test_a_percentile_of_too_few_requests_is_as_late_as_the_one_below_it(measured: Trial) -> None:
    assert measured.at_rate is not None
    unhurried = p95_ms(replace(measured, at_rate=None), asked())
    few = replace(
        measured, at_rate=replace(measured.at_rate, latency_ms={"p50": 0.4, "p90": 3.0, "p95": None, "p99": None})
    )
    # The simulation has 0.2 ms for p90.
    assert p95_ms(few, asked()) == pytest.approx(unhurried + 2.8, abs=0.1)


def test_no_percentile_is_before_one_below_it(measured: Trial) -> None:
    assert measured.at_rate is not None
    odd = replace(
        measured, at_rate=replace(measured.at_rate, latency_ms={"p50": 0.4, "p90": 3.0, "p95": 0.2, "p99": 0.2})
    )
    found = list(predicted(odd, asked()).judged.latency_ms.values())
    assert found == sorted(found, key=lambda value: value or 0.0)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("times", "verdict"),
    [
        (1.05 * PREDICTION_MARGIN, "PASS"),
        (0.95 * PREDICTION_MARGIN, "UNDECIDED"),
        (1.05 / PREDICTION_MARGIN, "UNDECIDED"),
        (0.95 / PREDICTION_MARGIN, "FAIL"),
    ],
)
def test_a_limit_holds_or_is_broken_where_the_prediction_is_far_enough_from_it(
    measured: Trial, times: float, verdict: str
) -> None:
    # So few that more instances would be as fast.
    limit_ms = times * p95_ms(measured, asked(1.0))
    found = predicted(measured, asked(1.0, limit_ms))
    assert found.verdict == verdict
    expected = 1 / times - 1
    assert found.violation == pytest.approx(max(0.0, expected) if verdict == "UNDECIDED" else expected)
    assert (found.reason is None) == (verdict == "PASS")
    if found.reason is not None:
        assert found.reason.startswith("p95 is predicted to be ")


def test_without_a_rate_the_limits_are_held_against_the_closed_loop(measured: Trial) -> None:
    found = predicted(measured, asked(None, 10.0))
    assert (found.at_rate, found.verdict) == (None, "PASS")
    assert predicted(measured, asked(None, 0.01)).verdict == "FAIL"


def test_of_traffic_in_phases_the_figures_are_those_of_its_users(measured: Trial) -> None:
    one_user = ClosedLoop.constant(users=1, duration_s=1)
    found = predicted(measured, asked(None, phases=one_user))
    # One user who is answered 10,000 times a second has calls of 100 us; 25 us and 5 us are the endpoint's.
    assert found.capacity.throughput_per_s == pytest.approx(1 / 130e-6, rel=0.05)


def test_a_rate_that_one_cannot_carry_is_shared_by_as_many_instances_as_it_takes(measured: Trial) -> None:
    found = predicted(measured, asked(20_000.0))
    assert found.instance_count == 4, "each is planned for 80 % of its 8,000 a second"
    assert found.at_rate is not None
    assert found.at_rate.offered_per_s == 5000.0
    assert found.verdict == "PASS"


def test_more_instances_are_planned_until_the_limit_is_predicted_to_hold(measured: Trial) -> None:
    busy_ms, quiet_ms = p95_ms(measured, asked(5000.0)), p95_ms(measured, asked(5000.0 / 4))
    assert quiet_ms < busy_ms
    found = predicted(measured, asked(5000.0, (quiet_ms + busy_ms) / 2))
    assert found.instance_count > 1


def test_a_percentile_that_is_too_rare_to_be_predicted_decides_nothing(measured: Trial) -> None:
    found = predicted(measured, asked(100.0, 1000.0, percentile="p99.99"))
    assert (found.verdict, found.instance_count) == ("UNDECIDED", 1)
    assert found.reason == "p99.99 is of too few requests to be predicted"


def test_what_it_rests_on_must_be_measured_well_unless_noise_is_allowed(measured: Trial) -> None:
    noisy = costs(problems=(NOISE,))
    found = predicted(measured, asked(), noisy)
    assert (found.verdict, found.reason, found.problems) == ("INVALID", NOISE.reason, (NOISE,))
    assert predicted(replace(measured, problems=(NOISE,)), asked()).verdict == "INVALID"
    allowed = predicted(measured, asked(allow_noise=True), noisy)
    assert (allowed.verdict, allowed.problems) == ("PASS", (NOISE,))


def test_what_answered_nothing_in_process_is_predicted_to_do_no_better(trial: MakeTrial) -> None:
    dead = trial(CONFIGURATION, throughput_per_s=0.0, verdict="FAIL", at_rate=False)
    found = predicted(dead, asked())
    assert (found.verdict, found.basis, found.capacity.throughput_per_s) == ("FAIL", "predicted", 0.0)
