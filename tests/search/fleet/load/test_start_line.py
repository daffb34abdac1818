"""The common start, in a database whose cable can be cut."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from tests.search.fleet.conftest import Cable, eventually, in_thread, through

from servefit.errors import MeasurementError
from servefit.search.fleet.database import FleetDatabase, fleet_address
from servefit.search.fleet.load.start_line import StartLine, read_clock
from servefit.search.fleet.load.starts import Starts

pytestmark = pytest.mark.integration

BOTH = ("first", "second")

_T = TypeVar("_T")


@dataclass
class Near:
    """A database, near and through a cable."""

    database: FleetDatabase
    far: FleetDatabase
    cable: Cable

    @property
    def starts(self) -> Starts:
        return Starts(self.database)


@pytest.fixture
def near(fleet_url: str, cable: Cable) -> Iterator[Near]:
    near = Near(FleetDatabase(fleet_address(fleet_url)), FleetDatabase(fleet_address(through(cable, fleet_url))), cable)
    yield near
    cable.mend()
    near.database.close()
    near.far.close()


def test_clients_that_are_ready_are_given_the_same_start_once(near: Near) -> None:
    starts = near.starts
    assert starts.ready(BOTH) == frozenset()
    for token in BOTH:
        starts.say_ready(token)
        starts.say_ready(token)  # it was not sure that it had been heard
    assert starts.ready(BOTH) == {"first", "second"}
    assert starts.start_of("first") is None
    start_s = starts.name_start(BOTH, lead_s=2.0)
    assert starts.start_of("first") == starts.start_of("second") == start_s
    assert starts.name_start(BOTH, lead_s=9.0) == start_s
    assert start_s == pytest.approx(time.time() + 2, abs=1)
    starts.forget(BOTH)
    assert starts.ready(BOTH) == frozenset()
    assert starts.start_of("first") is None


def test_the_clock_of_the_database_is_known_within_what_is_said(near: Near) -> None:
    clock = read_clock(near.database)
    # Here both clocks are those of one kernel.
    assert abs(clock.database_s(time.monotonic_ns()) - time.time()) <= clock.within_ns / 1e9 + 0.001
    assert 0 < clock.within_ns < 100_000_000
    assert clock.here_ns(clock.database_s(5_000_000_000)) == pytest.approx(5_000_000_000, abs=1000)


def test_a_slow_cable_makes_the_clock_less_sure_and_not_wrong(near: Near) -> None:
    slow = _Delayed(near.database, 0.01)
    clock = read_clock(slow)
    assert clock.within_ns >= 5_000_000
    assert abs(clock.database_s(time.monotonic_ns()) - time.time()) <= clock.within_ns / 1e9 + 0.001


def test_a_client_begins_when_it_is_told_by_its_own_clock(near: Near) -> None:
    line = StartLine(near.database, "first", within_s=10)
    with in_thread(line.wait) as found:
        eventually(lambda: near.starts.ready(["first"]) == {"first"})
        start_s = near.starts.name_start(["first"], lead_s=2.0)
    (start_ns,) = found
    assert isinstance(start_ns, int)
    assert time.time() + (start_ns - time.monotonic_ns()) / 1e9 == pytest.approx(start_s, abs=0.05)


def test_a_cable_that_is_out_for_a_moment_before_the_start_costs_nothing(near: Near) -> None:
    line = StartLine(near.far, "first", within_s=20)
    with in_thread(line.wait) as found:
        eventually(lambda: near.starts.ready(["first"]) == {"first"})
        near.cable.cut()
        near.starts.name_start(["first"], lead_s=2.0)
        time.sleep(1)
        near.cable.mend()
    assert isinstance(found[0], int)


def test_a_client_that_hears_of_the_start_when_it_is_over_sends_nothing(near: Near) -> None:
    line = StartLine(near.far, "first", within_s=20)
    with in_thread(line.wait) as found:
        eventually(lambda: near.starts.ready(["first"]) == {"first"})
        near.cable.cut()
        near.starts.name_start(["first"], lead_s=0.2)
        time.sleep(0.8)
        near.cable.mend()
    assert isinstance(found[0], MeasurementError)
    assert "heard of the start " in str(found[0])


def test_a_client_that_is_never_told_to_begin_gives_up(near: Near) -> None:
    began_s = time.monotonic()
    with pytest.raises(MeasurementError, match="heard of no start"):
        StartLine(near.database, "first", within_s=0.5).wait()
    assert time.monotonic() - began_s < 5


@dataclass
class _Delayed:
    """A database that is so many seconds away."""

    database: FleetDatabase
    delay_s: float

    def run(self, statements: Callable[[Any], _T]) -> _T:
        return self.database.run(lambda connection: statements(_Slow(connection, self.delay_s)))


@dataclass
class _Slow:
    connection: Any
    delay_s: float

    def execute(self, statement: Any) -> Any:
        time.sleep(self.delay_s)
        return self.connection.execute(statement)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)
