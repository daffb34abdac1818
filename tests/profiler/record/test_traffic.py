"""Arrivals and users."""

from __future__ import annotations

import math

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.record.traffic import ClosedLoop, OpenLoop, Plateau, TrafficPhase


def test_users_of_a_phase_join_at_its_beginning_and_then_at_the_spawn_rate() -> None:
    loop = ClosedLoop(
        phases=(
            TrafficPhase(initial_users=2, spawn_per_minute=60, duration_s=3),
            TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=5),
        )
    )
    assert loop.joins_s() == (0, 0, 1, 2, 3, 3)
    assert loop.users == 6
    assert loop.duration_s == 8


def test_poisson_arrivals_have_the_rate_and_the_spread_of_their_kind() -> None:
    arrivals = OpenLoop(rate_per_s=1000, duration_s=100, seed=1).arrivals_ns()
    gaps = np.diff(arrivals)
    assert len(arrivals) == pytest.approx(100_000, rel=0.02)
    assert gaps.mean() == pytest.approx(1e6, rel=0.02)
    assert gaps.std() == pytest.approx(1e6, rel=0.02)
    assert arrivals[-1] < 100e9


def test_the_same_seed_gives_the_same_arrivals_and_another_seed_others() -> None:
    first, again, reseeded = (OpenLoop(rate_per_s=50, duration_s=2, seed=seed).arrivals_ns() for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, reseeded)


def test_constant_arrivals_are_evenly_spaced() -> None:
    arrivals = OpenLoop(rate_per_s=4, duration_s=1, arrivals="constant").arrivals_ns()
    assert arrivals.tolist() == [0, 250_000_000, 500_000_000, 750_000_000]


@pytest.mark.parametrize("rate", [0, -5, math.nan, math.inf, 1e12])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(SpecError, match=r"^rate: "):
        OpenLoop(rate_per_s=rate, duration_s=1)


@pytest.mark.parametrize("duration", [0, -1, 1e-10, math.nan, math.inf])
def test_an_impossible_duration_is_refused(duration: float) -> None:
    with pytest.raises(SpecError, match=r"^duration: "):
        OpenLoop(rate_per_s=1, duration_s=duration)
    with pytest.raises(SpecError, match=r"^duration: "):
        ClosedLoop.constant(users=1, duration_s=duration)


def test_users_who_spawn_until_the_very_end_leave_nothing_to_measure() -> None:
    with pytest.raises(SpecError, match="after the last user has joined; lengthen the last phase"):
        ClosedLoop(phases=(TrafficPhase(initial_users=1, spawn_per_minute=60_000, duration_s=0.5),))


@pytest.mark.parametrize("users", [0, -1, 10**9, True])
def test_an_impossible_number_of_users_is_refused(users: int) -> None:
    with pytest.raises(SpecError, match=r"^users: "):
        ClosedLoop.constant(users=users, duration_s=1)


@pytest.mark.parametrize("spawn", [-1, math.nan, math.inf])
def test_an_impossible_spawn_rate_is_refused(spawn: float) -> None:
    with pytest.raises(SpecError, match=r"^spawn: "):
        TrafficPhase(initial_users=1, spawn_per_minute=spawn, duration_s=1)


def test_stairs_add_the_same_number_of_users_at_every_step() -> None:
    stairs = ClosedLoop.stairs(steps=3, users_per_step=2, step_duration_s=30)
    assert stairs.joins_s() == (0, 0, 30, 30, 60, 60)
    assert stairs.duration_s == 90
    assert stairs.plateaus() == (
        Plateau(users=2, begin_s=0, end_s=30),
        Plateau(users=4, begin_s=30, end_s=60),
        Plateau(users=6, begin_s=60, end_s=90),
    )


def test_a_ramp_has_one_plateau_after_it() -> None:
    ramp = ClosedLoop(phases=(TrafficPhase(initial_users=1, spawn_per_minute=600, duration_s=0.45),))
    (plateau,) = ramp.plateaus()
    assert (plateau.users, plateau.end_s) == (5, 0.45)
    assert plateau.begin_s == pytest.approx(0.4)


def test_a_loop_that_is_stopped_has_the_plateaus_that_lasted_a_second_by_then() -> None:
    stairs = ClosedLoop.stairs(steps=3, users_per_step=2, step_duration_s=30)
    assert stairs.plateaus(until_s=45) == (
        Plateau(users=2, begin_s=0, end_s=30),
        Plateau(users=4, begin_s=30, end_s=45),
    )
    assert stairs.plateaus(until_s=30.9) == (Plateau(users=2, begin_s=0, end_s=30),)
    assert stairs.plateaus(until_s=0.5) == ()
    assert stairs.plateaus(until_s=1000) == stairs.plateaus()
    tenths = ClosedLoop(phases=(TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=0.1),) * 2)
    assert len(tenths.plateaus()) == 1


@pytest.mark.parametrize(
    ("steps", "users", "field"), [(0, 1, "steps"), (-2, 1, "steps"), (2, 0, "users"), (10**6, 1, "users")]
)
def test_impossible_stairs_are_refused(steps: int, users: int, field: str) -> None:
    with pytest.raises(SpecError, match=rf"^{field}: "):
        ClosedLoop.stairs(steps=steps, users_per_step=users, step_duration_s=1)


def test_a_backlog_cap_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match=r"^backlog: "):
        OpenLoop(rate_per_s=1, duration_s=1, backlog_cap=0)
