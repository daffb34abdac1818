"""Several trials of a configuration are pooled into one."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.record.types import Configuration
from servefit.search.results.pooled_trials import arm_of, pool_trials

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.results.pooled_trials import PooledTrials
    from servefit.search.results.recommendation import Trial

FIRST = Configuration(vcpus=1, backend="first")
SECOND = Configuration(vcpus=1, backend="second")


BATCHED = Configuration(vcpus=1, backend="first", max_batch=8)
DELAYED = replace(BATCHED, batch_delay_us=1000)


def joining(tested: Trial, largest_call: int | None) -> Trial:
    """The same, had its calls at the rate asked joined so many requests at most."""
    assert tested.at_rate is not None
    return replace(tested, at_rate=replace(tested.at_rate, largest_call=largest_call))


def pooled(*trials: Trial) -> PooledTrials:
    (found,) = pool_trials(trials)
    return found


def test_all_measurements_of_a_configuration_count_together(trial: MakeTrial) -> None:
    found = pooled(
        trial(FIRST, throughput_per_s=100.0, p95_ms=1.0),
        trial(FIRST, throughput_per_s=400.0, p95_ms=4.0),
        trial(FIRST, throughput_per_s=200.0, p95_ms=2.0, nth_round=0),
    )
    assert found.capacity_per_s == pytest.approx(200.0)
    assert found.p95_ms == pytest.approx(2.0)
    assert found.measurements == 3


def test_configurations_stand_in_the_order_in_which_they_were_first_measured(trial: MakeTrial) -> None:
    found = pool_trials([trial(SECOND), trial(FIRST), trial(SECOND)])
    assert [pooled.configuration for pooled in found] == [SECOND, FIRST]
    assert pool_trials([]) == ()


def test_the_last_measurement_that_was_held_against_the_sla_stands_for_the_configuration(trial: MakeTrial) -> None:
    screened, confirmed = trial(FIRST, verdict="PASS"), trial(FIRST, verdict="FAIL")
    in_turn = trial(FIRST, verdict="PASS", nth_round=3)
    assert pooled(screened, confirmed, in_turn).trial is confirmed
    assert pooled(screened, in_turn).trial is screened


def test_what_was_only_measured_in_rounds_does_not_stand_since_they_hold_nothing_against_the_sla(
    trial: MakeTrial,
) -> None:
    assert pool_trials([trial(FIRST, verdict="PASS", nth_round=nth) for nth in range(3)]) == ()


def test_an_invalid_measurement_counts_only_where_there_is_nothing_else(trial: MakeTrial) -> None:
    disturbed = trial(FIRST, throughput_per_s=1.0, verdict="INVALID")
    good = trial(FIRST, throughput_per_s=100.0)
    for trials in ([disturbed, good], [good, disturbed]):
        found = pooled(*trials)
        assert (found.trial, found.measurements) == (good, 1)
        assert found.capacity_per_s == pytest.approx(100.0)
    assert pooled(disturbed).trial is disturbed
    assert pooled(disturbed).capacity_per_s == pytest.approx(1.0)


def test_good_rounds_do_not_make_an_invalid_verdict_a_pass(trial: MakeTrial) -> None:
    disturbed = trial(FIRST, throughput_per_s=1.0, verdict="INVALID")
    found = pooled(disturbed, trial(FIRST, throughput_per_s=100.0, nth_round=0))
    assert found.trial is disturbed
    assert found.capacity_per_s == pytest.approx(100.0)


def test_latency_is_only_averaged_over_the_same_load(trial: MakeTrial) -> None:
    judged = trial(FIRST, p95_ms=2.0, instances=3)
    closed = trial(FIRST, p95_ms=50.0, at_rate=False, nth_round=0)
    busier = trial(FIRST, p95_ms=90.0, instances=1, nth_round=1)
    assert pooled(judged, closed, busier).p95_ms == pytest.approx(2.0)


def test_a_latency_that_is_not_known_is_left_out_and_infinite_where_none_is(trial: MakeTrial) -> None:
    assert pooled(trial(FIRST, p95_ms=None), trial(FIRST, p95_ms=3.0)).p95_ms == pytest.approx(3.0)
    assert pooled(trial(FIRST, p95_ms=None)).p95_ms == inf


def test_what_answered_nothing_has_no_capacity(trial: MakeTrial) -> None:
    assert pooled(trial(FIRST, throughput_per_s=0.0)).capacity_per_s == 0.0


@pytest.mark.parametrize(("largest", "max_batch"), [(1, 1), (3, 3), (8, 8), (9, 8), (None, 8)])
def test_it_makes_no_difference_how_many_requests_a_call_might_have_joined(largest: int | None, max_batch: int) -> None:
    assert arm_of(BATCHED, largest) == replace(BATCHED, max_batch=max_batch)


def test_who_waited_for_others_did_not_do_the_same_though_nobody_came() -> None:
    assert arm_of(DELAYED, 1) == DELAYED


def test_what_never_joined_two_requests_is_the_same_arm_as_what_cannot(trial: MakeTrial) -> None:
    plain, batched = pool_trials([joining(trial(FIRST), 1), joining(trial(BATCHED), 1)])
    assert plain.arm == batched.arm == FIRST


def test_what_joined_fewer_than_both_allow_is_one_arm_and_what_allows_no_more_another(trial: MakeTrial) -> None:
    larger = replace(BATCHED, max_batch=64)
    plain, batched, large = pool_trials(
        [joining(trial(FIRST), 1), joining(trial(BATCHED), 2), joining(trial(larger), 3)]
    )
    assert plain.arm == FIRST
    assert batched.arm == large.arm == replace(BATCHED, max_batch=3)


@pytest.mark.parametrize("at_rate", [True, False])
def test_what_may_have_joined_more_than_is_known_is_an_arm_of_its_own(trial: MakeTrial, at_rate: bool) -> None:
    unknown = trial(BATCHED, at_rate=at_rate, nth_round=None)
    assert [each.arm for each in pool_trials([joining(trial(BATCHED), 1), unknown])] == [BATCHED]
    delayed, batched = pool_trials([joining(trial(DELAYED), 1), joining(trial(BATCHED), 1)])
    assert (delayed.arm, batched.arm) == (DELAYED, FIRST)


def test_configurations_of_one_arm_share_their_latency_and_not_their_capacity(trial: MakeTrial) -> None:
    plain, batched = pool_trials(
        [
            joining(trial(FIRST, throughput_per_s=100.0, p95_ms=1.0), 1),
            joining(trial(BATCHED, throughput_per_s=400.0, p95_ms=4.0), 1),
        ]
    )
    assert plain.p95_ms == batched.p95_ms == pytest.approx(2.0)
    assert len(plain.alike) == len(batched.alike) == 2
    assert [each.capacity_per_s for each in (plain, batched)] == pytest.approx([100.0, 400.0])
    assert (plain.measurements, batched.measurements) == (1, 1)


def test_under_different_loads_configurations_of_one_arm_are_apart(trial: MakeTrial) -> None:
    plain, batched = pool_trials(
        [joining(trial(FIRST, p95_ms=1.0), 1), joining(trial(BATCHED, p95_ms=4.0, instances=2), 1)]
    )
    assert [each.p95_ms for each in (plain, batched)] == pytest.approx([1.0, 4.0])
