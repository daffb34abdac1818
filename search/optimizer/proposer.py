"""Which configuration is measured next: where measuring is expected to pay most, then what Optuna would try.

Predictions come first. Every envelope size gets its best configuration measured, then whatever is expected to improve
most on the best so far, or, while nothing keeps the limits, whatever may, or may come closest. When nothing is expected
to gain more than a fraction of a per cent, the tree-structured Parzen estimator, which knows no predictions and so does
not share their errors, gets a share of the tests; then the search is over. Where the figure of a job cannot be
predicted, every backend is tried in its plainest form, and the estimator proposes the rest. A space that fits into the
tests is measured whole. Nothing is measured twice.
"""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.search.optimizer.expected_improvement import improvement
from servefit.search.optimizer.parzen import Outcome, Proposals
from servefit.search.request.space import starting_points
from servefit.search.results.objectives.guarded import explored
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.price import Price
from servefit.search.results.ranking import score_of
from servefit.search.results.standings import latency_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import Promise
    from servefit.search.optimizer.predictions import Outlook
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.objectives.score import Score
    from servefit.search.results.recommendation import Trial

_log = logging.getLogger(__name__)

WORTH_MEASURING = 0.003
"""An expected improvement below 0.3 % is not worth a test."""

PARZEN_EVERY = 5
"""One test in so many is left to the Parzen estimator, once predictions promise nothing more."""

_LIKELY = 0.5

_UNKNOWN = 1e9
"""What the estimator is told for a figure that is not known: it takes no infinite ones, and nothing is as bad."""

Source: TypeAlias = Literal["grid", "prediction", "parzen"]

AtOnce: TypeAlias = "Callable[[Sequence[int]], bool]"
"""Whether envelopes of so many vCPUs fit onto the host side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to measure, whose idea it was, and by which part that is expected to improve on the best, if anybody knows:
    infinitely where nothing of that size was measured yet."""

    configuration: Configuration
    source: Source
    gain: float | None = None


