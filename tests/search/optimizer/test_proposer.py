"""The order in which a search proposes configurations."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_counts import examples
from tests.search.optimizer.proposers import GRID, SPEEDS, answer, proposer_of, searched, truth

from servefit.backends.types import Settings, Target
from servefit.profiler.evidence.limits import LatencyThreshold
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.proposer import objectives
from servefit.search.request.sla import Sla, parse_sla
from servefit.search.request.space import starting_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.search.conftest import MakeTrial

    from servefit.search.optimizer.parzen import Outcome
    from servefit.search.optimizer.proposer import Proposal
    from servefit.search.results.recommendation import Trial


def test_every_envelope_size_gets_its_best_prediction_measured_first_the_largest_before_the_others(
    trial: MakeTrial,
) -> None:
    seen = searched(proposer_of(), trial)
    assert [(proposal.configuration.vcpus, proposal.configuration.workers) for proposal in seen[:3]] == [
        (4, 4),
        (2, 2),
        (1, 1),
    ]
    assert all(
        (proposal.configuration.backend, proposal.configuration.max_batch) == ("fast", 8) for proposal in seen[:3]
    )
    assert all(proposal.source == "prediction" for proposal in seen[:3])


def test_where_predictions_hold_the_search_is_soon_over(trial: MakeTrial) -> None:
    seen = searched(proposer_of(goal="throughput"), trial)
    assert len(seen) < len(GRID) / 3
    assert max(seen, key=lambda proposal: truth(proposal.configuration)).configuration == max(GRID, key=truth)


def test_a_backend_that_measures_worse_than_predicted_gives_way(trial: MakeTrial) -> None:
    def overrated(configuration: Configuration) -> float:
        return truth(configuration) * (0.6 if configuration.backend == "fast" else 1.0)

    seen = searched(proposer_of(goal="throughput"), trial, overrated)
    best = max(GRID, key=overrated)
    assert best in {proposal.configuration for proposal in seen}
    assert len(seen) < len(GRID) / 2


def test_the_parzen_estimator_gets_one_test_in_five_once_predictions_promise_no_more(trial: MakeTrial) -> None:
    proposer = proposer_of()
    for configuration in sorted(GRID, key=truth, reverse=True)[:20]:
        answer(proposer, trial, configuration, truth(configuration))
    seen = searched(proposer, trial)
    assert {proposal.source for proposal in seen} == {"parzen"}
    assert len(seen) == 5


@pytest.mark.thorough
@pytest.mark.integration
def test_without_predictions_the_plainest_of_every_backend_and_size_come_before_the_parzen_estimator(
    trial: MakeTrial,
) -> None:
    seen = searched(proposer_of(timed=()), trial)
    assert len({proposal.configuration for proposal in seen}) == len(seen) == len(GRID)
    assert [proposal.source for proposal in seen] == ["grid"] * 9 + ["parzen"] * (len(GRID) - 9)
    assert {(proposal.configuration.vcpus, proposal.configuration.backend) for proposal in seen[:9]} == set(
        product((1, 2, 4), SPEEDS)
    )
    assert all(proposal.configuration.workers == proposal.configuration.vcpus for proposal in seen[:9])
    assert all(proposal.configuration.max_batch == 1 for proposal in seen[:9])


def test_a_backend_whose_calls_were_not_timed_is_tried_once_nothing_else_is_left(trial: MakeTrial) -> None:
    proposer = proposer_of(timed=("slow", "middle"))
    for configuration in GRID:
        if configuration.backend != "fast":
            proposer.fail(configuration)
    expected = proposer.rehearse(3)
    seen = [proposal.configuration for proposal in searched(proposer, trial)]
    assert expected == [None] * 3
    assert seen[:3] == [start for start in starting_points(GRID) if start.backend == "fast"]
    assert set(seen) == {configuration for configuration in GRID if configuration.backend == "fast"}


@pytest.mark.parametrize("predicted", [True, False])
def test_an_exhaustive_search_measures_everything_once(trial: MakeTrial, predicted: bool) -> None:
    proposer = proposer_of(timed=SPEEDS if predicted else (), exhaustive=True)
    seen = [proposal.configuration for proposal in searched(proposer, trial)]
    assert set(seen) == set(GRID)
    assert len(seen) == len(GRID)
    assert proposer.next() is None
    assert (seen[0].backend, seen[0].max_batch) == (("fast", 8) if predicted else ("slow", 1))


@pytest.mark.integration
@given(
    predicted=st.booleans(),
    exhaustive=st.booleans(),
    seed=st.integers(0, 2**16),
    factors=st.lists(st.sampled_from([0.0, 0.3, 1.0, 1.4]), min_size=1, max_size=30),
)
@settings(max_examples=examples(10, drawn=25), deadline=None)
def test_nothing_is_proposed_twice_whatever_is_measured_or_fails(
    trial: MakeTrial, predicted: bool, exhaustive: bool, seed: int, factors: list[float]
) -> None:
    proposer = proposer_of(timed=SPEEDS if predicted else (), exhaustive=exhaustive, seed=seed)
    figures = iter(factors * len(GRID))
    seen = [
        proposal.configuration
        for proposal in searched(proposer, trial, lambda configuration: next(figures) * truth(configuration), most=20)
    ]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(GRID)
    assert seen


@pytest.mark.integration
@pytest.mark.parametrize("predicted", [True, False])
def test_a_seed_reproduces_the_order_and_another_seed_has_another(trial: MakeTrial, predicted: bool) -> None:
    orders = [searched(proposer_of(timed=SPEEDS if predicted else (), seed=seed), trial, most=16) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_what_failed_counts_as_tried(trial: MakeTrial) -> None:
    seen = searched(
        proposer_of(), trial, lambda configuration: 0.0 if configuration.vcpus == 4 else truth(configuration)
    )
    assert [proposal.configuration.vcpus for proposal in seen[:3]] == [4, 2, 1]


def test_several_are_out_at_once_and_fit_beside_each_other() -> None:
    proposer = proposer_of()
    beside: list[Configuration] = []
    asked: list[list[int]] = []

    def fit_at_once(vcpus: Sequence[int]) -> bool:
        asked.append(list(vcpus))
        return sum(vcpus) <= 15

    while (proposal := proposer.next(beside=beside, fit_at_once=fit_at_once)) is not None:
        beside.append(proposal.configuration)
    assert sum(configuration.vcpus for configuration in beside) == 15
    assert len(beside) == len(set(beside))
    assert all(sizes[0] == 4 for sizes in asked)


@pytest.mark.parametrize("exhaustive", [True, False])
def test_beside_what_runs_on_a_gpu_only_what_does_not_is_proposed(exhaustive: bool) -> None:
    on_gpu = tuple(replace(configuration, target=Target.CUDA, gpu=0) for configuration in GRID)
    proposer = proposer_of(timed=(), exhaustive=exhaustive, grid=GRID + on_gpu)
    beside = [on_gpu[0]]
    while (proposal := proposer.next(beside=beside, fit_at_once=lambda _: True)) is not None and len(beside) < 10:
        beside.append(proposal.configuration)
    assert len(beside) > 1
    assert all(configuration.gpu is None for configuration in beside[1:])
    assert (
        proposer_of(timed=(), exhaustive=exhaustive, grid=on_gpu).next(beside=[on_gpu[0]], fit_at_once=lambda _: True)
        is None
    )
    assert (
        proposer_of(timed=(), exhaustive=exhaustive, grid=on_gpu).next(beside=[GRID[0]], fit_at_once=lambda _: True)
        is not None
    )


def test_the_first_is_proposed_even_where_it_would_fit_beside_nothing() -> None:
    assert proposer_of().next(fit_at_once=lambda _: False) is not None


@pytest.mark.parametrize(
    ("goal", "largest_call", "left_out"),
    [
        ("cost", 1, True),
        pytest.param("latency", 1, True, marks=pytest.mark.thorough),
        ("cost", 2, False),
        pytest.param("cost", None, False, marks=pytest.mark.thorough),
        pytest.param("throughput", 1, False, marks=pytest.mark.thorough),
    ],
)
def test_what_would_do_the_same_at_the_rate_is_not_proposed_any_more(
    trial: MakeTrial, goal: str, largest_call: int | None, left_out: bool
) -> None:
    proposer = proposer_of(exhaustive=True, goal=goal, sla=Sla(rate_per_s=10.0))
    tested = Configuration(vcpus=1, backend="fast", max_batch=8)
    twin = replace(tested, max_batch=1)
    found = trial(tested)
    assert found.at_rate is not None
    proposer.learn(replace(found, at_rate=replace(found.at_rate, largest_call=largest_call)))
    proposed = {proposal.configuration for proposal in searched(proposer, trial)}
    assert tested not in proposed
    assert (twin not in proposed) == left_out
    assert len(proposed) == len(GRID) - 1 - left_out, "all others are"


@pytest.mark.parametrize(("rate_per_s", "joins"), [(10.0, False), (1200.0, True)])
def test_at_a_rate_what_joins_no_requests_is_tried_first_unless_joining_is_expected_to_gain(
    rate_per_s: float, joins: bool
) -> None:
    grid = tuple(Configuration(vcpus=1, backend="fast", max_batch=size) for size in (8, 1))
    first = proposer_of(grid=grid, sla=Sla(thresholds=parse_sla("p95=50ms"), rate_per_s=rate_per_s)).next()
    assert first is not None
    assert (first.configuration.max_batch > 1) == joins


def test_who_waits_for_others_does_not_do_the_same_as_who_does_not(trial: MakeTrial) -> None:
    batched = Configuration(vcpus=1, backend="fast", max_batch=8)
    delayed = replace(batched, batch_delay_us=1000)
    for tested, other in ((batched, delayed), (delayed, batched)):
        proposer = proposer_of(exhaustive=True, grid=(batched, delayed), sla=Sla(rate_per_s=10.0))
        found = trial(tested)
        assert found.at_rate is not None
        proposer.learn(replace(found, at_rate=replace(found.at_rate, largest_call=1)))
        assert [proposal.configuration for proposal in searched(proposer, trial)] == [other]


def test_what_was_measured_outside_the_grid_is_passed_over(trial: MakeTrial) -> None:
    proposer = proposer_of(grid=GRID[:6])
    proposer.learn(trial(GRID[-1]))
    proposer.fail(GRID[-2])
    assert proposer.best_score() is None
    assert proposer.next() is not None


def test_the_best_score_is_of_what_keeps_the_limits(trial: MakeTrial) -> None:
    proposer = proposer_of(goal="throughput")
    assert proposer.best_score() is None
    proposer.learn(trial(GRID[0], throughput_per_s=9000.0, verdict="FAIL"))
    proposer.learn(trial(GRID[1], throughput_per_s=8000.0, verdict="UNDECIDED"))
    assert proposer.best_score() is None
    proposer.learn(trial(GRID[2], throughput_per_s=2000.0))
    proposer.learn(trial(GRID[3], throughput_per_s=1000.0))
    best = proposer.best_score()
    assert best is not None
    # Near to what was measured: the best of many is partly the luckiest.
    assert best.figure == pytest.approx(1e6 / 2000, rel=0.02)
    assert proposer_of(timed=()).best_score() is None


def test_a_goal_of_latency_goes_on_where_the_best_has_too_few_samples_for_one(trial: MakeTrial) -> None:
    proposer = proposer_of(goal="latency")
    for vcpus in (1, 2, 4):
        configuration = next(each for each in GRID if each.vcpus == vcpus)
        proposer.learn(trial(configuration, p95_ms=None, at_rate=False))
    proposal = proposer.next()
    assert proposal is not None
    assert proposal.source == "prediction"


def test_while_nothing_keeps_the_limits_what_comes_closer_is_looked_for(trial: MakeTrial) -> None:
    limit = LatencyThreshold(percentile="p95", limit_ms=0.2)
    proposer = proposer_of(sla=Sla(thresholds=(limit,)))
    least_ms = {
        configuration: (1 + configuration.max_batch / 10) / SPEEDS[configuration.backend] for configuration in GRID
    }
    seen = []
    while (proposal := proposer.next()) is not None:
        configuration = proposal.configuration
        seen.append(configuration)
        excess = least_ms[configuration] / limit.limit_ms - 1
        proposer.learn(
            trial(configuration, p95_ms=least_ms[configuration], at_rate=False, verdict="FAIL", violation=excess)
        )
    assert min(least_ms.values()) in {least_ms[proposal] for proposal in seen}
    assert len(seen) < len(GRID)


def test_an_empty_space_has_nothing_to_propose() -> None:
    assert proposer_of(timed=(), grid=()).next() is None
    assert proposer_of(timed=(), grid=(), exhaustive=True).next() is None


def test_the_study_minimises_what_is_paid_for_an_answer_and_its_latency(trial: MakeTrial) -> None:
    four = replace(GRID[0], vcpus=4, settings=Settings(threads=4))
    assert objectives(trial(four, throughput_per_s=100.0, p95_ms=3.0)) == (0.04, 3.0)
    assert objectives(trial(four, throughput_per_s=0.0, p95_ms=None)) == (1e9, 1e9)


@pytest.mark.parametrize("asked", [{}, {"goal": "throughput"}, {"goal": "latency"}])
def test_a_rehearsal_changes_nothing_of_what_is_proposed(trial: MakeTrial, asked: dict[str, Any]) -> None:
    plain = searched(proposer_of(**asked), trial)
    rehearsed = proposer_of(**asked)
    seen: list[Proposal] = []
    rehearsed.rehearse(20)
    while (proposal := rehearsed.next()) is not None:
        seen.append(proposal)
        rehearsed.rehearse(20)
        answer(rehearsed, trial, proposal.configuration, truth(proposal.configuration))
    assert seen == plain


def test_where_predictions_hold_a_rehearsal_names_what_will_be_proposed(trial: MakeTrial) -> None:
    proposer = proposer_of(goal="throughput")
    expected = proposer.rehearse(1000)
    seen = searched(proposer, trial)
    assert abs(len(expected) - len(seen)) <= 1
    named = [expectation.configuration for expectation in expected if expectation is not None]
    assert named[:3] == [proposal.configuration for proposal in seen[:3]]


def test_a_rehearsal_is_no_longer_than_asked_and_ends_with_the_grid() -> None:
    assert len(proposer_of(exhaustive=True).rehearse(5)) == 5
    assert len(proposer_of(exhaustive=True).rehearse(1000)) == len(GRID)
    assert proposer_of(timed=()).rehearse(3) == [None] * 3


def drawing(trial: MakeTrial, configuration: Configuration, watts: float | None) -> Trial:
    """A test of ``one`` that answers what was predicted, and draws so much."""
    tested = trial(configuration, throughput_per_s=truth(configuration), at_rate=False)
    return replace(
        tested, capacity=replace(tested.capacity, package_power_w=watts, cpu_percent=100.0 * configuration.workers)
    )


def searched_by_energy(trial: MakeTrial, watts: Callable[[Configuration], float | None]) -> list[Proposal]:
    proposer = proposer_of(goal="energy")
    seen: list[Proposal] = []
    while (proposal := proposer.next()) is not None:
        assert len(proposer.rehearse(5)) <= 5
        seen.append(proposal)
        proposer.learn(drawing(trial, proposal.configuration, watts(proposal.configuration)))
    return seen


@pytest.mark.thorough
@pytest.mark.integration
def test_where_nobody_can_tell_the_figure_every_backend_is_tried_plainly_and_then_whatever_is_left(
    trial: MakeTrial,
) -> None:
    seen = searched_by_energy(trial, lambda _: None)
    plain = starting_points(GRID)
    assert [(proposal.configuration, proposal.source) for proposal in seen[: len(plain)]] == [
        (configuration, "grid") for configuration in plain
    ]
    assert {proposal.source for proposal in seen[len(plain) :]} == {"parzen"}
    assert {proposal.configuration for proposal in seen} == set(GRID)


def test_energy_is_predicted_as_soon_as_one_test_has_shown_what_is_drawn(trial: MakeTrial) -> None:
    seen = searched_by_energy(trial, lambda configuration: 30.0 + 10.0 * configuration.workers)
    assert seen[0].source == "grid"
    assert seen[1].source == "prediction"
    assert len(seen) < len(GRID)
    best = max(GRID, key=lambda configuration: truth(configuration) / (30 + 10 * configuration.workers))
    assert best in [proposal.configuration for proposal in seen[:5]]


def test_the_parzen_estimator_is_told_the_figure_of_the_goal_where_predictions_have_none(
    trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    proposer = proposer_of(goal="energy")
    told: list[Outcome | None] = []
    monkeypatch.setattr(proposer._parzen, "learn", lambda _, outcome: told.append(outcome))
    proposer.learn(drawing(trial, GRID[0], 50.0))
    proposer.learn(drawing(trial, GRID[1], None))
    assert [outcome and outcome.objectives for outcome in told] == [(pytest.approx(1e6 * 50 / truth(GRID[0])),), (1e9,)]
