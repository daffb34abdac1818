"""The search for the highest rate under an SLA, in simulated M/M/1 and M/D/1 queues with services of 1 ms."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.sequential_test import Evidence
from servefit.profiler.procedures.highest_rate import highest_rate
from servefit.profiler.procedures.tried_rates import HighestRate, OpenRun, Stop
from servefit.profiler.queueing.discipline import Discipline, ServedRequests
from servefit.profiler.record.traffic import FAILED_NS, MIN_PLATEAU_S

MS = 1e6
CAPACITY_PER_S = 1000.0


class SimulatedQueue:
    """A probe of one server with services of 1 ms on average. It saturates when ``cap`` ms pass in the queue."""

    def __init__(self, *, exponential: bool = True, cap_ms: float = math.inf, seed: int = 1) -> None:
        self._exponential = exponential
        self._cap_ms = cap_ms
        self._random = np.random.default_rng(seed)
        self.rates: list[float] = []

    def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        self.rates.append(rate_per_s)
        arrivals = np.cumsum(self._random.exponential(1000 / rate_per_s, requests))
        services = self._random.exponential(1.0, requests) if self._exponential else np.ones(requests)
        worked = np.cumsum(services)
        response_ms = worked + np.maximum.accumulate(arrivals - worked + services) - arrivals
        if response_ms.max() > self._cap_ms:
            before = int(np.argmax(response_ms > self._cap_ms))
            return OpenRun(response_ns=response_ms[:before] * MS, elapsed_s=before / rate_per_s, saturated=True)
        looks = [count for count in range(100, requests, 100) if stop(response_ms[:count] * MS)][:1]
        seen = looks[0] if looks else requests
        return OpenRun(response_ns=response_ms[:seen] * MS, elapsed_s=float(arrivals[seen - 1]) / 1000)


def p95_within(limit_ms: float) -> LatencyThreshold:
    return LatencyThreshold(percentile="p95", limit_ms=limit_ms)


def find(queue: SimulatedQueue, *thresholds: LatencyThreshold, requests: int = 24_000) -> HighestRate:
    return highest_rate(queue, saturation_per_s=CAPACITY_PER_S, thresholds=thresholds, budget_requests=requests)


def true_rate_per_s(percentile: float, limit_ms: float) -> float:
    """In M/M/1 response times are exponential, with the mean 1 / (capacity - rate)."""
    return CAPACITY_PER_S - 1000 * math.log(100 / (100 - percentile)) / limit_ms


def test_the_root_is_near_the_truth_and_the_confirmed_rate_below_it() -> None:
    found = find(SimulatedQueue(), p95_within(10))
    truth = true_rate_per_s(95, 10)
    assert found.ended == "confirmed"
    assert found.root_per_s is not None
    assert found.root_per_s == pytest.approx(truth, rel=0.08)
    assert found.interval_per_s is None
    assert found.rate_per_s is not None
    assert 0.5 * truth < found.rate_per_s < truth
    assert found.requests <= 24_000
    assert found.requests == sum(run.requests for run in found.tried)


def test_more_budget_gives_a_higher_claim() -> None:
    little, much = (find(SimulatedQueue(), p95_within(10), requests=budget) for budget in (12_000, 100_000))
    assert little.rate_per_s is not None
    assert much.rate_per_s is not None
    assert little.rate_per_s < much.rate_per_s < true_rate_per_s(95, 10)


@pytest.mark.integration
@pytest.mark.parametrize(("percentile", "limit_ms"), [(50, 2.5), (75, 4), (90, 8), (97.5, 12), (99, 20)])
def test_any_percentile_may_be_limited(percentile: float, limit_ms: float) -> None:
    found = find(SimulatedQueue(), LatencyThreshold(percentile=f"p{percentile}", limit_ms=limit_ms), requests=48_000)
    assert found.root_per_s == pytest.approx(true_rate_per_s(percentile, limit_ms), rel=0.08)


def test_of_several_thresholds_the_tightest_binds() -> None:
    loose_then_tight = (
        LatencyThreshold(percentile="p99", limit_ms=40),
        LatencyThreshold(percentile="p50", limit_ms=1.6),
    )
    found = find(SimulatedQueue(), *loose_then_tight, requests=48_000)
    assert found.root_per_s == pytest.approx(true_rate_per_s(50, 1.6), rel=0.08)
    assert all(run.percentiles_ns is not None and len(run.percentiles_ns) == 2 for run in found.tried)


def test_an_sla_shorter_than_the_service_time_is_given_up_at_once() -> None:
    queue = SimulatedQueue(exponential=False)
    found = find(queue, p95_within(0.9))
    assert found.rate_per_s is None
    assert found.ended == "the SLA is not met even at 50 requests/s, 5 % of capacity"
    assert found.requests < 24_000 / 8
    assert len(queue.rates) == 2


def test_where_the_sla_is_loose_the_answer_is_just_below_capacity_and_never_above() -> None:
    queue = SimulatedQueue(exponential=False)
    found = find(queue, p95_within(5000))
    assert found.root_per_s == pytest.approx(CAPACITY_PER_S, rel=0.01)
    assert found.rate_per_s is not None
    assert 0.8 * CAPACITY_PER_S < found.rate_per_s <= CAPACITY_PER_S
    assert max(queue.rates) < CAPACITY_PER_S


def test_saturated_runs_push_the_search_below_the_rate_at_which_the_queue_grows() -> None:
    """The closed loop promised twice the capacity that the open loop has."""
    queue = SimulatedQueue(cap_ms=60)
    found = highest_rate(
        queue, saturation_per_s=2 * CAPACITY_PER_S, thresholds=[p95_within(10)], budget_requests=48_000
    )
    assert "SATURATED" in {run.verdict for run in found.tried}
    assert found.root_per_s == pytest.approx(true_rate_per_s(95, 10), rel=0.12)
    assert found.rate_per_s is not None
    assert found.rate_per_s < true_rate_per_s(95, 10)


def test_one_noisy_run_does_not_spoil_the_answer() -> None:
    class Disturbed(SimulatedQueue):
        def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
            run = super().__call__(rate_per_s, requests, stop)
            slower = 20 if len(self.rates) == 3 else 1
            return OpenRun(response_ns=run.response_ns * slower, elapsed_s=run.elapsed_s)

    found = find(Disturbed(), p95_within(10))
    assert found.root_per_s == pytest.approx(true_rate_per_s(95, 10), rel=0.12)


def test_a_budget_in_seconds_is_kept() -> None:
    found = highest_rate(
        SimulatedQueue(), saturation_per_s=CAPACITY_PER_S, thresholds=[p95_within(10)], budget_s=30, seed=2
    )
    assert found.root_per_s == pytest.approx(true_rate_per_s(95, 10), rel=0.12)
    assert 10 < found.elapsed_s < 33


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fast_server_is_not_tried_for_less_time_than_a_run_takes(seed: int) -> None:
    """400 requests, the fewest for a p95, would be over in 4 ms."""
    server, lasted_s = SimulatedQueue(seed=seed), []

    def a_hundred_times_faster(rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        lasted_s.append(requests / rate_per_s)
        run = server(rate_per_s / 100, requests, lambda response_ns: stop(response_ns / 100))
        return OpenRun(response_ns=run.response_ns / 100, elapsed_s=run.elapsed_s / 100)

    highest_rate(
        a_hundred_times_faster,
        saturation_per_s=100 * CAPACITY_PER_S,
        thresholds=[p95_within(0.1)],
        budget_s=0.3,
        seed=seed - 1,
    )
    assert min(lasted_s) > MIN_PLATEAU_S


def test_a_budget_too_small_for_one_run_is_a_result_that_says_so() -> None:
    queue = SimulatedQueue()
    found = find(queue, p95_within(10), requests=100)
    assert found.rate_per_s is None
    assert found.root_per_s is None
    assert "takes 400 requests" in found.ended
    assert queue.rates == []


def test_a_search_that_lacks_the_time_of_its_disturbed_runs_is_disturbed_and_no_failure() -> None:
    queue = SimulatedQueue()

    def probe(rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        return replace(queue(rate_per_s, requests, stop), disturbed=len(queue.rates) < 3)

    found = highest_rate(
        probe, saturation_per_s=CAPACITY_PER_S, thresholds=[p95_within(10)], budget_requests=1_000, seed=0
    )
    assert [run.verdict for run in found.tried] == ["INVALID", "INVALID"]
    assert found.rate_per_s is None
    assert found.ended.startswith("the budget")
    assert found.disturbed
    assert not find(SimulatedQueue(), p95_within(10), requests=100).disturbed


def test_a_rate_that_fails_is_followed_by_one_three_percent_lower() -> None:
    class Fails:
        def surely_fails(self, response_ns: np.ndarray) -> bool:
            return True

        def conclude(self, response_ns: np.ndarray) -> Evidence:
            return Evidence(
                verdict="FAIL",
                samples=len(response_ns),
                violations=len(response_ns),
                burst=1.0,
                p_pass=1.0,
                p_fail=1.0,
                log_e_fail=9.0,
                decided_by=None,
            )

    found = highest_rate(
        SimulatedQueue(),
        saturation_per_s=CAPACITY_PER_S,
        thresholds=[p95_within(10)],
        budget_requests=24_000,
        new_test=lambda _threshold: Fails(),
    )
    tested = [run.rate_per_s for run in found.tried if run.purpose == "confirm"]
    assert found.rate_per_s is None
    assert len(tested) > 2
    assert all(later <= 0.9701 * earlier for earlier, later in itertools.pairwise(tested[:-1]))  # the last is the floor


@pytest.mark.parametrize("seed", range(8))
def test_what_later_runs_together_contradict_is_not_told_as_confirmed(seed: int) -> None:
    """Every run after the first that was confirmed pauses in its last fifth."""
    queue = SimulatedQueue(seed=seed)

    def probe(rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        run = queue(rate_per_s, requests, stop)
        if len(queue.rates) < 8:
            return run
        paused_ns = run.response_ns.copy()
        paused_ns[-len(paused_ns) // 5 :] += 50 * MS
        return replace(run, response_ns=paused_ns)

    found = highest_rate(
        probe, saturation_per_s=CAPACITY_PER_S, thresholds=[p95_within(10)], budget_requests=24_000, seed=seed
    )
    assert (found.ended == "confirmed") == any(
        run.rate_per_s == found.rate_per_s and run.purpose == "confirm" and run.verdict == "PASS" for run in found.tried
    )


def test_a_search_without_budget_thresholds_or_capacity_is_refused() -> None:
    threshold = p95_within(10)
    with pytest.raises(SpecError, match=r"^budget is missing"):
        highest_rate(SimulatedQueue(), saturation_per_s=1000, thresholds=[threshold])
    for budget_s in (0, math.inf, math.nan):
        with pytest.raises(SpecError, match=r"^budget: "):
            highest_rate(SimulatedQueue(), saturation_per_s=1000, thresholds=[threshold], budget_s=budget_s)
    with pytest.raises(SpecError, match=r"^thresholds: "):
        highest_rate(SimulatedQueue(), saturation_per_s=1000, thresholds=[], budget_s=1)
    with pytest.raises(SpecError, match=r"^saturation: "):
        highest_rate(SimulatedQueue(), saturation_per_s=0, thresholds=[threshold], budget_s=1)


def test_where_the_rate_of_arrivals_varies_all_of_every_run_counts_and_there_is_no_interval() -> None:
    class WholeRuns(SimulatedQueue):
        def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
            assert not stop(np.full(10 * requests, 1e3))
            assert requests >= 0.5 * rate_per_s
            return super().__call__(rate_per_s, requests, stop)

    found = highest_rate(
        WholeRuns(),
        saturation_per_s=CAPACITY_PER_S,
        thresholds=(p95_within(10),),
        budget_requests=24_000,
        shortest_s=0.5,
        arrivals="diurnal",
    )
    assert found.root_per_s == pytest.approx(true_rate_per_s(95, 10), rel=0.15)
    assert found.interval_per_s is None


class SeenQueue:
    """An M/M/1 queue with services of 1 ms whose calls are seen. From the run ``slower_from`` on, they take longer."""

    discipline = Discipline(call_overhead_ns=0, request_overhead_ns=0)

    def __init__(self, *, seed: int = 1, slower_from: int | None = None, times: float = 1.3) -> None:
        self._random = np.random.default_rng(seed)
        self._slower_from = math.inf if slower_from is None else slower_from
        self._times = times
        self.rates: list[float] = []

    def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        self.rates.append(rate_per_s)
        arrivals = np.cumsum(self._random.exponential(1000 / rate_per_s, requests))
        mean = self._times if len(self.rates) > self._slower_from else 1.0
        services = self._random.exponential(mean, requests)
        worked = np.cumsum(services)
        ends = worked + np.maximum.accumulate(arrivals - worked + services)
        response_ns = (ends - arrivals) * MS
        seen = next((count for count in range(100, requests, 100) if stop(response_ns[:count])), requests)
        served = ServedRequests(
            scheduled_ns=arrivals[:seen] * MS,
            started_ns=(ends - services)[:seen] * MS,
            ended_ns=ends[:seen] * MS,
            batches=np.ones(seen, dtype=np.int64),
        )
        return OpenRun(response_ns=response_ns[:seen], elapsed_s=float(arrivals[seen - 1]) / 1000, served=served)


def find_seen(queue: SeenQueue, *, requests: int = 24_000, **facts: Any) -> HighestRate:
    return highest_rate(
        queue,
        saturation_per_s=CAPACITY_PER_S,
        thresholds=[p95_within(10)],
        budget_requests=requests,
        discipline=queue.discipline,
        **facts,
    )


def test_where_calls_are_seen_the_claim_is_just_below_the_truth_and_a_run_at_it_guards_it() -> None:
    queue = SeenQueue()
    found = find_seen(queue)
    truth = true_rate_per_s(95, 10)
    assert (found.ended, found.basis) == ("confirmed", "replayed")
    assert found.rate_per_s is not None
    assert 0.93 * truth < found.rate_per_s < truth
    assert queue.rates[-1] == found.rate_per_s
    assert found.tried[-1].purpose == "confirm"
    assert found.ratio == pytest.approx(1)
    assert found.interval_per_s is not None
    assert found.interval_per_s[0] < truth < found.interval_per_s[1]


@pytest.mark.thorough
@pytest.mark.integration
def test_more_calls_give_a_narrower_interval_and_a_higher_claim() -> None:
    little, much = (find_seen(SeenQueue(), requests=budget) for budget in (16_000, 160_000))
    assert little.interval_per_s is not None
    assert much.interval_per_s is not None
    assert np.ptp(much.interval_per_s) < np.ptp(little.interval_per_s) / 1.5
    assert little.rate_per_s is not None
    assert much.rate_per_s is not None
    assert little.rate_per_s < much.rate_per_s


@pytest.mark.integration
def test_a_claim_that_fails_where_it_is_made_is_lowered() -> None:
    as_usual = find_seen(SeenQueue(), requests=60_000)
    approach = sum(run.purpose == "approach" for run in as_usual.tried)
    found = find_seen(SeenQueue(slower_from=approach), requests=60_000)
    failed = [run for run in found.tried if run.purpose == "confirm" and run.verdict == "FAIL"]
    assert failed
    assert found.rate_per_s is None or found.rate_per_s < failed[0].rate_per_s
    assert (found.interval_per_s, found.basis) == (None, "tested")


def test_calls_too_few_for_a_replay_leave_the_search_to_tests() -> None:
    found = find_seen(SeenQueue(), requests=3000)
    assert found.basis == "tested"
    assert found.ratio is None


def test_arrivals_at_a_rate_that_varies_are_not_replayed() -> None:
    assert find_seen(SeenQueue(), arrivals="diurnal").basis == "tested"


def test_an_endpoint_that_fails_every_request_leaves_nothing_to_replay() -> None:
    class Failing(SeenQueue):
        def __call__(self, rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
            run = super().__call__(rate_per_s, requests, stop)
            none = np.empty(0)
            nothing = ServedRequests(scheduled_ns=none, started_ns=none, ended_ns=none, batches=none.astype(np.int64))
            return replace(run, response_ns=np.full(requests, float(FAILED_NS)), served=nothing)

    found = find_seen(Failing())
    assert found.rate_per_s is None
    assert found.basis == "tested"


@pytest.mark.parametrize("seed", [18, 21, 31])
def test_the_estimate_is_not_below_a_rate_that_was_confirmed(seed: int) -> None:
    """A server that is slower now and then: what saturates later pulls the line down."""
    queue, random = SimulatedQueue(cap_ms=20, seed=seed), np.random.default_rng(seed)

    def slower_now_and_then(rate_per_s: float, requests: int, stop: Stop) -> OpenRun:
        return queue(rate_per_s * (1.3 if random.random() < 0.3 else 1.0), requests, stop)

    found = highest_rate(
        slower_now_and_then, saturation_per_s=CAPACITY_PER_S, thresholds=[p95_within(10)], budget_requests=24_000
    )
    assert found.rate_per_s is not None
    assert found.root_per_s == found.rate_per_s
