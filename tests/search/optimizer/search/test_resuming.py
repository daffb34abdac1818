"""A search that begins with the measurements of an earlier one."""

from __future__ import annotations

from dataclasses import replace
from math import log
from statistics import mean
from typing import TYPE_CHECKING, cast

import pytest

from servefit.search.request.job_request import JobRequest

if TYPE_CHECKING:
    from tests.search.optimizer.search.conftest import MakeSearch, MakeTable, Table

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.search import Search

pytestmark = pytest.mark.usefixtures("unforeseen")

REQUEST = JobRequest(name="job", max_tests=24, budget_s=1000.0)


class Interrupted(Exception):
    """As Ctrl-C does."""


def interrupt(bench: Table, search: MakeSearch, *, after: int) -> Search:
    """Search until so many things were timed or measured."""

    def before() -> None:
        if len(bench.timed) + len(bench.measured) == after:
            raise Interrupted

    bench.before = before
    interrupted = search(bench)
    with pytest.raises(Interrupted):
        interrupted.carry_out()
    return interrupted


def resume(bench: Table, interrupted: Search, search: MakeSearch) -> Search:
    """Go on with what is kept of a job: its trials, its failures and its service times."""
    bench.before = lambda: None
    resumed = search(
        bench,
        service_times=interrupted.survey.known,
        trials=list(interrupted.trials),
        failed=set(interrupted.failed),
    )
    resumed.carry_out()
    return resumed


def off(found: Search, measured: list[Configuration]) -> float:
    """How far from the truth what it expects of the capacity of ``measured`` is, as a mean of logarithms."""
    bench = cast("Table", found.bench)
    expected = zip(found.surrogate.capacities(measured), map(bench.capacity_per_s, measured), strict=True)
    return mean(abs(estimate.log_mean - log(truth)) for estimate, truth in expected if estimate is not None)


@pytest.mark.integration
@pytest.mark.parametrize("share", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_search_that_goes_on_measures_nothing_twice_and_finds_as_much(
    table: MakeTable, search: MakeSearch, share: float
) -> None:
    rehearsal, bench = table(REQUEST), table(REQUEST)
    search(rehearsal).carry_out()
    after = int(share * (len(rehearsal.timed) + len(rehearsal.measured)))
    resumed = resume(bench, interrupt(bench, search, after=after), search)
    assert len(bench.timed) == len(set(bench.timed))
    tested = bench.of_kind("load test")
    assert len(tested) == len(set(tested))
    assert bench.clock.tests <= 24
    assert bench.regret(resumed.recommendations()[0].trial.configuration) < 0.03


def test_rounds_go_on_with_the_next_one(table: MakeTable, search: MakeSearch) -> None:
    bench = table(REQUEST)
    search(bench).carry_out()
    until_rounds = len(bench.timed) + len(bench.of_kind("load test"))
    again = table(REQUEST)
    interrupted = interrupt(again, search, after=until_rounds + 4)
    before = [trial.round for trial in interrupted.trials if trial.round is not None]
    assert before
    resumed = resume(again, interrupted, search)
    after = [trial.round for trial in resumed.trials[len(interrupted.trials) :] if trial.round is not None]
    assert after
    assert min(after) == max(before) + 1


def test_what_failed_is_not_tried_again(table: MakeTable, search: MakeSearch) -> None:
    bench: Table = table(
        REQUEST, failing=lambda configuration: configuration.backend == "batching" and bool(bench.measured)
    )
    interrupted = interrupt(bench, search, after=25)
    assert interrupted.failed
    resume(bench, interrupted, search)
    tested = bench.of_kind("load test")
    assert len(tested) == len(set(tested))


def test_a_new_job_finds_as_much_in_fewer_tests_with_the_trials_of_an_earlier_one(
    table: MakeTable, search: MakeSearch
) -> None:
    first = table(REQUEST)
    earlier = search(first)
    earlier.carry_out()
    few = JobRequest(name="job", max_tests=4, budget_s=1000.0)
    bench = table(few)
    warm = search(bench, service_times=earlier.survey.known, earlier=earlier.trials)
    warm.carry_out()
    cold = search(table(few), service_times=earlier.survey.known)
    cold.carry_out()
    measured = [trial.configuration for trial in earlier.trials]
    assert off(warm, measured) < 0.7 * off(cold, measured)
    assert bench.timed == []
    assert bench.regret(warm.recommendations()[0].trial.configuration) < 0.03
    # What others measured helps to predict; what is recommended was measured by the job itself.
    assert all(recommendation.trial in warm.trials for recommendation in warm.recommendations())


def test_trials_of_backends_that_the_space_lost_do_no_harm(table: MakeTable, search: MakeSearch) -> None:
    bench = table(REQUEST)
    interrupted = interrupt(bench, search, after=30)
    smaller = table(REQUEST, vcpus=(1, 2))
    resumed = resume(smaller, interrupted, search)
    assert {recommendation.profile.name for recommendation in resumed.recommendations()} == {"1c", "2c"}


def test_calls_of_earlier_jobs_that_say_nothing_of_the_space_do_not_keep_it_from_being_tried(
    table: MakeTable, search: MakeSearch
) -> None:
    earlier = search(table(REQUEST))
    earlier.carry_out()
    elsewhere = {
        replace(subject, environment=(("MODE", "a"),)): service for subject, service in earlier.survey.known.items()
    }
    bench = table(JobRequest(name="job", max_tests=3, budget_s=40.0))
    found = search(bench, service_times=elsewhere)
    # The share of the time in which calls are timed is over when the first would be.
    bench.now_s = 18.5
    found.carry_out()
    assert bench.timed == []
    assert [kind for kind, _ in bench.measured] == ["load test", "load test", "confirmation"]
    assert found.recommendations()
