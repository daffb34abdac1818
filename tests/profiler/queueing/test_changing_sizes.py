"""What calls take longer among calls of other sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.queueing.changing_sizes import times_as_long
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes

BATCHES = tuple(BatchTimes(requests=size, strata_ns=(1000.0 * size, 2000.0 * size)) for size in (1, 2, 8))


@pytest.mark.parametrize(("requests", "times"), [(1, 1.0), (2, 1.2), (4, 1.4), (8, 1.6), (128, 1.6)])
def test_sizes_in_between_lie_on_a_line_and_those_beyond_are_like_the_nearest(requests: int, times: float) -> None:
    assert times_as_long(requests, ((2, 1.2), (8, 1.6))) == pytest.approx(times)
    assert times_as_long(requests, ()) == 1.0


def test_calls_that_join_requests_are_stretched_where_sizes_change_and_nothing_else_is() -> None:
    service = ServiceTimes(batches=BATCHES, changing_sizes=((2, 1.5), (8, 2.0)))
    changed = service.among_changing_sizes()
    assert [changed.mean_ns(size) / service.mean_ns(size) for size in (1, 2, 8)] == pytest.approx([1.0, 1.5, 2.0])
    assert changed.among_changing_sizes() == changed
    assert ServiceTimes(batches=BATCHES).among_changing_sizes() == ServiceTimes(batches=BATCHES)


@pytest.mark.parametrize("known", [((1, 1.2),), ((2, 0.0),), ((8, 1.2), (2, 1.1)), ((2, 1.0), (2, 1.1))])
def test_what_cannot_be_is_refused(known: tuple[tuple[int, float], ...]) -> None:
    with pytest.raises(SpecError, match="changing_sizes"):
        ServiceTimes(batches=BATCHES, changing_sizes=known)


@given(
    st.dictionaries(st.integers(2, 512), st.floats(0.5, 4.0), min_size=1, max_size=8),
    st.integers(min_value=2, max_value=600),
)
def test_whatever_is_known_a_size_takes_no_more_than_the_most_and_no_less_than_the_least(
    known: dict[int, float], requests: int
) -> None:
    times = times_as_long(requests, tuple(sorted(known.items())))
    assert min(known.values()) * (1 - 1e-9) <= times <= max(known.values()) * (1 + 1e-9)
