"""The expected figures of configurations, from service times, the simulation and measurements."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.queueing.after_idle import AfterIdle
from servefit.profiler.queueing.discipline import Discipline
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.traffic import ClosedLoop
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.predictions import Surrogate
from servefit.search.optimizer.service_time_survey import Survey, timed_as
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.simulation.endpoint import EndpointCosts
from servefit.search.simulation.prediction import predict, predict_users

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.optimizer.expected_improvement import ExpectedScore

ONE_WORKER = Configuration(vcpus=1, backend="a")
BATCHED = replace(ONE_WORKER, max_batch=16)
TWO_WORKERS = Configuration(vcpus=2, backend="a", workers=2)
UNKNOWN = Configuration(vcpus=1, backend="unknown")
GRID = (ONE_WORKER, BATCHED, TWO_WORKERS, UNKNOWN)

SMALL = InstanceProfile(name="small", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
DEAR = InstanceProfile(name="dear", vcpus=1, memory_bytes=2**30, price_per_hour=0.3)
UNPRICED = InstanceProfile(name="unpriced", vcpus=2, memory_bytes=2**30)

MS = 1e6
SERVICE = ServiceTimes(
    batches=tuple(
        BatchTimes(requests=size, strata_ns=tuple((0.8 + 0.2 * size) * MS * part for part in (0.9, 1.0, 1.1)))
        for size in (1, 16)
    )
)


def surrogate_of(**asked: Any) -> Surrogate:
    space = Space(
        profiles=(
            (SMALL, frozenset([ONE_WORKER, BATCHED, UNKNOWN])),
            (DEAR, frozenset([ONE_WORKER, BATCHED, UNKNOWN])),
            (UNPRICED, frozenset([TWO_WORKERS])),
        ),
        grid=GRID,
    )
    survey = Survey.of(GRID)
    survey.known[timed_as(ONE_WORKER, 1)] = SERVICE
    survey.known[timed_as(TWO_WORKERS, 2)] = replace(SERVICE, workers=2)
    return Surrogate(space, survey, JobRequest(name="job", **asked))


def limit(limit_ms: float, percentile: str = "p95", *, rate_per_s: float | None = None) -> Sla:
    return Sla(thresholds=(LatencyThreshold(percentile=percentile, limit_ms=limit_ms),), rate_per_s=rate_per_s)


def expected(surrogate: Surrogate, configuration: Configuration) -> ExpectedScore:
    found = surrogate.expected_score(configuration)
    assert found is not None
    return found


def capacity_of(surrogate: Surrogate, configuration: Configuration) -> float:
    (found,) = surrogate.capacities([configuration])
    assert found is not None
    return found.value


def test_capacities_are_those_of_the_simulation() -> None:
    surrogate = surrogate_of()
    for configuration in (ONE_WORKER, BATCHED, TWO_WORKERS):
        simulated = predict(
            SERVICE,
            Discipline.of(configuration),
            rate_per_s=None,
            percentiles=(95.0,),
        )
        assert capacity_of(surrogate, configuration) == pytest.approx(simulated.capacity_per_s, rel=0.01)


def of_users(users: int) -> ClosedLoop:
    return ClosedLoop.stairs(steps=2, users_per_step=users // 2, step_duration_s=1.0)


def test_of_traffic_in_phases_capacity_and_latency_are_those_of_its_users_at_their_most() -> None:
    surrogate = surrogate_of(phases=of_users(2), goal="latency")
    loop = predict_users(SERVICE, Discipline(workers=1, max_batch=16), users=2, percentiles=(95.0,))
    assert capacity_of(surrogate, BATCHED) == pytest.approx(loop.capacity_per_s)
    assert expected(surrogate, BATCHED).score.figure == pytest.approx(loop.latency_ms["p95"])
    assert capacity_of(surrogate_of(), BATCHED) > 2 * loop.capacity_per_s


def test_phases_do_not_change_what_latency_is_expected_at_a_rate() -> None:
    with_phases, without = (
        surrogate_of(sla=Sla(rate_per_s=50.0), goal="latency", phases=phases) for phases in (of_users(2), None)
    )
    for configuration in (ONE_WORKER, BATCHED):
        assert expected(with_phases, configuration).score.figure == expected(without, configuration).score.figure
    assert capacity_of(with_phases, BATCHED) < capacity_of(without, BATCHED)


@pytest.mark.parametrize("rate_per_s", [5.0, 300.0, 900.0])
def test_latency_at_a_rate_is_the_same_whatever_else_is_in_the_space(rate_per_s: float) -> None:
    asked: dict[str, Any] = {"sla": Sla(rate_per_s=rate_per_s), "goal": "latency"}
    survey = Survey.of(GRID)
    survey.known[timed_as(ONE_WORKER, 1)] = SERVICE
    alone = Space(profiles=((SMALL, frozenset([ONE_WORKER])),), grid=(ONE_WORKER,))
    by_itself = Surrogate(alone, survey, JobRequest(name="job", **asked))
    beside_larger_batches = surrogate_of(**asked)
    assert expected(beside_larger_batches, ONE_WORKER).score == expected(by_itself, ONE_WORKER).score


def test_an_endpoint_is_expected_to_do_as_well_as_its_costs_let_it() -> None:
    costs = EndpointCosts(
        request_ns=0.2 * MS,
        call_ns=0.0,
        after_idle=(AfterIdle(idle_ns=0.0, extra_ns=(0.3 * MS,)),),
        rows=1,
        request_bytes=100,
    )
    surrogate = surrogate_of(sla=Sla(rate_per_s=5.0), goal="latency")
    in_process_ms, optimistic_ms = expected(surrogate, ONE_WORKER).score.figure, least_ms(surrogate)
    surrogate.predict_endpoints(costs)
    assert capacity_of(surrogate, ONE_WORKER) == pytest.approx(1000 / 1.2, rel=0.01)
    assert capacity_of(surrogate, BATCHED) == pytest.approx(16_000 / (4.0 + 16 * 0.2), rel=0.01)
    assert expected(surrogate, ONE_WORKER).score.figure == pytest.approx(in_process_ms + 0.2 + 0.3, rel=0.02)
    assert least_ms(surrogate) == pytest.approx(optimistic_ms + 0.2)


def least_ms(surrogate: Surrogate) -> float:
    """What no request to one worker can be faster than."""
    (found,) = surrogate.optimistic_scores([ONE_WORKER])
    return found.score.figure


def test_few_users_make_a_backend_that_is_quick_by_itself_better_than_one_that_is_quick_in_large_batches() -> None:
    quick, bulky = (Configuration(vcpus=1, backend=name, max_batch=128) for name in ("quick", "bulky"))
    survey = Survey.of((quick, bulky))
    for configuration, first_ms, last_ms in ((quick, 0.2, 25.6), (bulky, 2.0, 4.0)):
        survey.known[timed_as(configuration, 1)] = ServiceTimes(
            batches=(
                BatchTimes(requests=1, strata_ns=(first_ms * MS,)),
                BatchTimes(requests=128, strata_ns=(last_ms * MS,)),
            )
        )
    space = Space(profiles=((SMALL, frozenset([quick, bulky])),), grid=(quick, bulky))

    def best(phases: ClosedLoop | None) -> Configuration:
        surrogate = Surrogate(space, survey, JobRequest(name="job", phases=phases))
        return min(surrogate.optimistic_scores(space.grid), key=lambda expected: expected.score).configuration

    assert best(None) == bulky
    assert best(of_users(2)) == quick
    assert best(of_users(128)) == bulky


def test_of_what_was_not_timed_nothing_is_promised() -> None:
    surrogate = surrogate_of()
    assert surrogate.capacities([UNKNOWN]) == [None]
    assert surrogate.expected_score(UNKNOWN) is None
    assert [configuration.configuration for configuration in surrogate.optimistic_scores(GRID)] == [
        ONE_WORKER,
        BATCHED,
        TWO_WORKERS,
    ]


def test_the_price_is_that_of_the_cheapest_profile_and_what_has_none_is_counted_in_vcpus_behind() -> None:
    surrogate = surrogate_of()
    assert (surrogate.price(ONE_WORKER).unpriced, surrogate.price(ONE_WORKER).per_hour) == (False, 0.1)
    assert (surrogate.price(TWO_WORKERS).unpriced, surrogate.price(TWO_WORKERS).per_hour) == (True, 2)
    by_score = sorted(surrogate.optimistic_scores(GRID), key=lambda expected: expected.score)
    assert [expected.configuration for expected in by_score] == [BATCHED, ONE_WORKER, TWO_WORKERS]


def test_a_measurement_moves_what_is_expected_of_it_and_of_its_neighbours(trial: MakeTrial) -> None:
    surrogate = surrogate_of()
    before = capacity_of(surrogate, BATCHED)
    surrogate.learn(trial(ONE_WORKER, throughput_per_s=1.3 * capacity_of(surrogate, ONE_WORKER)))
    assert before < capacity_of(surrogate, BATCHED) < 1.3 * before


def test_a_trial_of_an_earlier_job_counts_less_and_for_its_capacity_alone(trial: MakeTrial) -> None:
    today, earlier = surrogate_of(sla=limit(10.0)), surrogate_of(sla=limit(10.0))
    measured = trial(ONE_WORKER, throughput_per_s=2000.0, p95_ms=100.0, at_rate=False)
    today.learn(measured)
    earlier.learn(measured, earlier=True)
    assert 1000 < capacity_of(earlier, ONE_WORKER) < capacity_of(today, ONE_WORKER) < 2000
    assert expected(today, ONE_WORKER).feasible < 0.01
    assert expected(earlier, ONE_WORKER).feasible > 0.99


def test_a_trial_of_what_is_not_in_the_space_is_passed_over(trial: MakeTrial) -> None:
    surrogate = surrogate_of()
    before = capacity_of(surrogate, ONE_WORKER)
    surrogate.learn(trial(replace(ONE_WORKER, workers=7), throughput_per_s=1e6))
    assert capacity_of(surrogate, ONE_WORKER) == before


def test_a_trial_that_answered_nothing_teaches_nothing(trial: MakeTrial) -> None:
    surrogate = surrogate_of()
    before = capacity_of(surrogate, ONE_WORKER)
    surrogate.learn(trial(ONE_WORKER, throughput_per_s=0.0, p95_ms=None))
    assert capacity_of(surrogate, ONE_WORKER) == before


def test_without_limits_everything_is_feasible_and_no_latency_is_looked_at() -> None:
    found = expected(surrogate_of(sla=Sla(rate_per_s=100.0)), ONE_WORKER)
    assert (found.feasible, found.excess) == (1.0, None)


@pytest.mark.parametrize(("limit_ms", "feasible"), [(0.5, 0.0), (5.0, 1.0)])
def test_limits_are_feasible_as_latency_is_below_or_above_them(limit_ms: float, feasible: float) -> None:
    assert expected(surrogate_of(sla=limit(limit_ms)), ONE_WORKER).feasible == pytest.approx(feasible, abs=0.01)


def test_the_worst_of_several_limits_decides() -> None:
    loose, tight = limit(50.0), limit(0.5, "p99")
    limits = Sla(thresholds=(LatencyThreshold(percentile="p50", limit_ms=0.4), *loose.thresholds))
    assert expected(surrogate_of(sla=loose), ONE_WORKER).feasible > 0.99
    assert expected(surrogate_of(sla=tight), ONE_WORKER).feasible < 0.01
    assert expected(surrogate_of(sla=limits), ONE_WORKER).feasible < 0.01


@pytest.mark.timeout(60)
@pytest.mark.parametrize("percentile", ["p99.9", "p99.99999", "p12.3456789"])
def test_any_percentile_can_be_limited(percentile: str) -> None:
    """As far as it can be known from a few thousand requests: a search has seconds."""
    for rate_per_s in (None, 50.0):
        for configuration in (ONE_WORKER, BATCHED):
            assert (
                expected(surrogate_of(sla=limit(50.0, percentile, rate_per_s=rate_per_s)), configuration).feasible
                > 0.99
            )
            assert (
                expected(surrogate_of(sla=limit(0.1, percentile, rate_per_s=rate_per_s)), configuration).feasible < 0.01
            )


def test_measured_latency_is_taken_for_the_error_of_other_percentiles_too(trial: MakeTrial) -> None:
    surrogate = surrogate_of(sla=limit(2.0, "p99"))
    assert expected(surrogate, ONE_WORKER).feasible > 0.99
    surrogate.learn(trial(ONE_WORKER, p95_ms=3.0, at_rate=False))
    assert expected(surrogate, ONE_WORKER).feasible < 0.1


def test_a_rate_takes_as_many_instances_as_have_capacity_for_it_and_a_reserve() -> None:
    surrogate = surrogate_of(sla=Sla(rate_per_s=10_000.0))
    found = expected(surrogate, ONE_WORKER)
    instances = 10_000 / (0.8 * capacity_of(surrogate, ONE_WORKER))
    assert found.score.per_hour == pytest.approx(0.1 * -(-instances // 1))
    assert found.per_hour == pytest.approx(0.1 * instances)
    assert found.min_per_hour == pytest.approx(0.1)


def test_a_tight_limit_takes_more_instances_than_capacity_does(trial: MakeTrial) -> None:
    roomy, tight = (expected(surrogate_of(sla=limit(ms, rate_per_s=10_000.0)), ONE_WORKER) for ms in (50.0, 1.3))
    assert roomy.min_per_hour == pytest.approx(0.1)
    assert tight.score.per_hour == tight.min_per_hour > roomy.score.per_hour
    assert tight.per_hour == roomy.per_hour


def test_a_capacity_that_turns_out_better_takes_fewer_instances(trial: MakeTrial) -> None:
    surrogate = surrogate_of(sla=limit(50.0, rate_per_s=10_000.0))
    before = expected(surrogate, BATCHED).score.per_hour
    surrogate.learn(trial(ONE_WORKER, throughput_per_s=2 * capacity_of(surrogate, ONE_WORKER), p95_ms=None))
    assert expected(surrogate, BATCHED).score.per_hour < before


def test_a_rate_beyond_all_measure_costs_but_does_not_crash() -> None:
    found = expected(surrogate_of(sla=limit(50.0, rate_per_s=1e12)), ONE_WORKER)
    assert found.score.per_hour > 1e6


def test_a_rate_that_cannot_be_served_keeps_no_limit(trial: MakeTrial) -> None:
    surrogate = surrogate_of(sla=limit(50.0, rate_per_s=5000.0))
    # It was measured with one instance, which has a fifth of the capacity as far as service times tell.
    surrogate.learn(trial(ONE_WORKER, p95_ms=None, throughput_per_s=1000.0))
    surrogate.learn(trial(ONE_WORKER, p95_ms=1.0, throughput_per_s=1000.0, instances=1))
    assert expected(surrogate, ONE_WORKER).feasible == 0.0


def test_at_best_latency_is_that_of_a_call_and_the_promise_is_no_better() -> None:
    for goal in ("latency", "balanced"):
        surrogate = surrogate_of(goal=goal)
        for optimistic in surrogate.optimistic_scores([ONE_WORKER, BATCHED, TWO_WORKERS]):
            assert optimistic.score <= expected(surrogate, optimistic.configuration).score


def test_at_best_of_nothing_is_nothing() -> None:
    assert surrogate_of().optimistic_scores([]) == []


def test_a_limit_that_no_number_of_instances_keeps_makes_latency_the_least_there_is() -> None:
    found = expected(surrogate_of(sla=limit(0.01, rate_per_s=100.0)), ONE_WORKER)
    assert found.feasible == 0.0
    assert found.excess is not None
    assert 100 < found.excess.value < 200
    assert found.score.figure < inf
