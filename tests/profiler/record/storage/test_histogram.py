"""Histograms, checked against HdrHistogram's Python port."""

from __future__ import annotations

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import example, given, settings
from hypothesis import strategies as st

from servefit.profiler.record.storage.histogram import Histogram

HOUR_NS = 3_600_000_000_000


def recorded(values: list[int]) -> HdrHistogram:
    histogram = HdrHistogram(1, HOUR_NS, 3)
    for value in values:
        assert histogram.record_value(value)
    return histogram


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.integers(0, 5000) | st.integers(0, HOUR_NS), max_size=30))
@example(values=[HOUR_NS, HOUR_NS - 1])
def test_the_encoding_is_what_the_port_decodes(values: list[int]) -> None:
    histogram = Histogram.of(np.array(values, dtype=np.int64))
    decoded = HdrHistogram.decode(histogram.encoded())
    expected = recorded(values)
    assert decoded.highest_trackable_value == HOUR_NS
    assert np.array_equal(np.frombuffer(decoded.counts, np.int64), np.frombuffer(expected.counts, np.int64))
    assert decoded.get_total_count() == histogram.total == len(values)
    assert histogram.maximum == expected.get_max_value()
    assert histogram.buckets == expected.bucket_count


def test_mean_and_deviation_are_those_of_the_port() -> None:
    values = [0, 1, 2047, 2048, 70_000, 70_001, 5_000_000, HOUR_NS]
    expected = recorded(values)
    histogram = Histogram.of(np.array(values))
    assert histogram.mean_and_deviation() == pytest.approx((expected.get_mean_value(), expected.get_stddev()))


@pytest.mark.parametrize("count", [1, 63, 64, 8191, 8192, 1_000_000])
@pytest.mark.parametrize("zeros", [0, 1, 2, 63, 64, 65, 2000])
def test_counts_and_gaps_of_any_size_are_encoded(count: int, zeros: int) -> None:
    counts = np.array([count, *[0] * zeros, count])
    decoded = HdrHistogram.decode(Histogram(counts=counts).encoded())
    assert [decoded.get_count_at_index(index) for index in range(len(counts))] == counts.tolist()
    assert decoded.get_total_count() == 2 * count


@given(value=st.integers(0, 2**63 - 1))
def test_a_bucket_holds_its_value_and_is_narrow(value: int) -> None:
    histogram = Histogram.of(np.array([value]))
    assert value <= histogram.maximum <= value + value // 1000


def test_a_value_beyond_an_hour_widens_the_range() -> None:
    histogram = Histogram.of(np.array([5 * HOUR_NS]))
    decoded = HdrHistogram.decode(histogram.encoded())
    assert decoded.highest_trackable_value <= 5 * HOUR_NS <= histogram.maximum == decoded.get_max_value()


def test_values_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="below zero"):
        Histogram.of(np.array([5, -1]))


def test_percentiles_take_steps_that_halve() -> None:
    steps = list(Histogram.of(np.arange(1, 1001)).percentiles())
    shares = [share for share, _, _ in steps]
    assert shares[:11] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75])
    assert shares[11:16] == pytest.approx([0.775, 0.8, 0.825, 0.85, 0.875])
    assert steps[0] == (0, 1, 1)
    assert steps[-1] == (1, 1000, 1000)
    for share, value, count in steps:
        assert count == value >= share * 1000, "of the values 1 to 1000, so many are not above"


def test_a_histogram_of_nothing_has_no_percentiles() -> None:
    histogram = Histogram.of(np.array([], dtype=np.int64))
    assert list(histogram.percentiles()) == []
    assert (histogram.total, histogram.maximum, histogram.mean_and_deviation()) == (0, 0, (0, 0))
