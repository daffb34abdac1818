"""The guide of the search of one class of hosts: it goes on as long as that can change the plan of the fleet, confirms
its winner at the rate that the plan gives a host, and tests other hosts of the class at that rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from servefit.errors import AgentLost
from servefit.quantities import number_text
from servefit.search.fleet.fleet_job import LEFT_ALONE, NOT_PLANNED
from servefit.search.fleet.guide.fleet_guide import Standing, ToCheck
from servefit.search.fleet.guide.rate_range import RateRanges
from servefit.search.fleet.guide.spot_checks import unlike
from servefit.search.jobs.job import JobStopped
from servefit.search.optimizer.guide import ToConfirm

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.fleet.guide.fleet_guide import FleetGuide
    from servefit.search.fleet.guide.rate_range import RateRange
    from servefit.search.optimizer.search_state import SearchState
    from servefit.search.results.recommendation import Trial

LOOK_S = 0.5
"""Between two looks at what others have found."""

SPOT_CHECKS_S = 6.0
"""Kept for spot checks: a start, and loads of 3 s, on all hosts at the same time. Chosen, not measured."""

_PATIENCE, _PATIENCE_S = 0.1, 30.0
"""The part of the time of a job, or the seconds where it has no limit, for which a class waits for others whose calls
were not timed yet: another job may be measuring on their hosts. Chosen, not measured."""

_MAX_LESSONS = 200
"""More would take long to learn, and say nothing new. Chosen, not measured."""

_PART_OF_FIRST = 0.7
"""Of the time that is left, for the first confirmation. Chosen, not measured."""

_LOWER = {"FAIL": 0.75, "UNDECIDED": 0.9}
"""The part of a rate at which a class was not confirmed, that it is likely to carry: the next lower utilisation that
instances are planned for (``results.instances``), and a little less where it could not be told. Chosen, not
measured."""

_MAX_REFUTALS = 2
"""Confirmations of a configuration that failed at ever lower rates, before another is looked at. Chosen, not
measured."""

_ROUNDING = 1e-6

Check = Callable[["Configuration", float, str], "Trial | None"]
"""Tests a configuration at a rate on the host of that name; None if that could not be made."""


@dataclass(slots=True, kw_only=True)
class ClassGuide:
    """The guide of the class of that name in ``fleet``; see ``Guide``. ``check`` tests one of its hosts, and
    ``stopped`` says whether the job was asked to stop. ``confirmed_per_s`` are the rates at which configurations were
    confirmed before. ``unlike`` has the hosts that turned out not to be like the class, with what tells them from
    it."""

    host_class: str
    fleet: FleetGuide
    check: Check
    stopped: Callable[[], bool]
    confirmed_per_s: dict[Configuration, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    unlike: dict[str, str] = field(default_factory=dict)
    needs_predictions: bool = True
    left_alone: bool = False
    _ranges: RateRanges = field(default_factory=RateRanges)
    _learnt: int = 0
    _known: tuple[tuple[int, int, bool], RateRange] | None = None
    _asked: ToConfirm | None = None
    _at_most_per_s: dict[Configuration, float] = field(default_factory=dict)
    _refuted: dict[Configuration, int] = field(default_factory=dict)
    _disturbed: bool = False
    _came_s: float | None = None

    @property
    def kept_s(self) -> float:
        """The seconds that are kept for spot checks; see ``Guide``."""
        return SPOT_CHECKS_S if len(self.fleet.hosts[self.host_class]) > 1 else 0.0

    def goes_on(self, search: SearchState) -> bool:
        """Return whether another test on the class may change the plan; see ``Guide``."""
        if self._came_s is None:
            self._came_s = search.clock.elapsed_s
        patience_s = _PATIENCE * search.clock.limit_s if isfinite(search.clock.limit_s) else _PATIENCE_S
        while True:
            self._check_stopped()
            self._learn(search)
            patient = search.clock.elapsed_s - self._came_s < patience_s
            verdict = self.fleet.goes_on(self.host_class, self._range(search), patient=patient)
            if verdict is not None:
                self.left_alone = not verdict and not search.trials
                return verdict
            if search.clock.left_s - search.test_s <= search.kept_for_the_end_s():
                self.fleet.is_late(self.host_class)
                return False
            self.fleet.wait(LOOK_S)

    def tell(self, search: SearchState, trial: Trial) -> None:
        """Teach other classes by ``trial``, and take note of a confirmation; see ``Guide``."""
        if trial.verdict != "INVALID":
            self.fleet.teach(self.host_class, search.surrogate.lesson_of(trial))
        asked = self._asked
        if asked is None or trial.round is not None or trial.configuration != asked.configuration:
            return
        rate_per_s = asked.rate_per_s or 0.0
        if trial.verdict == "PASS" and (trial.asked_per_s or 0.0) >= rate_per_s * (1 - _ROUNDING):
            self.confirmed_per_s[trial.configuration] = rate_per_s
            self._at_most_per_s.pop(trial.configuration, None)
        elif trial.verdict in _LOWER:
            self._at_most_per_s[trial.configuration] = _LOWER[trial.verdict] * rate_per_s
            self._refuted[trial.configuration] = self._refuted.get(trial.configuration, 0) + 1
        elif not self._disturbed:
            self._disturbed = True
            self.fleet.again(self.host_class, rate_per_s)

    def to_confirm(self, search: SearchState) -> ToConfirm | None:
        """Return the winner, with the rate that the plan gives a host, until it was confirmed there; see ``Guide``.
        Other hosts of the class are tested meanwhile."""
        while True:
            self._check_stopped()
            best = self._winner(search)
            # Then no class is waited for.
            late = search.clock.left_s <= search.kept_for_the_end_s(hurried=True)
            task = self.fleet.next_task(self.host_class, self._standing(search, best), late=late)
            if task is None or search.clock.left_s <= 0:
                break
            if best is not None and isinstance(task, ToCheck):
                self._check_hosts(search, best, task)
            elif best is not None and task != "wait" and not isinstance(task, ToCheck):
                # One that fails leaves time for another, at a lower rate.
                part = _PART_OF_FIRST if self._asked is None else 1.0
                self._asked = ToConfirm(configuration=best, rate_per_s=task, part=part)
                return self._asked
            else:
                self.fleet.wait(LOOK_S)
        if self.left_alone or (best is not None and best not in self.confirmed_per_s and self._asked is None):
            search.remarks.append(LEFT_ALONE if self.left_alone else NOT_PLANNED)
        return None

    def _winner(self, search: SearchState) -> Configuration | None:
        """Return the configuration to confirm: the best, or, once one was asked for, that one: where it does not hold
        one rate it is confirmed at a lower one. After so many it is the best again, if that is another by then."""
        asked = self._asked
        if asked is None or asked.configuration in search.failed:
            return search.best()
        return asked.configuration if self._refuted.get(asked.configuration, 0) <= _MAX_REFUTALS else search.best()

    def _standing(self, search: SearchState, best: Configuration | None) -> Standing:
        if best is None:
            return Standing(likely_per_s=0.0)
        likely_per_s = self._at_most_per_s.get(best, self._range(search).likely_per_s)
        return Standing(likely_per_s=likely_per_s, confirmed_per_s=self.confirmed_per_s.get(best, 0.0))

    def _range(self, search: SearchState) -> RateRange:
        seen = self._learnt, len(search.trials), search.searched
        if self._known is None or self._known[0] != seen:
            self._known = seen, self._ranges.of(search)
        return self._known[1]

    def _learn(self, search: SearchState) -> None:
        for place, lesson in self.fleet.lessons[self._learnt : _MAX_LESSONS]:
            self._learnt += 1
            if place != self.host_class:
                search.surrogate.learn_from_elsewhere(lesson, place=place)

    def _check_hosts(self, search: SearchState, best: Configuration, asked: ToCheck) -> None:
        """Test the hosts asked for, all at the same time, and leave out those that are not like the class."""
        confirmed = [
            trial
            for trial in search.trials
            if trial.configuration == best and trial.round is None and trial.verdict == "PASS"
        ][-1]
        with ThreadPoolExecutor(len(asked.hosts), "servefit spot check") as pool:
            checked = pool.map(lambda host: self._checked(best, asked.rate_per_s, host), asked.hosts)
            for host, result in zip(asked.hosts, checked, strict=True):
                if isinstance(result, str):
                    self.remarks.append(f"{host} could not be checked: {result}")
                elif why := unlike(result, confirmed, rate_per_s=asked.rate_per_s):
                    self.unlike[host] = why
        self.fleet.leave_out(self.host_class, [host for host in asked.hosts if host in self.unlike])
        agree = [host for host in asked.hosts if host not in self.unlike]
        if agree:
            at = f"{number_text(asked.rate_per_s)} requests/s"
            self.remarks.append(f"spot-checked at {at}: {', '.join(agree)}")

    def _checked(self, best: Configuration, rate_per_s: float, host: str) -> Trial | str:
        """Return the trial of a host, or the reason why there is none. A disturbed test is made again."""
        trial: Trial | None = None
        for _ in range(2):
            try:
                trial = self.check(best, rate_per_s, host)
            except AgentLost as error:
                return error.message
            if trial is None:
                return "the test failed"
            if trial.verdict != "INVALID":
                return trial
        return "the machine got in the way" if trial is None or trial.reason is None else trial.reason

    def _check_stopped(self) -> None:
        if self.stopped():
            raise JobStopped


def confirmed_before(trials: Sequence[Trial]) -> Mapping[Configuration, float]:
    """Return the highest rate at which each configuration was confirmed by one of ``trials``, which are confirmations
    of an earlier run of the job."""
    rates_per_s: dict[Configuration, float] = {}
    for trial in trials:
        if trial.round is None and trial.verdict == "PASS":
            rates_per_s[trial.configuration] = max(rates_per_s.get(trial.configuration, 0.0), trial.asked_per_s or 0.0)
    return rates_per_s
