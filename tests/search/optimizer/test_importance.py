"""The importance of parameters: what explains that the winner is ahead."""

from __future__ import annotations

from itertools import product
from math import log
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.backends.types import Settings
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.optimizer.importance import explain, importance, naive_default
from servefit.search.request.job_request import JobRequest
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.search.optimizer.importance import Explanation
    from servefit.search.results.recommendation import Trial

PROFILE = InstanceProfile(name="a", vcpus=4, memory_bytes=2**30)


def configuration(
    backend: str = "reference", *, workers: int = 1, threads: int = 1, batch: int = 1, vcpus: int = 4
) -> Configuration:
    return Configuration(
        vcpus=vcpus, backend=backend, workers=workers, settings=Settings(threads=threads), max_batch=batch
    )


WINNER = configuration("quick", workers=4, batch=8)
RUNNER_UP = configuration("quick", workers=2, batch=8)
THIRD = configuration("other", workers=4, batch=8)
NAIVE = configuration(threads=4)


def rounds(trial: MakeTrial, **per_s: float) -> list[Trial]:
    named = {"winner": WINNER, "runner_up": RUNNER_UP, "third": THIRD, "naive": NAIVE}
    return [
        trial(named[name], throughput_per_s=figure, nth_round=nth) for name, figure in per_s.items() for nth in range(3)
    ]


def reasons(
    trial: MakeTrial,
    trials: list[Trial],
    winner: Configuration = WINNER,
    *,
    naive: Configuration | None = NAIVE,
    **asked: Any,
) -> Explanation:
    request = JobRequest(name="job", **asked)
    return explain(recommendation(PROFILE, trial(winner)), trials, request, naive, {"workers": 0.5}, ("less",))


def test_the_winner_is_held_against_the_next_best_and_against_the_naive_default(trial: MakeTrial) -> None:
    found = reasons(trial, rounds(trial, winner=120.0, runner_up=100.0, third=80.0, naive=10.0))
    assert found.runner_up is not None
    assert found.runner_up.configuration == RUNNER_UP
    assert found.runner_up.ratio.ratio == pytest.approx(1.2)
    assert found.naive is not None
    assert found.naive.configuration == NAIVE
    assert found.naive.ratio.ratio == pytest.approx(12.0)
    assert (found.importance, found.changes) == ({"workers": 0.5}, ("less",))


def test_only_what_was_measured_in_turns_is_held_against_it(trial: MakeTrial) -> None:
    found = reasons(trial, [*rounds(trial, winner=120.0), trial(RUNNER_UP), trial(NAIVE)])
    assert (found.runner_up, found.naive) == (None, None)
    found = reasons(trial, [trial(WINNER), *rounds(trial, third=1.0, naive=1.0)])
    assert (found.runner_up, found.naive) == (None, None)


def test_a_winner_that_is_the_naive_default_leaves_its_rivals_what_they_are(trial: MakeTrial) -> None:
    fewer_threads = configuration(threads=2)
    trials = [
        trial(configuration, throughput_per_s=per_s, nth_round=nth)
        for configuration, per_s in ((NAIVE, 100.0), (fewer_threads, 50.0))
        for nth in range(3)
    ]
    found = reasons(trial, trials, winner=NAIVE)
    assert found.naive is None
    assert found.runner_up is not None
    assert found.runner_up.configuration == fewer_threads


def test_what_looks_like_a_naive_default_is_a_rival_like_others_where_the_space_has_another_or_none(
    trial: MakeTrial,
) -> None:
    fewer_threads = configuration(threads=2)
    trials = [
        trial(configuration, throughput_per_s=per_s, nth_round=nth)
        for configuration, per_s in ((WINNER, 100.0), (fewer_threads, 50.0))
        for nth in range(3)
    ]
    for naive in (NAIVE, None):
        found = reasons(trial, trials, naive=naive)
        assert found.naive is None
        assert found.runner_up is not None
        assert found.runner_up.configuration == fewer_threads