class Proposer:
    """Proposes configurations of ``grid``; told of every trial and every failure.

    ``outlook`` is None where nothing was timed beforehand: then every backend is tried in its plainest form, and the
    Parzen estimator proposes the rest.
    """

    def __init__(
        self, grid: Sequence[Configuration], request: JobRequest, *, outlook: Outlook | None, exhaustive: bool
    ) -> None:
        self._grid = dict.fromkeys(grid)
        self._plainest = starting_points(grid)
        self._request = request
        self._outlook = outlook
        self._exhaustive = exhaustive
        self._objective = objective_of(request)
        self._parzen = Proposals(grid, objectives=self._objective.explored_by, seed=request.seed)
        self._settled: dict[Configuration, Trial | None] = {}
        self._running: set[Configuration] = set()
        self._left_out: set[Configuration] = set()
        self._by_parzen = 0
        self._assumed: list[Score] = []

    def rehearse(self, most: int) -> list[Promise | None]:
        """What would be proposed from now on, up to ``most``, if all of it, and what is running, turned out as
        expected: its promises, None for what nothing is expected of, or whose promise makes no difference. Nothing is
        decided by that."""
        if self._exhaustive:
            return [None] * min(most, len(self._left()))
        other = copy(self)
        other._settled, other._running, other._assumed = dict(self._settled), set(self._running), []
        if self._outlook is not None:
            other._outlook = self._outlook.copy()
        for one in self._running:
            other._assume(one)
        found: list[Promise | None] = []
        while len(found) < most and (proposed := other._rehearsed()) is not None:
            found.append(other._assume(proposed))
        return found

    def _assume(self, configuration: Configuration) -> Promise | None:
        """Take it for measured, with the figures that are expected of it, which are what it promised."""
        self._settle(configuration, None)
        if self._outlook is None:
            return None
        promise = self._outlook.promise(configuration)
        self._outlook.assume(configuration)
        if promise is not None and promise.feasible > _LIKELY:
            self._assumed.append(promise.score)
        return promise

    def _rehearsed(self) -> Configuration | None:
        left = self._left()
        if not left or self._outlook is None:
            return left[0] if left else None
        promises, unforeseen = self._outlook.foreseen(left)
        if (plain := self._plainest_of(unforeseen)) is not None:
            return plain
        if (found := self._predicted(self._outlook, promises)) is not None:
            return found[0]
        if self._by_parzen * PARZEN_EVERY >= len(self._taken()) and not (unforeseen and not promises):
            return None
        # Asking the estimator would change what it says next.
        self._by_parzen += 1
        return left[0]

    def next(self, *, beside: Sequence[Configuration] = (), at_once: AtOnce | None = None) -> Proposal | None:
        """What to measure next, None when nothing is worth it or nothing is left. Every proposal is answered by
        ``learn`` or ``fail``; others may be asked for meanwhile, to be measured ``beside`` those: then only what can be
        measured ``at_once`` with them is proposed, and nothing that would share a GPU's time with another."""
        left = self._left()
        if beside and at_once is not None:
            fitting = {
                vcpus for vcpus in {one.vcpus for one in left} if at_once([*(one.vcpus for one in beside), vcpus])
            }
            left = [one for one in left if one.vcpus in fitting]
        if any(one.gpu is not None for one in beside):
            left = [one for one in left if one.gpu is None]
        if not left:
            return None
        proposal = self._propose(left)
        if proposal is not None:
            self._running.add(proposal.configuration)
            self._by_parzen += proposal.source == "parzen"
            _log.debug("%s, expected gain %s: %s", proposal.source, proposal.gain, proposal.configuration)
        else:
            _log.debug("nothing is worth measuring any more, of %d configurations that are left", len(left))
        return proposal

    def learn(self, trial: Trial) -> None:
        """``trial`` was measured, and the machine did not get in the way. One outside the grid tells nothing."""
        if trial.configuration not in self._grid:
            return
        self._settle(trial.configuration, trial)
        self._parzen.learn(trial.configuration, Outcome(objectives=self._explored(trial), violation=trial.violation))
        if self._outlook is not None:
            self._outlook.learn(trial)

    def fail(self, configuration: Configuration) -> None:
        """``configuration`` could not be measured."""
        if configuration not in self._grid:
            return
        self._settle(configuration, None)
        self._parzen.learn(configuration, None)

    def leave_out(self, configurations: Iterable[Configuration]) -> None:
        """Propose none of ``configurations`` any more. That says nothing about them."""
        self._left_out.update(configurations)

    def _settle(self, configuration: Configuration, trial: Trial | None) -> None:
        self._running.discard(configuration)
        self._settled[configuration] = trial

    def _propose(self, left: Sequence[Configuration]) -> Proposal | None:
        if self._exhaustive:
            return Proposal(configuration=self._most_promising(left), source="grid")
        promises: Sequence[Promise] = ()
        unforeseen = left
        if self._outlook is not None:
            promises, unforeseen = self._outlook.foreseen(left)
        if (plain := self._plainest_of(unforeseen)) is not None:
            return Proposal(configuration=plain, source="grid")
        if self._outlook is not None and (found := self._predicted(self._outlook, promises)) is not None:
            return Proposal(configuration=found[0], source="prediction", gain=found[1])
        if self._by_parzen * PARZEN_EVERY < len(self._taken()) or (unforeseen and not promises):
            return self._by_the_parzen_estimator(left)
        return None

    def _plainest_of(self, unforeseen: Sequence[Configuration]) -> Configuration | None:
        """What to begin with among those whose figure nobody can tell; None once each backend was tried."""
        if not unforeseen:
            return None
        among = set(unforeseen)
        return next((one for one in self._plainest if one in among), None)

    def _explored(self, trial: Trial) -> tuple[float, ...]:
        context = context_of(self._request, Price.in_vcpus(trial.configuration.vcpus))
        figures = explored(self._objective, trial, context)
        return tuple(_UNKNOWN if one is None else min(one, _UNKNOWN) for one in figures)

    def _by_the_parzen_estimator(self, left: Sequence[Configuration]) -> Proposal:
        return Proposal(configuration=self._parzen.next(frozenset(left)), source="parzen")

    def _left(self) -> list[Configuration]:
        gone = self._settled.keys() | self._running | self._left_out
        return [one for one in self._grid if one not in gone]

    def _taken(self) -> Collection[Configuration]:
        return self._settled.keys() | self._running

    def _most_promising(self, left: Sequence[Configuration]) -> Configuration:
        """In an exhaustive search the order only matters to whoever interrupts it."""
        promises = [] if self._outlook is None else self._outlook.at_best(left)
        if promises:
            return min(promises, key=lambda one: one.score).configuration
        return next((one for one in self._plainest if one in left), left[0])

    def _predicted(self, outlook: Outlook, promises: Sequence[Promise]) -> tuple[Configuration, float] | None:
        """What predictions say, and by how much it is expected to improve; None when they promise nothing more.
        ``promises`` are what could be had at best."""
        promises = sorted(promises, key=lambda one: one.score)
        if (first := self._first_of_its_size(promises)) is not None:
            return first, inf
        best, nearest = self.best_score(), self._nearest()
        chosen, most = None, WORTH_MEASURING
        for optimistic in promises:
            # Limits and latency can only make it less, and take a simulation to know.
            if improvement(optimistic, best) <= most:
                continue
            promise = outlook.promise(optimistic.configuration)
            if promise is not None and (gain := improvement(promise, best, nearest)) > most:
                chosen, most = promise.configuration, gain
        return None if chosen is None else (chosen, most)

    def _first_of_its_size(self, promises: Sequence[Promise]) -> Configuration | None:
        """The best of an envelope size of which nothing was tried, the largest first: every profile gets an answer."""
        tried = {one.vcpus for one in self._taken()}
        missing = sorted({one.configuration.vcpus for one in promises} - tried, reverse=True)
        if not missing:
            return None
        return next(one.configuration for one in promises if one.configuration.vcpus == missing[0])

    def best_score(self) -> Score | None:
        """The best score of what keeps the limits; None while nothing does."""
        if self._outlook is None:
            return None
        measured = [
            score_of(trial, self._outlook.price(trial.configuration), self._request)
            for trial in self._settled.values()
            if trial is not None and trial.verdict == "PASS"
        ]
        return min([*measured, *self._assumed], default=None)

    def _nearest(self) -> float | None:
        """By how many times the limits were exceeded at least, None where nothing exceeded them."""
        trials = [one for one in self._settled.values() if one is not None and one.verdict == "FAIL"]
        return min((1 + one.violation for one in trials), default=None)


def objectives(trial: Trial) -> tuple[float, float]:
    """What the study that is kept minimises, whatever the job is about: vCPU-seconds an inference, since prices differ
    between profiles of one size, and p95 in ms."""
    throughput = trial.capacity.throughput_per_s
    return (trial.configuration.vcpus / throughput if throughput else _UNKNOWN), min(latency_ms(trial), _UNKNOWN)
