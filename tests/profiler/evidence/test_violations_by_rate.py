"""Limits at a rate, by all runs of a search together."""

from __future__ import annotations

import warnings
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.sequential_test import ALPHA, PASS_LEVEL, SequentialTest, p_of_so_few
from servefit.profiler.evidence.violations_by_rate import kept_by_all
from servefit.profiler.record.traffic import FAILED_NS

LIMIT_NS = 10e6
FAST_NS, SLOW_NS = 1e6, 20e6


def run(
    rate_per_s: float, share: float, seed: int, *, requests: int = 2000, together: int = 1
) -> tuple[float, np.ndarray]:
    """A run of which that share of the requests is slow, so many of them ``together``."""
    slow = np.random.default_rng(seed).random(requests // together) < share
    return rate_per_s, np.where(np.repeat(slow, together), SLOW_NS, FAST_NS)


def kept(*runs: tuple[float, np.ndarray], at_per_s: float = 500.0, rank: float = 95.0) -> bool:
    return kept_by_all(runs, at_per_s, rank=rank, limit_ns=LIMIT_NS)


@pytest.mark.parametrize(("share", "expected"), [(0.0, True), (0.01, True), (0.05, False), (0.08, False)])
def test_the_share_of_slow_requests_of_all_runs_decides(share: float, expected: bool) -> None:
    assert kept(*(run(500.0, share, seed) for seed in range(5))) is expected


def test_one_run_without_pauses_does_not_speak_for_the_others() -> None:
    quiet = run(500.0, 0.0, 9, requests=1000)
    pausing = [run(rate, 0.06, seed, together=100) for seed, rate in enumerate((505.0, 495.0, 510.0, 490.0))]
    test = SequentialTest(percentile=95.0, limit_ns=LIMIT_NS)
    assert test.conclude(quiet[1]).verdict == "PASS"
    assert not kept(*pausing, quiet)


def test_what_is_slow_at_a_higher_rate_alone_does_not_count_against_a_lower_one() -> None:
    runs = [run(400.0, 0.002, 1), run(500.0, 0.01, 2), run(600.0, 0.06, 3), run(700.0, 0.3, 4)]
    assert kept(*runs, at_per_s=500.0)
    assert not kept(*runs, at_per_s=600.0)


def test_what_is_slow_at_any_rate_counts_at_all_of_them() -> None:
    alike = [run(rate, 0.052, seed, together=20) for seed, rate in enumerate((250.0, 350.0, 450.0, 550.0))]
    assert not any(kept(*alike, at_per_s=rate_per_s) for rate_per_s in (100.0, 250.0, 550.0))


def test_fewer_slow_requests_at_higher_rates_promise_nothing() -> None:
    falling = [run(400.0, 0.09, 1), run(450.0, 0.06, 2), run(500.0, 0.02, 3), run(550.0, 0.01, 4)]
    assert not kept(*falling, at_per_s=550.0)


@pytest.mark.parametrize("slope", [7.0, 30.0, 60.0, 120.0])
def test_a_queue_that_gets_slow_at_once_keeps_the_limit_a_little_below(slope: float) -> None:
    """A limit of so many service times has about that slope, in logits for as much as the rate."""

    def share(rate_per_s: float) -> float:
        return float(1 / (1 + np.exp(-(np.log(0.05 / 0.95) + slope * (rate_per_s / 500 - 1)))))

    rates = (250.0, 460.0, 480.0, 490.0, 495.0, 500.0, 505.0)
    runs = [run(rate, share(rate), seed, requests=3000) for seed, rate in enumerate(rates)]
    assert kept(*runs, at_per_s=(1 - 2 / slope) * 500)
    assert not kept(*runs, at_per_s=500.0)


def test_no_run_at_a_rate_or_above_shows_nothing_of_it() -> None:
    quiet = [run(rate_per_s, 0.0, 1) for rate_per_s in (400.0, 500.0)]
    assert kept(*quiet, at_per_s=500.0)
    assert not kept(*quiet, at_per_s=501.0)


def passes(requests: float, violations: float, boundary: float = 0.05) -> bool:
    """Whether so many independent requests show that a percentile keeps to its limit, p95 if not told."""
    return p_of_so_few(requests, violations, boundary) <= PASS_LEVEL


def spread(slow: int, requests: int) -> np.ndarray:
    """So many slow ones at equal distances."""
    times = np.full(requests, FAST_NS)
    times[np.linspace(0, requests - 1, slow).astype(int)] = SLOW_NS
    return times


@pytest.mark.parametrize(("low", "high"), [(5, 60), (40, 90), (75, 140), (100, 110)])
@pytest.mark.parametrize("at_per_s", [400.0, 425.0, 450.0, 500.0])
def test_a_rate_between_two_has_the_share_and_the_certainty_of_the_line_through_both(
    low: int, high: int, at_per_s: float
) -> None:
    """The line goes through both shares, so its variance is a mean of theirs."""
    slow, requests = np.array([low, high]), np.array([2000, 2500])
    counted = requests * (1 + 10 / 4500)
    shares = (slow + 0.5 * requests / 4500) / counted
    near = np.array([500 - at_per_s, at_per_s - 400]) / 100
    share = 1 / (1 + np.exp(-(near @ np.log(shares / (1 - shares)))))
    variance = (near**2 / (counted * shares * (1 - shares))).sum()
    worth = 1 / (share * (1 - share) * variance)
    runs = [(rate, spread(*of_rate)) for rate, *of_rate in zip((400.0, 500.0), slow, requests, strict=True)]
    assert kept(*runs, at_per_s=at_per_s) == passes(worth, worth * share)


@pytest.mark.parametrize("requests", [76, 78, 120, 480, 4800])
def test_of_requests_that_are_slow_one_by_one_each_counts_and_half_a_one_more(requests: int) -> None:
    """Half a violation comes with as many requests as have half a one at the limit."""

    allowed = [slow for slow in range(requests // 10) if kept((500.0, spread(slow, requests)))]
    assert allowed == [slow for slow in range(requests // 10) if passes(requests + 10, slow + 0.5)]


@pytest.mark.parametrize("bursts", [8, 12, 16])
@pytest.mark.parametrize("rank", [60.0, 95.0])
def test_blocks_that_differ_make_several_requests_count_as_one(bursts: int, rank: float) -> None:
    """Of 24 blocks of 1,000 requests so many have slow ones, up to four times the share that is allowed."""
    blocks, requests, boundary = 24, 1000, 1 - rank / 100
    has_a_burst = np.arange(blocks) * bursts % blocks < bursts
    allowed, expected = [], []
    for slow in range(2, min(requests, round(4 * boundary * requests))):
        counts = np.where(has_a_burst, slow, 0)
        times = np.concatenate([np.where(np.arange(requests) < count, SLOW_NS, FAST_NS) for count in counts])
        allowed.append(kept((500.0, times), rank=rank))
        together = blocks * requests + 0.5 / boundary
        share = (counts.sum() + 0.5) / together
        scatter = ((counts - requests * share) ** 2).sum() / (requests * share * (1 - share)) / (blocks - 2)
        raised = (t_quantile(1 - ALPHA, blocks - 2) / NormalDist().inv_cdf(1 - ALPHA)) ** 2
        counted = together / (1 + raised * max(0.0, scatter - 1))
        expected.append(passes(counted, counted * share, boundary))
    assert allowed == expected
    assert True in allowed
    assert False in allowed


def test_a_request_that_takes_just_the_limit_keeps_it() -> None:
    assert kept((500.0, np.full(2000, LIMIT_NS)))
    assert not kept((500.0, np.full(2000, np.nextafter(LIMIT_NS, 1e9))))


def test_a_run_without_a_request_that_counts_says_nothing() -> None:
    assert kept((400.0, np.empty(0)), run(500.0, 0.01, 1), (600.0, np.empty(0)))


@pytest.mark.parametrize("slow", range(9))
def test_a_few_slow_requests_among_thousands_do_not_matter(slow: int) -> None:
    times = np.full(2000, FAST_NS)
    times[: 200 * slow : 200] = SLOW_NS
    assert kept((480.0, np.full(2000, FAST_NS)), (500.0, times))


def test_few_requests_show_nothing() -> None:
    assert not kept()
    assert not kept(run(500.0, 0.0, 1, requests=50))
    assert kept(run(500.0, 0.0, 1, requests=150))


@pytest.mark.parametrize("together", [1, 30])
def test_runs_at_the_limit_are_seldom_taken_for_ones_that_keep_it(together: int) -> None:
    rates = (450.0, 480.0, 500.0, 520.0, 490.0)
    passed = [
        kept(*(run(rate, 0.05, 10 * seed + nth, requests=3000, together=together) for nth, rate in enumerate(rates)))
        for seed in range(200)
    ]
    assert sum(passed) <= 16  # the level is 3 %, and 8 % are surely more


@given(
    st.lists(
        st.tuples(st.floats(50, 1000), st.lists(st.sampled_from([FAST_NS, SLOW_NS, FAILED_NS]), max_size=400)),
        max_size=8,
    ),
    st.floats(50, 1000),
)
@settings(max_examples=examples(60, drawn=600))
def test_between_five_per_cent_of_saturation_and_all_of_it_any_runs_say_something(
    runs: list[tuple[float, list[float]]], at_per_s: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        said = kept(*((rate_per_s, np.array(response_ns)) for rate_per_s, response_ns in runs), at_per_s=at_per_s)
    slow = sum(nanoseconds > LIMIT_NS for _, response_ns in runs for nanoseconds in response_ns)
    assert said in (True, False)
    if slow == sum(len(response_ns) for _, response_ns in runs):
        assert not said