@pytest.mark.parametrize(("cost_weight", "ratio"), [(0.0, 0.5), (0.25, 2**-0.5), (0.5, 1.0), (1.0, 2.0)])
def test_a_balanced_goal_weighs_throughput_against_latency_as_asked(
    trial: MakeTrial, cost_weight: float, ratio: float
) -> None:
    trials = [
        trial(configuration, throughput_per_s=factor * 100, p95_ms=factor * 5.0, nth_round=nth)
        for configuration, factor in ((WINNER, 2.0), (RUNNER_UP, 1.0))
        for nth in range(3)
    ]
    found = reasons(trial, trials, goal="balanced", cost_weight=cost_weight)
    assert found.runner_up is not None
    assert found.runner_up.ratio.ratio == pytest.approx(ratio)


def test_without_an_answer_there_are_no_reasons_but_what_would_have_to_change() -> None:
    found = explain(None, [], JobRequest(name="job"), NAIVE, {}, ("less",))
    assert (found.runner_up, found.naive, found.changes) == (None, None, ("less",))


def test_the_naive_default_is_one_worker_of_the_reference_with_a_thread_a_vcpu_and_no_batches() -> None:
    grid = [
        configuration(backend, workers=workers, threads=threads, batch=batch, vcpus=vcpus)
        for backend in ("quick", "reference")
        for workers, threads in ((1, 1), (1, 2), (1, 4), (4, 1))
        for batch in (1, 8)
        for vcpus in (4, 8)
    ]
    assert naive_default(grid, 4, "reference") == NAIVE
    assert naive_default(grid, 16, "reference") is None
    assert naive_default(grid, 4, "unheard of") is None
    assert naive_default([], 4, "reference") is None


GRID = [
    configuration(backend, workers=workers, batch=batch, vcpus=4)
    for backend, workers, batch in product(("a", "b", "c"), (1, 2, 4), (1, 8))
]


@given(
    backends=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    workers=st.lists(st.floats(-5, 5), min_size=3, max_size=3),
    batches=st.lists(st.floats(-5, 5), min_size=2, max_size=2),
)
def test_parts_of_a_sum_explain_just_what_they_vary_and_all_of_it_together(
    backends: list[float], workers: list[float], batches: list[float]
) -> None:
    def spread(values: list[float]) -> float:
        mean = sum(values) / len(values)
        return sum((value - mean) ** 2 for value in values) / len(values)

    figures = {
        configuration: backends["abc".index(configuration.backend)]
        + workers[(1, 2, 4).index(configuration.workers)]
        + batches[configuration.max_batch > 1]
        for configuration in GRID
    }
    total = spread(list(figures.values()))
    found = importance(figures)
    if total < 1e-6:
        return
    assert sum(found.values()) == pytest.approx(1.0)
    for name, values in (("backend", backends), ("workers", workers), ("max_batch", batches)):
        assert found[name] == pytest.approx(spread(values) / total, abs=1e-9)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_what_only_matters_in_combination_explains_nothing_by_itself() -> None:
    figures = {
        configuration(workers=workers, batch=batch): 1.0 if (workers == 1) == (batch == 1) else -1.0
        for workers, batch in product((1, 2), (1, 8))
    }
    assert importance(figures) == pytest.approx({"workers": 0.0, "max_batch": 0.0})


@given(st.dictionaries(st.sampled_from(GRID), st.floats(-20, 20), max_size=18))
def test_every_part_lies_between_nothing_and_all(figures: dict[Configuration, float]) -> None:
    assert all(-1e-9 <= figure <= 1 + 1e-9 for figure in importance(figures).values())


def test_where_nothing_differs_nothing_is_important() -> None:
    assert importance({}) == {}
    assert importance({GRID[0]: 1.0}) == {}
    assert importance(dict.fromkeys(GRID, log(0.1))) == {}
    assert importance({configuration: 0.1 + 1e-15 * nth for nth, configuration in enumerate(GRID)}) == {}


def test_a_parameter_that_never_varies_is_not_named() -> None:
    assert set(importance({configuration: float(configuration.workers) for configuration in GRID})) == {
        "backend",
        "workers",
        "max_batch",
    }
