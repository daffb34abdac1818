"""Time slices of senders that take turns on a real event loop and a simulated clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import uvloop

from servefit.serving.time_slices import TimeSlices

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

STEP_NS = 4_000_000
STEPS = 6


@dataclass
class Clock:
    now_ns: int = 10**12


class Sender:
    """Has sent what takes several steps, and goes on while its turn is not over, as a connection does."""

    def __init__(self, name: str, slices: TimeSlices, clock: Clock, done: list[str]) -> None:
        self._name = name
        self._slices = slices
        self._clock = clock
        self._done = done
        self._left = STEPS

    def send(self) -> None:
        while self._left and not self._slices.is_over():
            self._step()
        if self._left:
            self._slices.postpone(self._go_on)

    def _go_on(self) -> None:
        self._step()
        if self._left:
            self._slices.postpone(self._go_on)

    def _step(self) -> None:
        self._clock.now_ns += STEP_NS
        self._left -= 1
        self._done.append(self._name)


@pytest.fixture
def loop() -> Iterator[uvloop.Loop]:
    created = uvloop.new_event_loop()
    yield created
    created.close()


def test_the_loop_turns_between_and_senders_take_turns(loop: uvloop.Loop) -> None:
    done: list[str] = []
    clock = Clock()
    slices = TimeSlices(loop, now_ns=lambda: clock.now_ns)

    def look() -> None:
        """Somebody who sends little, and asks again and again."""
        done.append("probe")
        if done.count("a") + done.count("b") < 2 * STEPS:
            loop.call_soon(look)
        else:
            loop.stop()

    loop.call_soon(Sender("a", slices, clock, done).send)
    loop.call_soon(Sender("b", slices, clock, done).send)
    loop.call_soon(look)
    loop.run_forever()
    assert (done.count("a"), done.count("b")) == (STEPS, STEPS)
    # The first turn is that of who came first; after that they alternate for as long as both have something left.
    served = "".join(name for name in done if name != "probe").lstrip("a").rpartition("a")[0]
    assert served
    assert "aa" not in served
    assert "bb" not in served
    # A turn is ten milliseconds, and what began in it.
    longest = max(len(steps) for steps in "".join("." if name == "probe" else "x" for name in done).split("."))
    assert longest == 3


def test_a_turn_that_nobody_asked_about_costs_nothing(loop: uvloop.Loop) -> None:
    clock = Clock()
    slices = TimeSlices(loop, now_ns=lambda: clock.now_ns)
    assert not slices.is_over()
    clock.now_ns += 10_000_001
    assert slices.is_over()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert not slices.is_over()
