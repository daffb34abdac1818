"""What decided between the winner and its nearest rivals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.request.job_request import JobRequest
from servefit.search.request.sla import Sla
from servefit.search.request.space import Space
from servefit.search.results.choices import choices
from servefit.search.results.ranking import recommend

if TYPE_CHECKING:
    from collections.abc import Collection

    from tests.search.conftest import MakeTrial

    from servefit.search.results.choices import Preference
    from servefit.search.results.recommendation import Trial

SMALL = InstanceProfile(name="small", vcpus=1, memory_bytes=2**30, price_per_hour=0.1)
LARGE = InstanceProfile(name="large", vcpus=2, memory_bytes=2**30, price_per_hour=0.2)
PLAIN = Configuration(vcpus=1, backend="quick")
BATCHED = replace(PLAIN, max_batch=8)
SLOW = Configuration(vcpus=1, backend="slow")
TWO_WORKERS = Configuration(vcpus=2, backend="quick", workers=2)

AT_RATE = JobRequest(name="job", sla=Sla(rate_per_s=100.0))


def chosen(
    trials: list[Trial], request: JobRequest = AT_RATE, *, less_exact: Collection[str] = ()
) -> tuple[Configuration, tuple[Preference, ...]]:
    """The winner, and why."""
    measured = tuple(dict.fromkeys(trial.configuration for trial in trials))
    space = Space(
        profiles=tuple(
            (profile, frozenset(each for each in measured if each.vcpus == profile.vcpus)) for profile in (SMALL, LARGE)
        ),
        grid=measured,
        less_exact=frozenset(less_exact),
    )
    best = recommend(space, trials, request)[0]
    return best.trial.configuration, choices(space, trials, request, best)


def test_near_equals_are_decided_by_simplicity_and_others_by_the_figure(trial: MakeTrial) -> None:
    winner, (near,) = chosen([trial(PLAIN, p95_ms=1.03), trial(BATCHED, p95_ms=1.0)])
    assert winner == PLAIN
    assert (near.rival.trial.configuration, near.by) == (BATCHED, "simplicity")
    assert near.figures == pytest.approx((1.03, 1.0))
    winner, (far,) = chosen([trial(PLAIN, p95_ms=1.0), trial(SLOW, p95_ms=3.0)])
    assert winner == PLAIN
    assert (far.rival.trial.configuration, far.by) == (SLOW, "figure")
    assert far.figures == pytest.approx((1.0, 3.0))


def test_a_predicted_answer_is_left_for_its_price(trial: MakeTrial) -> None:
    predicted = replace(trial(TWO_WORKERS), basis="predicted")
    winner, (dearer,) = chosen([trial(PLAIN, verdict="UNDECIDED", violation=0.0), predicted])
    assert winner == PLAIN
    assert (dearer.rival.trial.configuration, dearer.by) == (TWO_WORKERS, "price")


def test_of_what_is_equal_and_as_simple_the_one_that_answers_more_is_chosen_at_a_rate(trial: MakeTrial) -> None:
    trials = [trial(PLAIN, p95_ms=1.2, throughput_per_s=2000.0), trial(SLOW, p95_ms=1.0, throughput_per_s=1000.0)]
    winner, (smaller,) = chosen(trials)
    assert winner == PLAIN
    assert (smaller.rival.trial.configuration, smaller.by) == (SLOW, "capacity")
    nearly = [trial(PLAIN, p95_ms=1.2, throughput_per_s=1050.0), trial(SLOW, p95_ms=1.0, throughput_per_s=1000.0)]
    winner, (later,) = chosen(nearly)
    assert winner == SLOW, "so small a difference is none"
    assert (later.rival.trial.configuration, later.by) == (PLAIN, "figure")
    winner, _ = chosen(trials, JobRequest(name="job", goal="latency", sla=Sla(rate_per_s=100.0)))
    assert winner == SLOW, "whoever asks for the least latency gets it"


def test_of_what_is_equal_that_is_chosen_which_predicts_as_the_model_does(trial: MakeTrial) -> None:
    trials = [trial(BATCHED, p95_ms=1.03), trial(SLOW, p95_ms=1.0, throughput_per_s=2000.0)]
    assert chosen(trials)[0] == SLOW
    winner, (less_exact,) = chosen(trials, less_exact=[SLOW.backend])
    assert winner == BATCHED
    assert (less_exact.rival.trial.configuration, less_exact.by) == (SLOW, "precision")
    better = [trial(BATCHED, p95_ms=3.0), trial(SLOW, p95_ms=1.0)]
    winner, (slower,) = chosen(better, less_exact=[SLOW.backend])
    assert (winner, slower.by) == (SLOW, "figure")


def test_a_larger_instance_that_is_quicker_is_left_for_its_price(trial: MakeTrial) -> None:
    winner, (dearer,) = chosen([trial(PLAIN, p95_ms=4.0), trial(TWO_WORKERS, p95_ms=1.0)])
    assert winner == PLAIN
    assert (dearer.rival.profile, dearer.by) == (LARGE, "price")


def test_what_does_not_meet_the_sla_loses_for_that(trial: MakeTrial) -> None:
    winner, (broken,) = chosen([trial(PLAIN), trial(SLOW, verdict="FAIL", violation=0.5)])
    assert winner == PLAIN
    assert (broken.rival.trial.configuration, broken.by) == (SLOW, "sla")


def test_where_nothing_meets_the_sla_its_distance_decides_whatever_the_price_and_the_latency(trial: MakeTrial) -> None:
    winner, found = chosen(
        [
            trial(TWO_WORKERS, p95_ms=9.0, verdict="FAIL", violation=0.1),
            trial(PLAIN, p95_ms=4.0, verdict="FAIL", violation=0.5),
        ]
    )
    assert winner == TWO_WORKERS
    assert [(choice.rival.trial.configuration, choice.by) for choice in found] == [(PLAIN, "sla")]


def test_the_next_best_of_the_profile_comes_before_the_best_of_the_next_size(trial: MakeTrial) -> None:
    _, found = chosen([trial(PLAIN), trial(SLOW, p95_ms=2.0), trial(TWO_WORKERS)])
    assert [choice.rival.trial.configuration for choice in found] == [SLOW, TWO_WORKERS]


def test_what_did_the_same_as_the_winner_is_no_rival(trial: MakeTrial) -> None:
    def alone_in_every_call(tested: Trial) -> Trial:
        assert tested.at_rate is not None
        return replace(tested, at_rate=replace(tested.at_rate, largest_call=1))

    plain, batched = trial(PLAIN, p95_ms=1.1), trial(BATCHED, p95_ms=1.0)
    assert len(chosen([plain, batched])[1]) == 1
    winner, found = chosen([alone_in_every_call(plain), alone_in_every_call(batched)])
    assert (winner, found) == (PLAIN, ())


def test_without_a_rate_full_load_decides(trial: MakeTrial) -> None:
    winner, (slower,) = chosen(
        [trial(PLAIN, throughput_per_s=900.0, p95_ms=1.0), trial(BATCHED, throughput_per_s=2000.0, p95_ms=9.0)],
        JobRequest(name="job"),
    )
    assert winner == BATCHED
    assert (slower.rival.trial.configuration, slower.by) == (PLAIN, "figure")


def test_jobs_from_before_rank_by_what_a_configuration_answers_at_full_load(trial: MakeTrial) -> None:
    trials = [trial(PLAIN, throughput_per_s=900.0, p95_ms=1.0), trial(BATCHED, throughput_per_s=2000.0, p95_ms=9.0)]
    assert chosen(trials)[0] == PLAIN
    assert chosen(trials, replace(AT_RATE, decided_at="capacity"))[0] == BATCHED


def test_a_winner_without_rivals_was_not_chosen(trial: MakeTrial) -> None:
    assert chosen([trial(PLAIN)]) == (PLAIN, ())
