"""Statistics of samples, and the points that they make of periods."""

from __future__ import annotations

import numpy as np
import pytest

from servefit.aws.services.cloudwatch.periods import Periods, is_period
from servefit.aws.services.cloudwatch.series import SampleSeries
from servefit.aws.services.cloudwatch.statistics import is_extended, points, statistic

HUNDRED = np.arange(1.0, 101.0)


def value(name: str, samples: np.ndarray = HUNDRED) -> float:
    found = statistic(name)
    assert found is not None
    return found.of(samples)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("SampleCount", 100), ("Average", 50.5), ("Sum", 5050), ("Minimum", 1), ("Maximum", 100)],
)
def test_basic_statistics_are_of_all_samples(name: str, expected: float) -> None:
    assert value(name) == expected
    assert not is_extended(name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("p0", 1), ("p1", 1), ("p50", 50), ("p50.5", 51), ("p95", 95), ("p99", 99), ("p99.99", 100), ("p100", 100)],
)
def test_a_percentile_is_a_sample_that_so_many_do_not_exceed(name: str, expected: float) -> None:
    assert value(name) == expected
    assert is_extended(name)


def test_percentiles_are_those_of_numpy_that_are_samples() -> None:
    samples = np.sort(np.random.default_rng(1).exponential(size=997))
    for percent in (0.1, 12.5, 50, 90, 99, 99.9):
        assert value(f"p{percent}", samples) == np.percentile(samples, percent, method="inverted_cdf")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("ts99", 5050 - 100), ("tm90", 45.5), ("tc90", 90), ("wm90", (45.5 * 90 + 90 * 10) / 100), ("ts100", 5050)],
)
def test_trimmed_statistics_leave_the_highest_samples_out(name: str, expected: float) -> None:
    assert value(name) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name",
    ["", "p", "p-1", "p101", "p100.1", "p9999", "P99", "p99%", "p1e1", "pnan", "p٩", "ts0", "ts101", "average", "pr99",
     "TM(10%:90%)", "p 50", "p50 ", "p0.12345678901"],
)  # fmt: skip
def test_other_names_are_of_no_statistic(name: str) -> None:
    assert statistic(name) is None


@pytest.mark.parametrize("seconds", [1, 5, 10, 20, 30, 60, 120, 300, 86_400])
def test_periods_are_those_that_cloudwatch_takes(seconds: int) -> None:
    assert is_period(seconds)
    assert not is_period(seconds + 1 if seconds > 1 else 2)
    assert not is_period(-seconds)


def test_points_are_at_whole_periods_from_the_one_on_that_the_start_is_in() -> None:
    series = SampleSeries(
        np.array([100.0, 119.9, 120.0, 179.9, 180.0, 300.0]), np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    )
    total = statistic("Sum")
    assert total is not None
    periods = Periods(period_s=60, begin_s=110.0, end_s=181.0)
    assert [*points(series, periods, [total])] == [(60, [3.0]), (120, [12.0]), (180, [16.0])]
    assert [*points(series, Periods(period_s=60, begin_s=110.0, end_s=180.0), [total])] == [(60, [3.0]), (120, [12.0])]


def test_a_long_period_ends_with_the_minute_that_the_end_is_in() -> None:
    series = SampleSeries(np.array([10.0, 95.0, 130.0]), np.ones(3))
    count = statistic("SampleCount")
    assert count is not None
    assert [*points(series, Periods(period_s=3600, begin_s=0.0, end_s=91.0), [count])] == [(0, [2.0])]


def test_no_samples_make_no_points() -> None:
    count = statistic("SampleCount")
    assert count is not None
    assert not [*points(SampleSeries.joined([]), Periods(period_s=1, begin_s=0.0, end_s=9.0), [count])]


def test_series_of_several_sources_are_one_in_the_order_of_time() -> None:
    first, second = (
        SampleSeries(np.array([1.0, 4.0]), np.array([10, 40])),
        SampleSeries(np.array([2.0]), np.array([20])),
    )
    joined = SampleSeries.joined([first, second])
    assert (joined.at_s.tolist(), joined.values.tolist()) == ([1.0, 2.0, 4.0], [10, 20, 40])
    assert joined.between(2.0, 4.0).values.tolist() == [20]
