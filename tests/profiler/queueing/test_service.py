"""Service times: how they are kept, and how they are estimated where nothing was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from servefit.errors import SpecError
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes
from servefit.profiler.record.storage.documents import from_document, to_document

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = hnp.arrays(np.float64, st.integers(1, 400), elements=st.floats(1.0, 1e9))


def at(requests: int, *strata_ns: float) -> BatchTimes:
    return BatchTimes(requests=requests, strata_ns=strata_ns)


@given(TIMES)
def test_strata_keep_the_mean_and_stay_within_the_times(times_ns: np.ndarray) -> None:
    kept = BatchTimes.of(1, times_ns)
    assert kept.mean_ns == pytest.approx(times_ns.mean(), rel=1e-9)
    assert len(kept.strata_ns) == min(len(times_ns), 100)
    assert list(kept.strata_ns) == sorted(kept.strata_ns)
    assert kept.strata_ns[0] >= times_ns.min() * (1 - 1e-6) - 1e-3
    assert kept.strata_ns[-1] <= times_ns.max() * (1 + 1e-6)


def test_strata_are_means_of_equal_shares_even_where_a_time_lies_on_two_of_them() -> None:
    kept = BatchTimes.of(1, np.arange(150.0, 0, -1))
    assert kept.strata_ns[:2] == pytest.approx([(1 + 2 / 2) / 1.5, (2 / 2 + 3) / 1.5])
    assert kept.strata_ns[-1] == pytest.approx((149 / 2 + 150) / 1.5)


def test_a_short_sample_is_kept_as_it_is() -> None:
    assert BatchTimes.of(4, np.array([30, 10, 20])) == at(4, 10.0, 20.0, 30.0)


@pytest.mark.parametrize(
    ("requests", "mean_ns"),
    [(2, 100), (3, 150), (4, 200), (5, 210), (8, 240), (16, 320), (1, 50)],
    ids=["first", "between", "second", "in the last segment", "last", "beyond", "below"],
)
def test_means_follow_the_lines_between_measured_sizes(requests: int, mean_ns: float) -> None:
    service = ServiceTimes(batches=(at(2, 50, 150), at(4, 200), at(8, 240)))
    assert service.mean_ns(requests) == pytest.approx(mean_ns)


def test_a_mean_below_the_first_size_stays_between_its_proportional_part_and_the_first_mean() -> None:
    steep = ServiceTimes(batches=(at(4, 100), at(8, 900)))
    falling = ServiceTimes(batches=(at(4, 100), at(8, 60)))
    assert steep.mean_ns(1) == 25
    assert falling.mean_ns(1) == 100


def test_a_mean_beyond_the_last_size_is_never_below_the_last_one() -> None:
    assert ServiceTimes(batches=(at(1, 100), at(2, 80))).mean_ns(9) == 80


def test_a_single_size_is_scaled_in_proportion() -> None:
    service = ServiceTimes(batches=(at(4, 100, 300),))
    assert [service.mean_ns(requests) for requests in (1, 4, 6)] == [50, 200, 300]


def test_the_shape_is_that_of_the_nearest_measured_size() -> None:
    service = ServiceTimes(batches=(at(1, 100), at(8, 100, 300)))
    assert service.strata_ns(4).tolist() == pytest.approx([service.mean_ns(4)])
    assert service.strata_ns(5).tolist() == pytest.approx([service.mean_ns(5) / 2, service.mean_ns(5) * 3 / 2])


def test_contention_grows_with_the_number_of_busy_workers() -> None:
    service = ServiceTimes(batches=(at(1, 100),), workers=5, contention=2.0)
    assert [service.mean_ns(1, busy) for busy in (1, 2, 5, 9)] == [100, 125, 200, 300]


def test_workers_that_quicken_each_other_do_so_no_more_than_was_measured() -> None:
    service = ServiceTimes(batches=(at(1, 100),), workers=2, contention=0.5)
    assert [service.mean_ns(1, busy) for busy in (1, 2, 3, 100)] == [100, 50, 50, 50]


def test_where_one_worker_was_measured_others_do_not_disturb_it() -> None:
    assert ServiceTimes(batches=(at(1, 100),)).mean_ns(1, 8) == 100


@given(TIMES, st.integers(1, 4))
def test_drawn_times_have_the_mean_of_the_strata(times_ns: np.ndarray, rounds: int) -> None:
    batch = BatchTimes.of(2, times_ns)
    calls = rounds * len(batch.strata_ns)
    service = ServiceTimes(batches=(batch,), workers=2, contention=1.5)
    drawn = service.draw(calls, most_requests=3, workers=2, random=np.random.default_rng(0))
    assert len(drawn.shapes[3]) == calls
    times = np.array(drawn.shapes[3]) * drawn.means_ns[3] * drawn.slowdowns[2]
    assert times.mean() == pytest.approx(service.mean_ns(3, busy=2), rel=1e-9)
    assert np.sort(times) == pytest.approx(np.repeat(service.strata_ns(3, busy=2), rounds))


def test_service_times_are_stored_as_documents() -> None:
    service = ServiceTimes(batches=(at(1, 100), at(8, 100, 300.5)), workers=2, contention=1.25)
    assert from_document(to_document(service, ServiceTimes, []), ServiceTimes, []) == service


@pytest.mark.parametrize(
    "make",
    [
        lambda: at(0, 1.0),
        lambda: at(1),
        lambda: at(1, 0.0),
        lambda: at(1, -1.0),
        lambda: at(1, float("nan")),
        lambda: at(1, float("inf")),
        lambda: at(1, 2.0, 1.0),
        lambda: at(1, *[1.0] * 101),
        lambda: BatchTimes.of(1, np.array([])),
        lambda: ServiceTimes(batches=()),
        lambda: ServiceTimes(batches=(at(2, 1.0), at(1, 1.0))),
        lambda: ServiceTimes(batches=(at(1, 1.0), at(1, 1.0))),
        lambda: ServiceTimes(batches=(at(1, 1.0),), workers=0),
        lambda: ServiceTimes(batches=(at(1, 1.0),), workers=2, contention=0.0),
        lambda: ServiceTimes(batches=(at(1, 1.0),), workers=2, contention=float("nan")),
        lambda: ServiceTimes(batches=(at(1, 1.0),), contention=1.2),
        lambda: ServiceTimes(batches=(at(1, 1.0),)).mean_ns(0),
        lambda: ServiceTimes(batches=(at(1, 1.0),)).mean_ns(1, 0),
    ],
)
def test_what_no_measurement_could_have_given_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(SpecError):
        make()
