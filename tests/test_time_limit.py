"""Time limits of blocks, and of the work inside them."""

from __future__ import annotations

import pickle
import threading
import time
from contextvars import copy_context
from math import inf
from pathlib import Path

import pytest

from servefit.errors import TimedOut
from servefit.isolation import call_isolated
from servefit.time_limit import Budget, allowed_s, reserving, time_left_s, time_limit, timed_out


def test_without_a_limit_a_timeout_is_what_it_is() -> None:
    assert time_left_s() == inf
    assert allowed_s(60) == 60


def test_of_limits_within_each_other_all_hold() -> None:
    with time_limit(lambda: 10):
        with time_limit(lambda: 20):
            assert allowed_s(60) == 10
        with time_limit(lambda: 5):
            assert allowed_s(60) == 5
            assert allowed_s(3) == 3
        assert allowed_s(60) == 10
    assert allowed_s(60) == 60


def test_what_is_kept_for_later_is_not_there() -> None:
    with time_limit(lambda: 10), reserving(4):
        assert time_left_s() == 6
    with time_limit(lambda: 2), reserving(4):
        assert time_left_s() == -2
        assert allowed_s(60) == 0
    with reserving(4):
        assert time_left_s() == inf


def test_a_limit_is_asked_when_it_counts() -> None:
    left = iter([3.0, 2.0])
    with time_limit(lambda: next(left)):
        assert (time_left_s(), time_left_s()) == (3, 2)


def test_a_limit_ends_with_its_block_whatever_happens_there() -> None:
    with pytest.raises(ZeroDivisionError), time_limit(lambda: 1):
        raise ZeroDivisionError
    assert time_left_s() == inf


def test_a_thread_has_the_limit_in_a_copy_of_the_context() -> None:
    seen: list[float] = []

    def look() -> None:
        seen.append(time_left_s())

    with time_limit(lambda: 7):
        for thread in (threading.Thread(target=look), threading.Thread(target=copy_context().run, args=(look,))):
            thread.start()
            thread.join()
    assert seen == [inf, 7]


@pytest.mark.integration
def test_a_call_in_a_child_process_ends_with_the_limit_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    begin = time.monotonic()
    with time_limit(lambda: begin + 0.5 - time.monotonic()), pytest.raises(TimedOut) as caught:
        call_isolated("isolated_calls:sleep", 60, timeout_s=60)
    assert time.monotonic() - begin < 5
    assert caught.value.limit_s <= 0.5


@pytest.mark.integration
def test_what_a_budget_cuts_short_is_told_as_that_and_which_budget_would_do() -> None:
    with time_limit(lambda: 0.0, Budget(limit_s=42.0, given=False)), pytest.raises(TimedOut) as caught:
        call_isolated("time:sleep", 60, timeout_s=60)
    told = "sleep did not finish before the default budget of 42 s ran out"
    assert (caught.value.message, caught.value.remedy) == (told, "use --budget 84s or more")
    assert str(pickle.loads(pickle.dumps(caught.value.called("reading it")))).startswith(
        "reading it did not finish before"
    )


def test_what_takes_longer_than_its_own_time_is_not_put_down_to_the_budget() -> None:
    with time_limit(lambda: 60.0, Budget(limit_s=60.0, given=True)):
        assert timed_out("this", limit_s=1.0, timeout_s=1.0).budget is None
        with time_limit(lambda: 2.0):  # its share
            assert timed_out("this", limit_s=2.0, timeout_s=30.0).budget is None
        with reserving(100.0):
            assert timed_out("this", limit_s=0.0, timeout_s=30.0).budget == "budget of 60 s"


def test_a_budget_that_would_do_is_longer_by_what_was_lacking() -> None:
    assert Budget(limit_s=42.0, given=False).ran_out(5.2) == "the default budget of 42 s ran out (--budget 48s)"
    assert Budget(limit_s=42.0, given=True).ran_out() == "the budget of 42 s ran out (--budget 84s)"
