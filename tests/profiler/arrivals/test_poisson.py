"""Poisson arrivals."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.profiler.arrivals.poisson import Poisson


def test_gaps_are_exponentially_distributed() -> None:
    gaps = np.diff(Poisson().times_ns(rate_per_s=1000, duration_s=100, seed=1))
    assert gaps.mean() == pytest.approx(1e6, rel=0.02)
    assert gaps.std() == pytest.approx(1e6, rel=0.02)
    assert np.median(gaps) == pytest.approx(np.log(2) * 1e6, rel=0.02)


def test_arrivals_of_a_seed_are_what_they_have_always_been() -> None:
    """What was measured before can be measured again."""
    times_ns = Poisson().times_ns(rate_per_s=100, duration_s=0.05, seed=7)
    assert times_ns.tolist() == [7075292, 17327326, 23012812, 31963911, 34029238]
