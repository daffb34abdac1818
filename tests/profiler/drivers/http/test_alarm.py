"""A timer of the kernel in an event loop."""

from __future__ import annotations

import asyncio
import time

from servefit.profiler.drivers.http.alarm import Alarm


def rings(*in_us: int, then_wait_s: float = 0.05) -> list[float]:
    """Set an alarm to these many microseconds from now, one after the other at once; when did it ring, in us?"""
    rang: list[float] = []

    async def run() -> None:
        began = time.monotonic_ns()
        alarm = Alarm(asyncio.get_running_loop(), lambda: rang.append((time.monotonic_ns() - began) / 1000))
        for moment in in_us:
            alarm.set(began + 1000 * moment)
        await asyncio.sleep(then_wait_s)
        alarm.close()

    asyncio.run(run())
    return rang


def test_it_rings_once_when_its_moment_has_come() -> None:
    (at_us,) = rings(1500)
    assert at_us >= 1500


def test_a_moment_that_is_past_is_now() -> None:
    assert len(rings(-1_000_000)) == 1


def test_the_last_moment_that_was_set_counts() -> None:
    (at_us,) = rings(1000, 20_000)
    assert at_us >= 20_000
    assert rings(1000, 10_000_000) == []
