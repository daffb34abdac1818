"""The drop of a share of right rows keeps to its error rate, which is added up over all outcomes, not simulated."""

from __future__ import annotations

import pytest

from servefit.backends.quality.binomial import upper_bound
from servefit.backends.quality.pairs import least_drop, most_drop, rows_to_keep

SHARES = [(0.003, 0.0), (0.005, 0.001), (0.0095, 0.0), (0.01, 0.01), (0.02, 0.003), (0.05, 0.03)]
"""Rows that are lost, and rows that are won, as shares: true drops from 0 to 2 %."""


def missed(rows: int, lost: float, won: float) -> tuple[float, float]:
    """How often the true drop is above its upper bound, and below its lower one."""
    from scipy.stats import binom

    above = below = 0.0
    for first in range(int(binom.ppf(1 - 1e-7, rows, lost)) + 2):
        for second in range(int(binom.ppf(1 - 1e-7, rows, won)) + 2):
            chance = binom.pmf(first, rows, lost) * binom.pmf(second, rows - first, won / (1 - lost))
            if chance > 1e-9:
                above += chance * (most_drop(first, second, rows) < lost - won)
                below += chance * (least_drop(first, second, rows) > lost - won)
    return above, below


@pytest.mark.parametrize(("lost", "won"), SHARES)
def test_both_bounds_keep_to_an_error_rate_of_five_per_cent(lost: float, won: float) -> None:
    above, below = missed(300, lost, won)
    assert above < 0.056
    assert below < 0.056


def test_rows_that_all_agree_show_what_the_rule_of_three_has_of_them() -> None:
    assert most_drop(0, 0, 300) == pytest.approx(upper_bound(0, 300))
    assert most_drop(2, 0, 300) >= upper_bound(2, 300)


def test_more_rows_that_are_lost_mean_a_larger_drop_and_more_that_are_won_a_smaller_one() -> None:
    assert most_drop(4, 2, 500) < most_drop(6, 2, 500)
    assert most_drop(4, 4, 500) < most_drop(4, 2, 500)
    assert least_drop(4, 2, 500) < (4 - 2) / 500 < most_drop(4, 2, 500)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (2, 1), (10, 12)])
def test_as_many_rows_as_are_said_to_be_needed_are_enough(lost: int, won: int) -> None:
    needed = rows_to_keep(0.005, lost, won, 600)
    assert needed is not None
    assert most_drop(lost * needed / 600, won * needed / 600, needed) <= 0.005


def test_no_number_of_rows_shows_a_drop_to_be_less_than_it_is() -> None:
    assert rows_to_keep(0.005, 5, 1, 600) is None
