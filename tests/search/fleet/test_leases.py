"""How long an agent may be silent, and what its host does unless it is told."""

from __future__ import annotations

from typing import Any

import pytest

from servefit.errors import SpecError
from servefit.search.fleet.host import USUAL, FleetHost, Leases


def test_an_agent_with_a_long_order_may_be_silent_for_twice_as_long_as_that_is_expected_to_take() -> None:
    leases = Leases(silent_s=60.0, lost_s=120.0)
    assert [leases.lost_after_s(expected_s) for expected_s in (0.0, 60.0, 61.0, 300.0)] == [120.0, 120.0, 122.0, 600.0]


def test_six_signs_of_life_have_to_fail_before_an_agent_is_silent_and_one_is_late_after_half_a_turn_more() -> None:
    leases = Leases(silent_s=30.0, lost_s=40.0)
    assert (leases.renew_s, leases.late_s) == (5.0, 7.5)


def test_a_fleet_that_says_nothing_waits_a_minute_and_gives_up_after_two() -> None:
    assert (USUAL.silent_s, USUAL.lost_s) == (60.0, 120.0)


@pytest.mark.parametrize(
    ("silent_s", "lost_s", "field"),
    [(0.0, 60.0, "silent_after"), (-1.0, -1.0, "silent_after"), (9.0, 8.9, "lost_after")],
)
def test_an_agent_is_not_lost_before_it_is_silent(silent_s: float, lost_s: float, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        Leases(silent_s=silent_s, lost_s=lost_s)
    assert caught.value.field == field


def test_an_agent_may_be_lost_as_soon_as_it_is_silent() -> None:
    assert Leases(silent_s=9.0, lost_s=9.0).lost_after_s(1.0) == 9.0


def test_a_host_runs_neither_pickles_nor_scripts_unless_it_is_told_to() -> None:
    nothing: Any = None
    host = FleetHost(name="one", host=nothing, facts=nothing, servefit="1", schema=1)
    assert (host.trust_pickle, host.trust_code, host.allows) == (False, False, ())
    with pytest.raises(AttributeError):
        host.trust_code = True  # type: ignore[misc]
