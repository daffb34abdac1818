"""Exact bounds of shares: compared with SciPy's, and with what they promise."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servefit.backends.quality.binomial import lower_bound, rows_to_show, upper_bound


@settings(deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.sampled_from([0.05, 0.025, 0.001]))
def test_bounds_are_those_of_clopper_and_pearson(rows: int, part: float, error_rate: float) -> None:
    from scipy.stats import beta

    count = round(part * rows)
    upper = 1.0 if count == rows else beta.ppf(1 - error_rate, count + 1, rows - count)
    lower = 0.0 if count == 0 else beta.ppf(error_rate, count, rows - count + 1)
    assert upper_bound(count, rows, error_rate) == pytest.approx(upper, rel=1e-9, abs=1e-12)
    assert lower_bound(count, rows, error_rate) == pytest.approx(lower, rel=1e-9, abs=1e-12)


def test_300_rows_that_all_agree_show_a_disagreement_below_one_per_cent_and_no_less() -> None:
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert 0.0099 < upper_bound(0, 300) < 3 / 300


def test_the_rows_that_would_show_a_share_show_it_and_not_many_fewer() -> None:
    assert rows_to_show(0.999, 1.0) == pytest.approx(log(0.05) / log(0.999), abs=1)
    for least, share in ((0.99, 0.995), (0.9, 0.93), (0.999, 0.9995)):
        rows = rows_to_show(least, share)
        assert rows is not None
        assert lower_bound(int(share * rows), rows) >= least
        assert lower_bound(int(share * rows * 0.7), int(rows * 0.7)) < least


def test_no_number_of_rows_shows_a_share_that_is_not_there() -> None:
    assert rows_to_show(0.99, 0.99) is None
    assert rows_to_show(0.99, 0.5) is None
