"""Intervals of percentiles between blocks of runs."""

from __future__ import annotations

from math import ceil, comb, exp, inf, log, log1p, sqrt
from statistics import fmean, variance

import numpy as np
import pytest

from benchmarks import queues
from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.percentile_intervals import percentile_intervals

RANKS = {"p50": 50.0, "p95": 95.0}


def test_intervals_hold_the_true_percentile_about_as_often_as_they_claim() -> None:
    """Independent exponential latencies: the true median is log 2, the true p95 is log 20."""
    rng = np.random.default_rng(7)
    hits = {"p50": 0, "p95": 0}
    trials = 200
    for _ in range(trials):
        intervals = percentile_intervals([rng.exponential(size=2000)], RANKS)
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
        if interval := percentile_intervals([response_ms], RANKS).get("p95"):
            held.append(interval[0] <= truth_ms <= interval[1])
    assert len(held) >= 30
    assert np.mean(held) >= 0.85


def test_intervals_are_wider_where_neighbours_are_alike() -> None:
    rng = np.random.default_rng(3)
    levels = np.repeat(rng.exponential(size=200), 20)
    together = percentile_intervals([levels + rng.normal(0, 0.01, 4000)], RANKS)["p50"]
    apart = percentile_intervals([rng.permutation(levels)], RANKS)["p50"]
    assert np.ptp(together) > 2.5 * np.ptp(apart)


def test_a_queue_that_is_long_once_has_no_interval() -> None:
    response = np.concatenate([np.ones(4000), np.linspace(1, 50, 1000)])
    assert percentile_intervals([response], RANKS) == {}


def evenly(values: int) -> np.ndarray:
    """Not random, so that none is worth less than another: they fill the unit interval evenly."""
    return (np.arange(values) * 0.6180339887) % 1


@pytest.mark.parametrize(("values", "names"), [(79, set()), (80, {"p50", "p95"}), (380, {"p50", "p95"})])
def test_intervals_of_few_values_are_not_given(values: int, names: set[str]) -> None:
    assert set(percentile_intervals([evenly(values)], {**RANKS, "p99": 99.0})) == names


@pytest.mark.parametrize("rank", [5.0, 50.0, 95.0, 99.0])
@pytest.mark.parametrize("values", [400, 2000])
def test_fewer_values_lie_beyond_an_end_with_a_probability_of_a_fortieth(values: int, rank: float) -> None:
    """By the binomial distribution, between the counts around the end."""
    low, high = percentile_intervals([evenly(values)], {"it": rank})["it"]
    below, above = int((evenly(values) < low).sum()), int((evenly(values) > high).sum())
    for beyond, share in ((below, rank / 100), (above, 1 - rank / 100)):
        assert of_at_most(beyond - 1, values, share) <= 0.025 <= of_at_most(beyond + 1, values, share)


def of_at_most(count: int, values: int, share: float) -> float:
    """The probability that of ``values`` no more than ``count`` are among the ``share``."""
    return sum(exp(log(comb(values, k)) + k * log(share) + (values - k) * log1p(-share)) for k in range(count + 1))


@pytest.mark.parametrize("lengths", [[4003], [2501, 1999], [700, 1203, 901]])
@pytest.mark.parametrize("rank", [10.0, 50.0, 75.0, 95.0])
@pytest.mark.parametrize("remembered", [0.0, 0.6])
def test_ends_are_where_the_formulas_of_the_opening_put_them(
    lengths: list[int], rank: float, remembered: float
) -> None:
    runs = [remembering(length, remembered, seed=length) for length in lengths]
    expected = by_formulas(runs, rank)
    assert expected is not None
    assert percentile_intervals(runs, {"it": rank})["it"] == expected


def test_the_fewest_values_of_a_run_are_one_a_block() -> None:
    """Ten blocks, of two runs five each."""
    assert percentile_intervals([evenly(400), evenly(4)], RANKS) == {}
    assert "p50" in percentile_intervals([evenly(400), evenly(5)], RANKS)


def remembering(values: int, part: float, *, seed: int) -> np.ndarray:
    """Return values each of which is alike the one before by ``part``."""
    series = np.random.default_rng(seed).exponential(size=values)
    for nth in range(1, values):
        series[nth] += part * series[nth - 1]
    return series


