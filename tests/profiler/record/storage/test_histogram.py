"""Histograms, checked against HdrHistogram's Python port."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.example_counts import examples

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


@settings(max_examples=examples(25, drawn=60), deadline=None)
@given(values=st.lists(st.integers(0, 5000) | st.integers(0, 2**63 - 1), max_size=50))
def test_what_is_encoded_is_decoded_again(values: list[int]) -> None:
    histogram = Histogram.of(np.array(values, dtype=np.int64))
    decoded = Histogram.decoded(histogram.encoded())
    assert np.array_equal(decoded.counts, histogram.counts)
    assert decoded.total == len(values)


@settings(max_examples=30, deadline=None)
@given(values=st.lists(st.integers(0, HOUR_NS), max_size=30))
def test_what_the_port_encodes_is_decoded(values: list[int]) -> None:
    decoded = Histogram.decoded(recorded(values).encode().decode())
    assert np.array_equal(decoded.counts, Histogram.of(np.array(values, dtype=np.int64)).counts)


@given(parts=st.lists(st.lists(st.integers(0, HOUR_NS), max_size=20), max_size=4))
def test_merged_histograms_are_that_of_all_values(parts: list[list[int]]) -> None:
    merged = Histogram.merged(Histogram.of(np.array(part, dtype=np.int64)) for part in parts)
    pooled = np.array([value for part in parts for value in part], dtype=np.int64)
    assert np.array_equal(merged.counts, Histogram.of(pooled).counts)


@given(values=st.lists(st.integers(0, 2**62), min_size=1, max_size=40), data=st.data())
def test_the_nth_value_is_right_within_the_width_of_a_bucket(values: list[int], data: st.DataObject) -> None:
    nth = data.draw(st.integers(1, len(values)))
    value = sorted(values)[nth - 1]
    assert value <= Histogram.of(np.array(values)).nth_value(nth) <= value + value // 1000


@pytest.mark.parametrize("nth", [0, 4])
def test_there_is_no_value_beyond_the_first_and_the_last(nth: int) -> None:
    with pytest.raises(ValueError, match="there is no value"):
        Histogram.of(np.array([1, 2, 3])).nth_value(nth)


@given(content=st.binary(max_size=200))
def test_any_other_text_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
        Histogram.decoded(base64.b64encode(content).decode())


@given(content=st.binary(max_size=60), cut=st.integers(0, 20))
def test_a_damaged_histogram_is_refused_or_read_as_another_and_never_huge(content: bytes, cut: int) -> None:
    header = struct.pack(">iiiiqqd", 0x1C849313, len(content) + cut, 0, 3, 1, HOUR_NS, 1.0)
    packed = zlib.compress(header + content)
    text = base64.b64encode(struct.pack(">ii", 0x1C849314, len(packed)) + packed).decode()
    try:
        decoded = Histogram.decoded(text)
    except ValueError:
        return
    assert cut == 0
    assert len(decoded.counts) <= 55_296


def test_a_text_that_inflates_without_end_is_refused() -> None:
    packed = zlib.compress(struct.pack(">iiiiqqd", 0x1C849313, 2**30, 0, 3, 1, HOUR_NS, 1.0) + bytes(2**26))
    text = base64.b64encode(struct.pack(">ii", 0x1C849314, len(packed)) + packed).decode()
    with pytest.raises(ValueError, match="no whole histogram"):
        Histogram.decoded(text)


def test_a_histogram_of_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="3 digits"):
        Histogram.decoded(HdrHistogram(1, HOUR_NS, 2).encode().decode())
