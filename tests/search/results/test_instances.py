"""The number of instances that share a rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.search.results.instances import instance_counts, instances_for, per_minute


@pytest.mark.parametrize(("rate", "instances"), [(0.0, 1), (1.0, 1), (80.0, 1), (80.1, 2), (800.0, 10)])
def test_no_instance_is_planned_above_four_fifths_of_its_capacity(rate: float, instances: int) -> None:
    assert instances_for(rate, 100.0) == instances


@given(st.floats(1e-3, 1e9), st.floats(1e-3, 1e9))
def test_more_and_more_instances_are_tried_down_to_a_fifth_of_their_capacity(rate: float, capacity: float) -> None:
    counts = instance_counts(rate, capacity)
    assert counts == sorted(set(counts))
    assert counts[0] == instances_for(rate, capacity)
    assert rate / counts[-1] <= 0.2 * capacity * (1 + 1e-9)


def test_four_numbers_of_instances_are_tried_at_most_and_none_of_them_twice() -> None:
    assert instance_counts(800.0, 100.0) == [10, 14, 20, 40]
    assert instance_counts(30.0, 100.0) == [1, 2]


def test_at_full_load_instances_answer_all_of_their_capacity_each_minute() -> None:
    assert (per_minute(50.0), per_minute(50.0, 3)) == (3000.0, 9000.0)
