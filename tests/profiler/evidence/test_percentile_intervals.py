"""Intervals of percentiles of one run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import queues
from servefit.profiler.evidence.autocorrelation import autocorrelation_time, clipped
from servefit.profiler.evidence.percentile_intervals import (
    independent_values,
    is_known,
    order_statistics_interval,
    percentile_intervals,
)

RANKS = {"p50": 50.0, "p95": 95.0}


def test_intervals_hold_the_true_percentile_about_as_often_as_they_claim() -> None:
    """Independent exponential latencies: the true median is log 2, the true p95 is log 20."""
    rng = np.random.default_rng(7)
    hits = {"p50": 0, "p95": 0}
    trials = 200
    for _ in range(trials):
        intervals = percentile_intervals(rng.exponential(size=2000), RANKS)
        hits["p50"] += intervals["p50"][0] <= np.log(2) <= intervals["p50"][1]
        hits["p95"] += intervals["p95"][0] <= np.log(20) <= intervals["p95"][1]
    assert all(0.9 <= hit / trials <= 1 for hit in hits.values()), hits


def test_those_that_are_printed_of_a_busy_queue_hold_the_truth_too() -> None:
    truth_ms = float(np.log(20) / (1 - 0.7))
    held = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        arrivals = queues.poisson_arrivals(0.7, 10_000, random)
        response_ms = queues.simulate(arrivals, random.exponential(1.0, 10_000))
        if interval := percentile_intervals(response_ms, RANKS).get("p95"):
            held.append(interval[0] <= truth_ms <= interval[1])
    assert len(held) >= 30
    assert np.mean(held) >= 0.85


def test_intervals_are_wider_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(3)
    levels = np.repeat(rng.exponential(size=200), 20)
    together = percentile_intervals(levels + rng.normal(0, 0.01, 4000), RANKS)["p50"]
    apart = percentile_intervals(rng.permutation(levels), RANKS)["p50"]
    assert np.ptp(together) > 2.5 * np.ptp(apart)


def test_a_queue_that_is_long_once_has_no_interval() -> None:
    response = np.concatenate([np.ones(4000), np.linspace(1, 50, 1000)])
    assert percentile_intervals(response, RANKS) == {}


def evenly(values: int) -> np.ndarray:
    """Not random, so that none is worth less than another: they fill the unit interval evenly."""
    return (np.arange(values) * 0.6180339887) % 1


@pytest.mark.parametrize(("values", "names"), [(79, set()), (150, {"p50"}), (500, {"p50", "p95"})])
def test_intervals_of_few_values_are_not_given(values: int, names: set[str]) -> None:
    assert set(percentile_intervals(evenly(values), RANKS)) == names


@pytest.mark.parametrize(
    ("rank", "independent", "interval"),
    [
        (50, 1000, (46_802, 53_199)),
        (50, 100, (39_887, 60_114)),
        (95, 1000, (93_606, 96_395)),
        (5, 1000, (3_606, 6_395)),
    ],
)
def test_an_interval_holds_what_two_standard_errors_of_a_share_of_values_lie_beyond(
    rank: float, independent: float, interval: tuple[int, int]
) -> None:
    """A standard error of a share p of n values is the root of p (1 - p) / n; by Student with 39 degrees of freedom it
    takes 2.023 of them."""
    assert order_statistics_interval(np.arange(1, 100_001), rank, independent) == interval


@pytest.mark.parametrize(
    ("rank", "independent", "exists"), [(95, 77, False), (95, 78, True), (5, 77, False), (5, 78, True)]
)
def test_an_interval_that_reaches_beyond_all_values_is_not_given(rank: float, independent: int, exists: bool) -> None:
    assert (order_statistics_interval(np.arange(1000.0), rank, independent) is not None) == exists
    assert order_statistics_interval(np.arange(1000.0), rank, 0) is None


@pytest.mark.parametrize(
    ("independent", "rank", "known"),
    [(20, 50, True), (19.9, 50, False), (200, 5, True), (199.9, 5, False), (200, 95, True), (199.9, 95, False)],
)
def test_ten_independent_values_on_the_rarer_side_are_enough(independent: float, rank: float, known: bool) -> None:
    assert is_known(independent, rank) == known


def test_eighty_values_say_how_many_independent_ones_they_are_worth() -> None:
    assert independent_values(evenly(79), RANKS) == {"p50": 0.0, "p95": 0.0}
    assert independent_values(evenly(80), {"p50": 50.0}) == {"p50": 80.0}


def test_what_a_tenth_or_less_exceed_is_worth_no_more_than_the_queue_itself() -> None:
    random = np.random.default_rng(4)
    values = np.repeat(random.exponential(size=200), 20) + random.exponential(2.0, size=4000)
    ranks = {"p50": 50.0, "p89.5": 89.5, "p90": 90.0, "p99": 99.0}
    found = independent_values(values, ranks)
    alone = {name: 4000 / autocorrelation_time(values > np.percentile(values, rank)) for name, rank in ranks.items()}
    of_queue = 4000 / autocorrelation_time(clipped(values))
    assert min(alone.values()) > of_queue
    assert found == {**alone, "p90": of_queue, "p99": of_queue}


def test_an_interval_that_reaches_among_requests_without_an_answer_is_not_given() -> None:
    values = np.random.default_rng(1).exponential(size=2000)
    values[::22] = np.inf
    assert set(percentile_intervals(values, RANKS)) == {"p50"}
    assert percentile_intervals(np.full(500, np.inf), RANKS) == {}


@pytest.mark.parametrize("others", [0.0, 1e-3, 1e9])
def test_requests_without_an_answer_took_longest_whatever_the_others_took(others: float) -> None:
    answered = np.full(2000, others)
    answered[300:420] = np.inf
    of_these = independent_values(answered, RANKS)
    assert of_these == pytest.approx(independent_values(np.where(np.isinf(answered), 9.0, 1.0), RANKS))
    assert of_these["p95"] < 100


def test_where_all_take_the_same_time_the_interval_is_that_time() -> None:
    assert percentile_intervals(np.full(500, 3.0), RANKS) == {"p50": (3.0, 3.0), "p95": (3.0, 3.0)}
