"""The kernel's timer in an event loop."""

from __future__ import annotations

import asyncio
import time

import pytest

from servefit.serving.timer import Timer


def expirations(*in_us: int, then_wait_s: float = 0.05) -> list[float]:
    """Set a timer to these many microseconds from now, one after the other at once; when did it expire, in us?"""
    expired: list[float] = []

    async def run() -> None:
        began = time.monotonic_ns()
        timer = Timer(asyncio.get_running_loop(), lambda: expired.append((time.monotonic_ns() - began) / 1000))
        for moment in in_us:
            timer.set(began + 1000 * moment)
        await asyncio.sleep(then_wait_s)
        timer.close()

    asyncio.run(run())
    return expired


def test_a_timer_expires_once_when_its_moment_has_come() -> None:
    (at_us,) = expirations(1500)
    assert at_us >= 1500


@pytest.mark.timed
def test_a_timer_does_not_wait_for_the_next_millisecond() -> None:
    assert min(expirations(300, then_wait_s=0.005)[0] for _ in range(20)) < 900


def test_a_moment_that_is_past_is_now() -> None:
    assert len(expirations(-1_000_000)) == 1


def test_the_last_moment_that_was_set_counts() -> None:
    (at_us,) = expirations(1000, 20_000)
    assert at_us >= 20_000
    assert expirations(1000, 10_000_000) == []


def test_a_timer_that_is_closed_cannot_be_set() -> None:
    async def run() -> None:
        timer = Timer(asyncio.get_running_loop(), lambda: None)
        timer.close()
        with pytest.raises(OSError, match="timerfd_settime"):
            timer.set(time.monotonic_ns())

    asyncio.run(run())
