"""The turns of a search: the finalists and the naive default, measured in rounds until the best is told apart, as far
as there is time. Who is a finalist, and who leaves, is decided in ``finalists`` and ``leads``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from servefit.search.optimizer.finalists import MAX_FINALISTS, MAX_ROUNDS, finalists, remaining_finalists
from servefit.search.optimizer.leads import is_far_behind
from servefit.search.optimizer.search_state import MIN_TESTS_FOR_ROUNDS
from servefit.search.results.instances import instances_for
from servefit.search.results.measure_trial import MAX_TURN_S, turn_durations
from servefit.search.results.ratios import MIN_ROUNDS, ratio
from servefit.search.simulation.endpoint import SURVEY_S

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.bench import Bench
    from servefit.search.optimizer.search_state import SearchState
    from servefit.search.optimizer.time_left import Stage, TimeLeft
    from servefit.search.results.recommendation import Trial

_NOT_COMPARED = "the best were not compared in turns"


@dataclass(slots=True, kw_only=True)
class Turns:
    """The turns of ``search``, measured by ``bench``. ``keep`` adds a result to what the search knows, None for a test
    that failed, ``begin`` reports that a stage begins, and ``goes_on`` says whether another round may change
    anything."""

    search: SearchState
    bench: Bench
    time_left: TimeLeft
    keep: Callable[[Configuration, Trial | None], None]
    begin: Callable[[Stage, str], None]
    goes_on: Callable[[], bool] = lambda: True

    def carry_out(self) -> None:
        """Measure the finalists in turns, so that they are told apart as well as the time allows."""
        search = self.search
        if why_not := self._why_not_in_turns():
            if len(search.trials) > 1 or search.request.phases is not None:
                search.remarks.append(f"{_NOT_COMPARED}: {why_not}")
            return
        chosen, naive = self._finalists()
        coin = random.Random(search.request.seed)
        # A job that is taken up again goes on with the round after the last.
        first = 1 + max((trial.round for trial in search.trials if trial.round is not None), default=-1)
        self.time_left.set_next_round(first, _turn(chosen, naive))
        self.begin("rounds", "measuring the best in turns")
        self._know_costs_of_finalists(chosen)
        for nth in range(first, MAX_ROUNDS):
            if not self.goes_on():
                return
            if search.clock.tests_left <= len(chosen) + 1:
                naive = None
            turn = _turn(chosen, naive)
            if len(turn) < 2:
                return
            if not self._round_fits(len(turn)):
                if nth:
                    return
                chosen, naive = _pair(chosen, naive)
                turn = _turn(chosen, naive)
                if not self._round_fits(len(turn)):
                    search.remarks.append(
                        f"{_NOT_COMPARED}: {search.clock.ran_out(len(turn) * self.time_left.turn_s())}"
                    )
                    return
            self._make_round(nth, coin.sample(turn, len(turn)), turn)
            chosen, naive = self._remaining(chosen, naive, MIN_ROUNDS - (nth + 1))

    def _finalists(self) -> tuple[list[Configuration], Configuration | None]:
        """Return who takes part, and the naive default, None where it does not, or is one of them."""
        search = self.search
        chosen = finalists(
            search.recommendations(),
            search.space,
            search.hopeful_trials(),
            search.request,
            expected=search.surrogate.expected_score,
            most=self._finalists_in_time(),
        )
        naive = search.naive(chosen[0].vcpus) if chosen else None
        if naive in search.failed or naive in chosen:
            naive = None
        if any(trial.round is not None for trial in search.trials):
            return remaining_finalists(chosen, naive, search.trials, search.request, search.failed)
        return chosen, naive

    def _make_round(self, nth: int, drawn: Sequence[Configuration], turn: Sequence[Configuration]) -> None:
        """Measure those of ``turn`` in the order ``drawn``."""
        clock, longest_s = self.search.clock, 0.0
        self.time_left.set_next_round(nth, turn)
        for done, finalist in enumerate(drawn):
            began_s = clock.elapsed_s
            self.time_left.update(begun=drawn[done:])
            with self.time_left.recording("round", finalist):
                self.keep(finalist, self.bench.in_turn(finalist, nth, self._instances(finalist)))
            longest_s = max(longest_s, clock.elapsed_s - began_s)
        # The mean would be too short once the quickest of them has left.
        self.search.round_test_s = longest_s

    def _remaining(
        self, chosen: Sequence[Configuration], naive: Configuration | None, missing: int
    ) -> tuple[list[Configuration], Configuration | None]:
        """Return who takes part in the next round; so many rounds are ``missing`` for an interval."""
        search = self.search
        left, still_naive = remaining_finalists(chosen, naive, search.trials, search.request, search.failed)
        naive = None if still_naive is None else self._naive_default_tested(naive, left)
        if naive is not None and left and not self._is_worth_rounds(naive, left, missing):
            naive = None
        return left, naive

    def _why_not_in_turns(self) -> str | None:
        """Return why the best are not to be compared in turns, None where they are."""
        if self.search.request.phases is not None:  # which take their time
            return "the traffic given says what they can do"
        if self.search.clock.test_limit < MIN_TESTS_FOR_ROUNDS:
            return f"that takes {MIN_TESTS_FOR_ROUNDS} tests"
        return None if self.search.takes_turns() else "at so low a rate a turn takes too long"

    def _finalists_in_time(self) -> int:
        """Return how many finalists, beside the naive default, there are time and tests to measure as often as an
        interval takes."""
        left_s = self.search.clock.left_s - self.search.kept_for_the_end_s()
        # The last test is for the confirmation.
        in_tests = (self.search.clock.tests_left - 1) / MIN_ROUNDS - 1
        return int(min(MAX_FINALISTS, left_s / (MIN_ROUNDS * self._turn_s()) - 1, in_tests))

    def _is_worth_rounds(self, naive: Configuration, chosen: Sequence[Configuration], missing: int) -> bool:
        """Return whether the naive default stays for the rounds that are ``missing`` until they give an interval: where
        time is short, and it is far behind, the time is for those that may win."""
        fits = missing <= 0 or self._round_fits(missing * (len(chosen) + 1))
        return fits or not is_far_behind(naive, chosen[0], self.search.trials, self.search.request)

    def _naive_default_tested(
        self, naive: Configuration | None, chosen: Sequence[Configuration]
    ) -> Configuration | None:
        """Put the naive default under the load of the SLA as soon as it is ahead in the rounds, since so far it was
        only there to be compared with. Return it, None where it failed."""
        if naive is None or not chosen:
            return naive
        if any(trial.round is None for trial in self.search.trials if trial.configuration == naive):
            return naive
        lead = ratio(self.search.trials, naive, chosen[0], self.search.request)
        if lead is not None and lead.ratio > 1 and self._round_fits(1):
            self.keep(naive, self.bench.load_tests([naive])[naive])
        return None if naive in self.search.failed else naive

    def _instances(self, configuration: Configuration) -> int:
        """Return how many instances of ``configuration`` its last test held against the SLA; before one as many as have
        the capacity for it that is predicted, since one that is overloaded takes long and tells nothing. One where a
        turn at the share of so many would take too long."""
        tests = [trial for trial in self.search.trials if trial.configuration == configuration and trial.round is None]
        if tests:
            return tests[-1].instance_count
        rate_per_s = self.search.request.sla.rate_per_s
        (capacity,) = self.search.surrogate.capacities([configuration])
        if rate_per_s is None or capacity is None:
            return 1
        count = instances_for(rate_per_s, exp(capacity.log_mean))
        return count if turn_durations(self.search.request, count).at_rate_s <= MAX_TURN_S else 1

    def _round_fits(self, tests: int, *, beside_s: float = 0.0) -> bool:
        """Return whether there is room for a round, for what takes ``beside_s``, and for the confirmation and the
        closing after it."""
        expected_s = beside_s + tests * self._turn_s() + self.search.kept_for_the_end_s()
        return self.search.clock.left_s >= expected_s and self.search.clock.tests_left > tests

    def _turn_s(self) -> float:
        """Return how long a turn takes, by the longest of the last round, and before that as the tests let expect."""
        seen_s = self.search.round_test_s
        if any(trial.round is not None for trial in self.search.trials):
            return seen_s
        return max(seen_s, self.time_left.turn_s())

    def _know_costs_of_finalists(self, chosen: Sequence[Configuration]) -> None:
        """Measure what requests cost in endpoints of the very backends of those ``chosen`` that are predicted, as far
        as that leaves time for a round: calls between which a server works find colder caches than those timed alone,
        of one library more than of another."""
        for finalist in chosen:
            survey_s = SURVEY_S * self.search.clock.slowness.times
            if self.bench.is_predicted(finalist) and self._round_fits(len(chosen), beside_s=survey_s):
                self.bench.endpoint_costs(finalist)


def _turn(chosen: Sequence[Configuration], naive: Configuration | None) -> list[Configuration]:
    return [*chosen, *([] if naive is None else [naive])]


def _pair(chosen: list[Configuration], naive: Configuration | None) -> tuple[list[Configuration], Configuration | None]:
    """Return who takes part in a round of two: the first, and the naive default, which one round often tells apart; the
    second where there is no such."""
    return (chosen[:2], None) if naive is None else (chosen[:1], naive)
