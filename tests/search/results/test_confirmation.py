"""What became of measuring a winner again, and whether noise left open what to deploy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from servefit.profiler.evidence.problem import Problem
from servefit.profiler.machine.instance_profile import InstanceProfile
from servefit.profiler.record.types import Configuration
from servefit.search.results.confirmation import confirmation_of, is_too_noisy
from servefit.search.results.ranking import recommendation

if TYPE_CHECKING:
    from tests.search.conftest import MakeTrial

    from servefit.profiler.evidence.limits import Verdict
    from servefit.search.results.recommendation import Trial

WINNER = Configuration(vcpus=1, backend="winner")
OTHER = Configuration(vcpus=1, backend="other")
PROFILE = InstanceProfile(name="local-1c", vcpus=1, memory_bytes=2**30)
BUSY = Problem(kind="competing load", reason="other processes used 90 % of a CPU", remedy="stop them")


def disturbed(trial: Trial) -> Trial:
    return replace(trial, verdict="INVALID", problems=(BUSY,), reason=BUSY.reason)


def test_a_winner_that_was_measured_again_is_confirmed_whatever_came_of_it(trial: MakeTrial) -> None:
    for verdict in ("PASS", "FAIL", "UNDECIDED"):
        again = trial(WINNER, verdict=verdict)
        found = confirmation_of(again, [trial(OTHER), again])
        assert (found.outcome, found.is_confirmed, found.reason) == ("confirmed", True, None)


def test_what_was_predicted_is_not_confirmed_by_measuring_the_model_again(trial: MakeTrial) -> None:
    found = confirmation_of(replace(trial(WINNER), basis="predicted"), [trial(WINNER)])
    assert (found.outcome, found.is_confirmed) == ("predicted", False)
    assert found.reason == "it was predicted: no CPU was left to load the endpoint from"


def test_rounds_and_the_second_measurement_of_another_confirm_nothing(trial: MakeTrial) -> None:
    found = confirmation_of(trial(WINNER), [trial(WINNER, nth_round=0), trial(WINNER, nth_round=1), trial(OTHER)])
    assert (found.outcome, found.reason) == ("not made", "it was not measured again")


def test_a_second_measurement_that_was_disturbed_says_what_got_in_the_way(trial: MakeTrial) -> None:
    found = confirmation_of(trial(WINNER), [trial(WINNER, nth_round=0), disturbed(trial(WINNER))])
    assert (found.outcome, found.is_confirmed, found.problem) == ("disturbed", False, BUSY)
    assert found.reason == f"the machine got in the way of the second measurement: {BUSY.reason}"


def test_a_job_that_was_taken_up_again_and_measured_it_once_more_has_confirmed_it(trial: MakeTrial) -> None:
    again = trial(WINNER)
    assert confirmation_of(again, [disturbed(trial(WINNER)), again]).is_confirmed


def test_noise_leaves_open_what_to_deploy_where_nothing_else_failed(trial: MakeTrial) -> None:
    expected: dict[Verdict, bool] = {"PASS": True, "UNDECIDED": True, "FAIL": False, "INVALID": True}
    for verdict, too_noisy in expected.items():
        first = trial(WINNER, verdict=verdict)
        found = recommendation(PROFILE, first)
        for confirmations, noisy in (([disturbed(trial(WINNER))], too_noisy), ([], verdict == "INVALID")):
            confirmed = replace(found, confirmation=confirmation_of(first, confirmations))
            assert is_too_noisy(confirmed) == noisy
