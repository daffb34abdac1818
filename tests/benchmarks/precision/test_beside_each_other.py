"""What is said of artifacts beside each other: which is faster, and which keeps a limit."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from benchmarks.precision.beside_each_other import dropped, over


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ((1.0, 1.01, 0.99), "yes"),
        ((2.0, 2.1, 1.9), "yes"),
        ((0.8, 0.81, 0.79), "no"),
        ((0.8, 1.2, 1.0), "too noisy to tell"),
    ],
)
def test_the_first_is_as_fast_if_the_interval_says_so(ratios: tuple[float, ...], said: str) -> None:
    assert over([log(ratio) for ratio in ratios], "servefit")["servefit is as fast"] == said


@pytest.mark.parametrize(
    ("lost", "won", "said"), [(0, 0, "kept"), (20, 5, "kept"), (300, 50, "broken"), (130, 30, "too close to tell")]
)
def test_a_limit_is_kept_or_broken_where_the_rows_show_it(lost: int, won: int, said: str) -> None:
    before, after = np.ones(20_000, dtype=bool), np.ones(20_000, dtype=bool)
    after[:lost] = False
    before[lost : lost + won] = False
    found = dropped(before, after, limit=0.005)
    assert found["drop"] == pytest.approx((lost - won) / 20_000)
    assert found["limit"] == said