def by_formulas(runs: list[np.ndarray], rank: float) -> tuple[float, float] | None:
    """Return the interval by the formulas of the opening, computed one value after the other."""
    together = sorted(value for run in runs for value in run.tolist())
    blocks, shares_of = ceil(10 / len(runs)), []
    for multiple in (1, 2, 4, 8):
        beyond = min(multiple * min(rank, 100 - rank), 50) / 100
        level = beyond if rank < 50 else 1 - beyond
        value = together[ceil(round(level * len(together), 6)) - 1]
        shares = []
        for run in runs:
            length = len(run) // blocks
            used = run.tolist()[len(run) - blocks * length :]
            shares += [fmean(one > value for one in used[nth * length :][:length]) for nth in range(blocks)]
        shares_of.append(shares)
    length = sum(len(run) // blocks for run in runs) // len(runs)
    independent = len(together) / max(as_one(shares, length) for shares in shares_of)
    share = 1 - rank / 100
    middle = share + (1.96**2 - 1) * (1 - 2 * share) / 6 / independent
    half = (1.96 * sqrt(share * (1 - share) * independent) + 0.5) / independent
    if middle - half <= 0 or middle + half >= 1:
        return None
    low, high = (ceil(round((1 - beyond) * len(together), 6)) - 1 for beyond in (middle + half, middle - half))
    return together[low], together[high]


def as_one(shares: list[float], length: int) -> float:
    """Return how many requests count as one, by the ``shares`` beyond a value in blocks of ``length``."""
    share = fmean(shares)
    unevenness = variance(shares) / (share * (1 - share))
    times = length * unevenness / (1 - unevenness) if unevenness < 1 else inf
    return 1 + (t_quantile(0.975, len(shares) - 1) / 1.96) ** 2 * max(0.0, times - 1)


def test_slow_requests_that_come_together_count_as_fewer_in_one_run_and_in_many() -> None:
    """One of ten blocks has all slow requests, and each of ten runs its share of them."""
    slow = np.concatenate([np.ones(3600), 2 + evenly(400)])
    assert percentile_intervals([slow], RANKS) == {}
    spread = [np.concatenate([np.ones(360), 2 + evenly(40)]) for _ in range(10)]
    assert percentile_intervals(spread, RANKS).keys() == {"p50", "p95"}


def test_slow_requests_that_come_together_and_take_equally_long_count_as_fewer_too() -> None:
    """As those that end at a timeout do: none takes longer than the percentile."""
    assert percentile_intervals([np.concatenate([np.ones(3600), np.full(400, 2.0)])], RANKS) == {}


def test_requests_that_all_take_equally_long_count_as_many_as_they_are() -> None:
    assert percentile_intervals([np.ones(100)], RANKS) == {"p50": (1.0, 1.0), "p95": (1.0, 1.0)}


def test_a_percentile_without_an_interval_does_not_keep_others_from_theirs() -> None:
    assert percentile_intervals([evenly(380)], {"p99": 99.0, "p50": 50.0}).keys() == {"p50"}


def test_the_longest_request_of_all_may_lie_in_front_of_the_blocks() -> None:
    assert percentile_intervals([np.concatenate([[2.0], evenly(4000)])], {"p99.99": 99.99, "p50": 50.0}).keys() == {
        "p50"
    }


def test_a_run_that_merely_looks_quiet_at_the_percentile_has_a_wider_interval_or_none() -> None:
    """The slowest requests are spread evenly, and those nearly as slow come in one pause, or spread as well."""
    values = 1 + evenly(4000)
    values[::25] = 5 + evenly(160)
    paused = values.copy()
    paused[1000:1500] = np.maximum(paused[1000:1500], 3)
    evenly_spread = values.copy()
    evenly_spread[::8] = np.maximum(evenly_spread[::8], 3)
    assert "p95" in percentile_intervals([evenly_spread], RANKS)
    assert "p95" not in percentile_intervals([paused], RANKS)


def test_an_interval_that_reaches_among_requests_without_an_answer_is_not_given() -> None:
    values = np.random.default_rng(1).exponential(size=2000)
    values[::22] = np.inf
    assert set(percentile_intervals([values], RANKS)) == {"p50"}
    assert percentile_intervals([np.full(500, np.inf)], RANKS) == {}


@pytest.mark.parametrize("others", [0.0, 1e-3, 1e9])
def test_requests_without_an_answer_took_longest_whatever_the_others_took(others: float) -> None:
    answered = np.full(2000, others)
    answered[300:420] = np.inf
    assert percentile_intervals([answered], RANKS) == {"p50": (others, others)}


def test_what_all_slow_requests_took_is_sure_if_they_are_spread_alone() -> None:
    spread, burst = np.ones(4000), np.ones(4000)
    spread[::5], burst[1000:1800] = 2.0, 2.0
    assert percentile_intervals([spread], RANKS)["p95"] == (2.0, 2.0)
    assert percentile_intervals([burst], RANKS) == {}


def test_where_all_take_the_same_time_the_interval_is_that_time() -> None:
    assert percentile_intervals([np.full(500, 3.0)], RANKS) == {"p50": (3.0, 3.0), "p95": (3.0, 3.0)}
