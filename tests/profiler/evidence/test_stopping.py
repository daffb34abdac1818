"""The conditions that end closed loops early, on made-up counts."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from servefit.errors import SpecError
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.evidence.stopping import StoppingCondition, StoppingConditions, StoppingRule
from servefit.profiler.record.traffic import ClosedLoop, TrafficPhase

if TYPE_CHECKING:
    from collections.abc import Callable

P95 = (LatencyThreshold(percentile="p95", limit_ms=10),)
LOOKS_PER_S = 10

Stop = tuple[StoppingCondition, float]


def stairs(steps: int = 12, seconds: float = 1.0) -> ClosedLoop:
    return ClosedLoop.stairs(steps=steps, users_per_step=1, step_duration_s=seconds)


def watch(
    loop: ClosedLoop,
    per_s: Callable[[int], float],
    conditions: StoppingConditions,
    *,
    slow_share: Callable[[float], float] = lambda _: 0.0,
    noise: float = 0.01,
    seed: int = 0,
) -> Stop | None:
    """Look ten times a second at a run in which ``users`` get ``per_s(users)`` answers a second, give or take ``noise``
    on every level and in every look. Gives the condition and when it was reached."""
    random = np.random.default_rng(seed)
    rule = StoppingRule(conditions, loop.plateaus())
    joins = loop.joins_s()
    of_level = 1 + noise * random.normal(size=loop.users + 1)
    answered, slow = 0.0, [0] * len(conditions.thresholds)
    for look in count(1):
        elapsed_s = look / LOOKS_PER_S
        if elapsed_s > loop.duration_s:
            return None
        users = sum(join < elapsed_s - 1e-9 for join in joins)
        answers = round(per_s(users) / LOOKS_PER_S * of_level[users] * (1 + noise * random.normal()))
        answered += answers
        slow = [total + int(random.binomial(answers, slow_share(elapsed_s))) for total in slow]
        if reached := rule.update(elapsed_s, int(answered), slow):
            return reached, elapsed_s
    raise AssertionError("the loop ends")


def test_throughput_that_more_users_do_not_raise_is_flat_after_two_levels_of_them() -> None:
    assert watch(stairs(), lambda users: 500, StoppingConditions()) == ("flat", 3.0)
    assert watch(stairs(), lambda users: 500 * min(users, 4), StoppingConditions()) == ("flat", 6.0)


def test_throughput_that_falls_is_flat() -> None:
    assert watch(stairs(), lambda users: 1000 / users, StoppingConditions()) == ("flat", 3.0)


def test_without_that_condition_a_flat_run_goes_on() -> None:
    assert watch(stairs(), lambda users: 500, StoppingConditions(flat=False)) is None


@pytest.mark.parametrize("noise", [0, 0.01, 0.02])
def test_throughput_that_still_grows_is_not_flat(noise: float) -> None:
    many = ClosedLoop(
        phases=(
            TrafficPhase(initial_users=100, spawn_per_minute=0, duration_s=1),
            *(TrafficPhase(initial_users=1, spawn_per_minute=0, duration_s=1) for _ in range(30)),
        )
    )
    for seed in range(20):
        assert watch(stairs(), lambda users: 300 * users, StoppingConditions(), noise=noise, seed=seed) is None
        assert watch(many, lambda users: 10 * users, StoppingConditions(), noise=noise, seed=seed) is None


def test_one_bad_level_is_not_flat() -> None:
    def hiccup(users: int) -> float:
        return 100 if users == 4 else 300 * users

    assert watch(stairs(), hiccup, StoppingConditions()) is None


def test_few_answers_that_come_at_random_are_not_flat_while_they_grow() -> None:
    random = np.random.default_rng(3)
    runs = [watch(stairs(), lambda users: 10 * random.poisson(users), StoppingConditions()) for _ in range(50)]
    assert sum(run is not None for run in runs) <= 2


def test_ramps_are_not_judged() -> None:
    ramp = ClosedLoop(
        phases=(
            TrafficPhase(initial_users=1, spawn_per_minute=120, duration_s=20),
            TrafficPhase(initial_users=0, spawn_per_minute=0, duration_s=5),
        )
    )
    everything = StoppingConditions(flat=True, most_per_s=100, thresholds=P95)
    reached = watch(ramp, lambda users: 500, everything, slow_share=lambda _: 1.0)
    assert reached is not None
    assert reached[1] > 20.9


def test_a_run_that_answers_nothing_goes_on() -> None:
    everything = StoppingConditions(flat=True, most_per_s=1, thresholds=P95)
    assert watch(stairs(), lambda users: 0, everything) is None


def test_a_rate_is_reached_by_a_level_that_lasted_a_second() -> None:
    limited = StoppingConditions(flat=False, most_per_s=1000)
    assert watch(stairs(seconds=5), lambda users: 300 * users, limited) == ("rate", 16.0)
    assert watch(stairs(), lambda users: 300 * users, limited) == ("rate", 4.0)
    assert watch(stairs(), lambda users: 50 * users, limited) is None


@pytest.mark.parametrize(("share", "latest_s"), [(1.0, 3.2), (0.5, 3.2), (0.2, 3.2), (0.08, 6.0)])
def test_a_limit_that_too_many_answers_break_ends_the_run_within_seconds(share: float, latest_s: float) -> None:
    loop = ClosedLoop.constant(users=1, duration_s=60)
    reached = watch(loop, lambda users: 500, StoppingConditions(flat=False, thresholds=P95), slow_share=lambda _: share)
    assert reached is not None
    assert reached[0] == "latency"
    assert 1.0 <= reached[1] <= latest_s


def test_a_limit_that_is_kept_or_just_kept_seldom_ends_a_run() -> None:
    loop = ClosedLoop.constant(users=1, duration_s=20)
    conditions = StoppingConditions(flat=False, thresholds=P95)

    def ended(share: float) -> int:
        runs = [watch(loop, lambda _: 300, conditions, slow_share=lambda _: share, seed=seed) for seed in range(100)]
        return sum(run is not None for run in runs)

    assert ended(0.045) == 0
    # 1 of 100 at most; 4 or more come once in 50 times.
    assert ended(0.05) <= 3


def test_a_limit_that_is_just_kept_seldom_ends_a_run_in_which_slow_answers_come_together() -> None:
    """The share of slow answers has an autocorrelation of 0.9 from look to look, and a mean of what is allowed."""
    conditions, answers = StoppingConditions(flat=False, thresholds=P95), 50
    ended = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        loop = ClosedLoop.constant(users=1, duration_s=10)
        rule, level, slow = StoppingRule(conditions, loop.plateaus()), random.normal(), 0
        for look in range(1, 100):
            level = 0.9 * level + (1 - 0.9**2) ** 0.5 * random.normal()
            slow += int(random.binomial(answers, min(1.0, 0.05 * np.exp(0.8 * level - 0.8**2 / 2))))
            if rule.update(look / LOOKS_PER_S, look * answers, [slow]):
                ended += 1
                break
    assert ended <= 3


def test_one_hiccup_breaks_no_limit() -> None:
    def stall(elapsed_s: float) -> float:
        return 1.0 if 1.2 < elapsed_s <= 1.4 else 0.0

    loop = ClosedLoop.constant(users=1, duration_s=20)
    assert watch(loop, lambda _: 500, StoppingConditions(flat=False, thresholds=P95), slow_share=stall) is None


def test_a_limit_is_broken_on_one_level_by_itself() -> None:
    """Too few of all answers are slow, and too many of those of the last users."""
    loop = stairs(steps=3, seconds=10)
    conditions = StoppingConditions(flat=False, thresholds=P95)
    reached = watch(loop, lambda _: 500, conditions, slow_share=lambda elapsed_s: 0.3 if elapsed_s > 20 else 0.0)
    assert reached == ("latency", 23.0)


def test_every_limit_counts_and_needs_the_samples_that_it_takes() -> None:
    limits = (LatencyThreshold(percentile="p50", limit_ms=10), LatencyThreshold(percentile="p99.9", limit_ms=20))
    conditions = StoppingConditions(flat=False, thresholds=limits)
    loop = ClosedLoop.constant(users=1, duration_s=60)
    reached = watch(loop, lambda _: 500, conditions, slow_share=lambda _: 0.02)
    assert reached is not None
    assert reached[0] == "latency"
    assert reached[1] >= 4603 / 500


def test_the_same_counts_give_the_same_answer_and_looks_that_show_nothing_new_are_no_looks() -> None:
    rules = [StoppingRule(StoppingConditions(), stairs().plateaus()) for _ in range(2)]
    for look in range(1, 40):
        elapsed_s, answered = look / LOOKS_PER_S, 50 * look
        first = rules[0].update(elapsed_s, answered, ())
        second = rules[1].update(elapsed_s, answered, ())
        assert first == second
        if first is not None:
            assert elapsed_s == 3.0
            break
        rules[1].update(elapsed_s, answered, ())
    else:
        raise AssertionError("it is flat")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"most_per_s": 0}, "max invocations"),
        ({"most_per_s": float("inf")}, "max invocations"),
        (
            {"thresholds": tuple(LatencyThreshold(percentile=f"p{rank}", limit_ms=1) for rank in range(10, 70, 10))},
            "sla",
        ),
    ],
)
def test_conditions_that_make_no_sense_are_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as refusal:
        StoppingConditions(**wrong)
    assert refusal.value.field == field
