"""Comparisons of alternatives with a known difference, under known noise."""

from __future__ import annotations

import time
from itertools import count
from math import exp, log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servefit.errors import HostMismatch, MeasurementError, SpecError
from servefit.profiler.evidence.intervals import mean_interval
from servefit.profiler.procedures.comparing.comparison import (
    ComparedFigure,
    Comparison,
    Outcome,
    TooDisturbed,
    compare,
    compare_with_itself,
    require_same_host,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def noisy(value: float, *, spread: float, rng: np.random.Generator) -> Callable[[int], float]:
    return lambda _: value * exp(rng.normal(0, spread))


def simulated(*, difference: float, spread: float, seed: int) -> Comparison:
    """What comes out where b takes ``difference`` longer than a, and measurements scatter by ``spread``."""
    rng = np.random.default_rng(seed)
    a, b = (noisy(value, spread=spread, rng=rng) for value in (1000.0, 1000 * (1 + difference)))
    return compare(a, b, seed=seed)


@pytest.mark.parametrize("spread", [0.002, 0.008, 0.03])
def test_equal_things_are_hardly_ever_called_different(spread: float) -> None:
    outcomes = [simulated(difference=0.0, spread=spread, seed=seed).outcome for seed in range(100)]
    # 5 of 100 by the error rate; 10 or more come once in 35 times.
    assert outcomes.count("no difference") + outcomes.count("undecided") >= 91


@pytest.mark.parametrize(("difference", "wrong"), [(0.005, "b is faster"), (-0.005, "a is faster")])
@pytest.mark.parametrize("spread", [0.002, 0.008, 0.03])
def test_what_is_slower_is_hardly_ever_called_faster(difference: float, wrong: Outcome, spread: float) -> None:
    outcomes = [simulated(difference=difference, spread=spread, seed=seed).outcome for seed in range(60)]
    assert outcomes.count(wrong) <= 3


@pytest.mark.parametrize("spread", [0.005, 0.02, 0.05])
def test_what_differs_by_four_times_the_margin_is_hardly_ever_called_equal_however_much_it_scatters(
    spread: float,
) -> None:
    outcomes = [simulated(difference=0.08, spread=spread, seed=seed).outcome for seed in range(60)]
    assert outcomes.count("no difference") <= 1


@pytest.mark.parametrize(("blocks", "looks"), [(4, 1), (8, 2), (16, 3), (20, 4)])
def test_all_looks_at_the_interval_together_have_the_error_rate_that_it_promises(blocks: int, looks: int) -> None:
    """After 4 blocks, 8, 16, and the last [Bonferroni]."""
    rng = np.random.default_rng(3)
    result = compare(*[noisy(1000, spread=0.3, rng=rng) for _ in "ab"], blocks=blocks)
    assert len(result.log_ratios) == blocks
    low, high = mean_interval(result.log_ratios, confidence=1 - 0.05 / looks)
    assert result.ci95 == pytest.approx((exp(low), exp(high)))


def test_whether_things_that_scatter_much_are_equal_stays_undecided() -> None:
    result = compare(*[noisy(1000, spread=0.3, rng=np.random.default_rng(seed)) for seed in (1, 2)])
    assert result.outcome == "undecided"
    assert result.stopped == "blocks"


@pytest.mark.parametrize(("difference", "outcome"), [(0.05, "a is faster"), (-0.05, "b is faster")])
def test_five_per_cent_are_found_in_noise_of_one(difference: float, outcome: Outcome) -> None:
    results = [simulated(difference=difference, spread=0.01, seed=seed) for seed in range(40)]
    assert [result.outcome for result in results].count(outcome) >= 38
    assert np.mean([result.ratio for result in results]) == pytest.approx(1 + difference, rel=0.005)
    held = sum(result.ci95[0] <= 1 + difference <= result.ci95[1] for result in results)
    assert held >= 36


def test_what_is_within_the_margin_is_no_difference_however_sure_it_is() -> None:
    rng = np.random.default_rng(1)
    a, b = noisy(1000, spread=0.002, rng=rng), noisy(1030, spread=0.002, rng=rng)
    result = compare(a, b, margin=0.05)
    assert (result.outcome, result.margin) == ("no difference", 0.05)
    assert result.ratio == pytest.approx(1.03, rel=0.005)
    assert compare(a, b).outcome == "a is faster"


@pytest.mark.parametrize("margin", [0, 1, -0.1, float("nan")])
def test_a_margin_that_is_none_is_refused(margin: float) -> None:
    with pytest.raises(SpecError, match=r"^margin: "):
        compare(lambda _: 1.0, lambda _: 1.0, margin=margin)


def test_what_cannot_be_decided_takes_all_blocks() -> None:
    result = simulated(difference=0.01, spread=0.03, seed=1)
    assert result.stopped == "blocks"
    assert len(result.log_ratios) == 16


def test_on_a_quiet_machine_four_blocks_will_do() -> None:
    result = simulated(difference=0.1, spread=0.0005, seed=1)
    assert len(result.log_ratios) == 4
    assert result.stopped == "decided"


@given(st.floats(-0.05, 0.05), st.floats(-0.1, 0.1), st.integers(0, 10_000))
@settings(max_examples=50)
def test_a_steady_drift_cancels(drift: float, log_ratio: float, seed: int) -> None:
    """The machine gets slower, or faster, by up to 5 % with every measurement."""
    position = count()

    def drifting(value: float) -> Callable[[int], float]:
        return lambda _: value * exp(drift * next(position))

    result = compare(drifting(10), drifting(10 * exp(log_ratio)), seed=seed)
    assert result.ratio == pytest.approx(exp(log_ratio))


@given(st.integers(0, 10_000))
@settings(max_examples=30)
def test_the_same_seed_gives_the_same_result_and_each_side_is_measured_twice_a_block(seed: int) -> None:
    def once() -> tuple[Comparison, str]:
        order: list[str] = []
        rng = np.random.default_rng(seed)

        def measure(side: str) -> float:
            order.append(side)
            return float(rng.lognormal(0, 0.1))

        return compare(lambda _: measure("A"), lambda _: measure("B"), seed=seed), "".join(order)

    (result, order), again = once(), once()
    assert (result, order) == again
    blocks = [order[begin : begin + 4] for begin in range(0, len(order), 4)]
    assert len(blocks) == len(result.log_ratios)
    assert set(blocks) <= {"ABBA", "BAAB"}


def test_both_orders_of_a_pair_occur() -> None:
    order: list[str] = []

    def measure(side: str) -> float:
        order.append(side)
        return 1.0

    compare(lambda _: measure("A"), lambda _: measure("B"))
    blocks = {"".join(order[begin : begin + 4]) for begin in range(0, len(order), 4)}
    assert blocks == {"ABBA", "BAAB"}


def test_the_two_of_a_pair_are_given_the_same_number_and_no_pair_that_of_another() -> None:
    pairs: dict[int, str] = {}

    def measure(side: str, nth: int) -> float:
        pairs[nth] = pairs.get(nth, "") + side
        return 1.0

    compare(lambda nth: measure("A", nth), lambda nth: measure("B", nth))
    assert list(pairs) == list(range(8))
    assert set(pairs.values()) <= {"AB", "BA"}


@pytest.mark.integration
def test_time_runs_out_after_whole_blocks() -> None:
    rng = np.random.default_rng(1)

    def slow(_: int) -> float:
        time.sleep(0.002)
        return float(rng.lognormal(0, 0.5))

    result = compare(slow, slow, blocks=10_000, budget_s=0.3, seed=1)
    assert result.stopped == "time"
    assert result.outcome == "undecided"
    assert 4 <= len(result.log_ratios) < 40


def test_four_blocks_are_measured_however_little_time_there_is() -> None:
    result = compare(lambda _: 1.0, lambda _: 1.5, budget_s=1e-9)
    assert len(result.log_ratios) == 4
    assert result.outcome == "a is faster"
    assert result.ratio == pytest.approx(1.5)


def every(nth: int, *, value: float) -> Callable[[int], float | None]:
    """Figures of which each ``nth`` was disturbed."""
    calls = count(1)
    return lambda _: None if next(calls) % nth == 0 else value


def test_a_block_with_a_disturbed_measurement_is_left_out_and_made_again() -> None:
    result = compare(every(10_000, value=1.0), every(7, value=1.5))
    assert (result.outcome, result.stopped) == ("a is faster", "decided")
    assert result.ratio == pytest.approx(1.5)
    assert len(result.log_ratios) == 4


def test_blocks_that_are_disturbed_again_and_again_end_a_comparison_that_has_enough_of_others() -> None:
    rng = np.random.default_rng(1)
    noisy_a, disturbed_b = noisy(1000, spread=0.3, rng=rng), every(6, value=1000.0)
    result = compare(noisy_a, disturbed_b, blocks=64)
    assert (result.outcome, result.stopped) == ("undecided", "noise")
    assert 4 <= len(result.log_ratios) < 64


def test_nothing_is_compared_where_everything_is_disturbed() -> None:
    calls = count()

    def disturbed(_: int) -> None:
        next(calls)

    with pytest.raises(TooDisturbed):
        compare(disturbed, lambda _: 1.0)
    assert next(calls) <= 8, "a block ends with the first measurement that is disturbed"


def test_the_noise_floor_is_the_far_end_of_what_a_shows_against_itself() -> None:
    rng = np.random.default_rng(4)
    floor = compare_with_itself(noisy(5, spread=0.05, rng=rng), blocks=8)
    assert len(floor.log_ratios) == 8
    assert floor.median_ratio == pytest.approx(exp(np.median(floor.log_ratios)))
    assert log(1 + floor.resolvable) > abs(np.mean(floor.log_ratios))


def test_figures_of_two_hosts_are_refused() -> None:
    here, there = (ComparedFigure(value=1.0, host_fingerprint=host) for host in ("aaaa", "bbbb"))
    with pytest.raises(HostMismatch, match=r"(aaaa and host bbbb|bbbb and host aaaa)"):
        compare(lambda _: here, lambda _: there)
    assert compare(lambda _: here, lambda _: here).outcome == "no difference"
    require_same_host("aaaa", "aaaa")
    with pytest.raises(HostMismatch):
        require_same_host("aaaa", "bbbb")


@pytest.mark.parametrize("figure", [0.0, -1.0, float("nan"), float("inf")])
def test_a_figure_without_a_logarithm_is_refused(figure: float) -> None:
    with pytest.raises(MeasurementError, match="has no logarithm"):
        compare(lambda _: figure, lambda _: 1.0)


def test_fewer_than_four_blocks_are_refused() -> None:
    with pytest.raises(SpecError, match="below 4"):
        compare(lambda _: 1.0, lambda _: 1.0, blocks=3)
