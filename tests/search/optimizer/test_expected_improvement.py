"""By how much a configuration is expected to improve on the best so far."""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.expected_improvement import (
    CHEAPER_IMPROVEMENT,
    FIRST_IMPROVEMENT,
    ExpectedScore,
    improvement,
)
from servefit.search.optimizer.gaussian_process import LognormalEstimate
from servefit.search.results.objectives.score import Score


def score(figure: float, *, per_hour: float = 0.0, unpriced: bool = False) -> Score:
    return Score(unpriced=unpriced, per_hour=per_hour, figure=figure)


def expected_score(
    figure: float,
    sd: float = 0.1,
    *,
    excess: LognormalEstimate | None = None,
    per_hour: float = 0.0,
    needed: float = 0.0,
    least: float = 0.0,
    unpriced: bool = False,
) -> ExpectedScore:
    """``per_hour`` for whole instances, ``needed`` were they divisible, ``least`` for those that latency demands."""
    return ExpectedScore(
        configuration=Configuration(vcpus=1, backend="a"),
        score=score(figure, per_hour=per_hour, unpriced=unpriced),
        sd=sd,
        excess=excess,
        per_hour=needed,
        min_per_hour=least,
    )


def times_the_limit(value: float, sd: float = 0.1) -> LognormalEstimate:
    return LognormalEstimate(log_mean=log(value), sd=sd)


@pytest.mark.parametrize("ratio", [0.5, 0.9, 1.0, 1.1, 1.5])
@pytest.mark.parametrize("sd", [0.01, 0.1, 0.4])
def test_the_expected_improvement_is_that_of_a_million_draws(ratio: float, sd: float) -> None:
    drawn = ratio * np.exp(np.random.default_rng(0).normal(0, sd, 1_000_000))
    expected = float(np.maximum(0, 1 - drawn).mean())
    assert improvement(expected_score(7 * ratio, sd), score(7.0)) == pytest.approx(expected, abs=5e-4)


@given(figure=st.floats(1e-6, 1e6), best=st.floats(1e-6, 1e6), sd=st.floats(1e-4, 1))
def test_the_improvement_is_a_part_of_the_best_and_no_less_than_what_is_certain(
    figure: float, best: float, sd: float
) -> None:
    found = improvement(expected_score(figure, sd), score(best))
    assert 0 <= found <= 1
    assert found >= 1 - figure / best * exp(sd**2 / 2) - 1e-9


def test_the_better_and_the_less_certain_promise_more() -> None:
    best = score(1.0)
    assert (
        improvement(expected_score(0.9), best)
        > improvement(expected_score(1.0), best)
        > improvement(expected_score(1.1), best)
    )
    assert improvement(expected_score(1.1, 0.3), best) > improvement(expected_score(1.1, 0.1), best)


def test_what_is_beyond_hope_promises_nothing() -> None:
    assert improvement(expected_score(1e300, 0.1), score(1e-300)) == 0.0


@pytest.mark.parametrize(("excess", "likely"), [(1.0, 0.5), (exp(0.1), 0.159), (exp(-0.2), 0.977), (0.1, 1.0)])
def test_limits_are_kept_as_likely_as_latency_is_below_them(excess: float, likely: float) -> None:
    estimate = expected_score(0.5, excess=times_the_limit(excess))
    assert estimate.feasible == pytest.approx(likely, abs=0.001)
    assert improvement(estimate, score(1.0)) == pytest.approx(
        likely * improvement(expected_score(0.5), score(1.0)), rel=0.01
    )


def test_without_limits_everything_is_feasible_and_beyond_all_of_them_nothing() -> None:
    assert expected_score(1.0).feasible == 1.0
    assert expected_score(1.0, excess=LognormalEstimate(log_mean=inf, sd=1.0)).feasible == 0.0


def test_where_nothing_keeps_the_limits_what_is_likely_to_counts_whatever_it_costs() -> None:
    unlikely, likely = (expected_score(1.0, excess=times_the_limit(value)) for value in (1.1, 0.9))
    assert improvement(unlikely, None) < improvement(likely, None) <= FIRST_IMPROVEMENT


def test_where_nothing_can_keep_the_limits_what_may_come_closest_counts() -> None:
    far, near, beyond = (expected_score(1.0, excess=times_the_limit(value)) for value in (5.0, 3.0, 50.0))
    assert improvement(near, None, 5.0) == pytest.approx(0.4, abs=0.01)
    assert 0 < improvement(far, None, 5.0) < 0.05
    assert improvement(beyond, None, 5.0) == 0.0
    assert improvement(expected_score(1.0, excess=LognormalEstimate(log_mean=inf, sd=1.0)), None, 5.0) == 0.0
    assert improvement(near, None, None) < 1e-6


def test_a_best_of_which_no_figure_is_known_is_as_good_as_none() -> None:
    """As where latency is the goal and there were too few samples for it."""
    assert improvement(expected_score(1.0), score(inf)) == FIRST_IMPROVEMENT


def test_a_figure_that_is_not_known_or_free_of_charge_promises_nothing() -> None:
    assert improvement(expected_score(inf), score(1.0)) == 0.0
    assert improvement(expected_score(0.0), score(0.0)) == 0.0


def test_what_costs_less_by_the_hour_comes_before_any_figure() -> None:
    best = score(1.0, per_hour=2.0)
    assert improvement(expected_score(9.0, per_hour=1.0, needed=0.9, least=1.0), best) == CHEAPER_IMPROVEMENT
    assert improvement(expected_score(0.5, per_hour=3.0, needed=0.1, least=3.0), best) == 0.0


def test_what_may_turn_out_to_need_fewer_instances_promises_more_the_closer_it_is() -> None:
    best = score(1.0, per_hour=15.0)
    close, far = (expected_score(9.0, per_hour=per_hour, needed=per_hour - 0.5, least=1.0) for per_hour in (16.0, 30.0))
    assert improvement(close, best) > 0.02
    assert improvement(far, best) < 1e-6


def test_instances_do_not_count_where_their_price_does_not() -> None:
    estimate = expected_score(0.5, needed=3.0, least=3.0)
    assert improvement(estimate, score(1.0)) == pytest.approx(0.5, abs=0.01)


def test_what_has_no_price_promises_nothing_where_the_best_has_one() -> None:
    assert improvement(expected_score(0.1, unpriced=True), score(1.0)) == 0.0
    assert improvement(expected_score(9.0), score(1.0, unpriced=True)) == CHEAPER_IMPROVEMENT
