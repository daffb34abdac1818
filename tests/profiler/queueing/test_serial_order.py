"""The order in which calls are quick and slow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.profiler.queueing.serial_order import MAX_ORDER, SerialOrder, check_serial_order, ranks_of
from servefit.profiler.queueing.service import BatchTimes, ServiceTimes

SLOW_FOR_A_WHILE = (*[10] * 80, *[95] * 20)
orders = st.lists(st.integers(0, 99), max_size=50).map(tuple)


@given(calls=st.integers(0, 200), known=orders, seed=st.integers(0, 100))
def test_every_rank_comes_once_whatever_is_known(calls: int, known: SerialOrder, seed: int) -> None:
    ranks = np.sort(ranks_of(calls, known, np.random.default_rng(seed)))
    assert ranks.tolist() == pytest.approx([(nth + 0.5) / calls for nth in range(calls)])


@given(known=orders.filter(bool), seed=st.integers(0, 100))
def test_of_two_calls_the_one_that_was_slower_stays_slower(known: SerialOrder, seed: int) -> None:
    random = np.random.default_rng(seed)
    ranks = ranks_of(len(known), known, random)
    begins = int(np.random.default_rng(seed).integers(len(known)))
    turned = np.roll(known, -begins)
    quicker = turned[:, None] < turned[None, :]
    assert (ranks[:, None] < ranks[None, :])[quicker].all()


def test_calls_that_are_slow_one_after_the_other_stay_together_in_a_longer_simulation() -> None:
    ranks = ranks_of(1000, SLOW_FOR_A_WHILE, np.random.default_rng(0))
    slow = ranks > 0.8
    assert slow.sum() == 200
    assert np.count_nonzero(np.diff(slow.astype(int)) == 1) in (9, 10)


def test_one_worker_has_the_order_and_several_have_none() -> None:
    batches = (BatchTimes(requests=1, strata_ns=tuple(float(each) for each in range(1, 101))),)
    service = ServiceTimes(batches=batches, serial_order=SLOW_FOR_A_WHILE)

    def changes(workers: int) -> int:
        drawn = service.draw(1000, most_requests=1, workers=workers, random=np.random.default_rng(0))
        slow = np.array(drawn.shapes[1]) > 80 / 50.5
        return int(np.count_nonzero(np.diff(slow.astype(int)) == 1))

    assert changes(1) <= 10
    assert changes(2) > 100


@pytest.mark.parametrize("known", [(100,), (-1,), (3, 0.5), (0,) * (MAX_ORDER + 1), (True,)])
def test_what_is_no_order_is_refused(known: SerialOrder) -> None:
    with pytest.raises(SpecError, match="serial_order"):
        check_serial_order(known)
    with pytest.raises(SpecError, match="serial_order"):
        ServiceTimes(batches=(BatchTimes(requests=1, strata_ns=(1.0,)),), serial_order=known)
