"""The choice of the configuration to measure next: where measuring is expected to pay most, then what Optuna would try.

Predictions come first. Every envelope size gets its best configuration measured, then whatever is expected to improve
most on the best so far, or, while nothing keeps the limits, whatever may, or may come closest. When nothing is expected
to gain more than a fraction of a per cent, the tree-structured Parzen estimator, which knows no predictions and so does
not share their errors, gets a share of the tests; then the search is over. Where nothing that is left can be predicted,
every backend is tried in its plainest form, and the estimator proposes the rest. A space that fits into the
tests is measured whole. Nothing is measured twice.
"""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.search.optimizer.equals import preferred_equal
from servefit.search.optimizer.expected_improvement import LIKELY, improvement
from servefit.search.optimizer.gaussian_process import CAPACITY_NOISE, LATENCY_NOISE
from servefit.search.optimizer.parzen import Outcome, ParzenEstimator
from servefit.search.request.space import starting_points
from servefit.search.results.objectives.latency import Latency
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.pooled_trials import vcpu_s_and_p95_ms
from servefit.search.results.price import Price
from servefit.search.results.ranking import score_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from servefit.profiler.record.types import Configuration
    from servefit.search.optimizer.expected_improvement import ExpectedScore
    from servefit.search.optimizer.predictions import Surrogate
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.objectives.score import Score
    from servefit.search.results.recommendation import Trial

_log = logging.getLogger(__name__)

WORTH_MEASURING = 0.075
"""An expected improvement below this part of the noise is not worth a test: 0.3 % of capacity, which two measurements
of one configuration differ in by 4 %, and 1.5 % of p95 (``gaussian_process``). Chosen, not measured."""

PARZEN_EVERY = 5
"""One test in so many is left to the Parzen estimator, once predictions promise nothing more. Chosen, not measured."""

_UNKNOWN = 1e9
"""The figure that the estimator gets for one that is not known: it takes no infinite ones, and nothing is as bad."""

Source: TypeAlias = Literal["grid", "prediction", "parzen"]

FitAtOnce: TypeAlias = "Callable[[Sequence[int]], bool]"
"""Returns whether envelopes of so many vCPUs fit onto the host side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A configuration to measure, the ``source`` of the proposal, and the ``gain``: the part by which it is expected to
    improve on the best, None where that is not known, infinite where nothing of its size was measured yet."""

    configuration: Configuration
    source: Source
    gain: float | None = None


class Proposer:
    """A proposer of configurations of ``grid``, which learns from every trial and every failure. ``surrogate`` predicts
    what it can of them, which may be nothing."""

    def __init__(
        self, grid: Sequence[Configuration], request: JobRequest, *, surrogate: Surrogate, exhaustive: bool
    ) -> None:
        self._grid = dict.fromkeys(grid)
        self._plainest = starting_points(grid)
        self._request = request
        self._surrogate = surrogate
        self._exhaustive = exhaustive
        self._objective = objective_of(request)
        self._parzen = ParzenEstimator(grid, objectives=self._objective.explored_by, seed=request.seed)
        self._settled: dict[Configuration, Trial | None] = {}
        self._running: set[Configuration] = set()
        self._left_out: set[Configuration] = set()
        self._by_parzen = 0
        self._assumed: list[Score] = []

    def rehearse(self, max_proposals: int) -> list[ExpectedScore | None]:
        """Return what would be proposed from now on, up to ``max_proposals``, if all of it, and what is running, turned
        out as expected: the expected scores, None for what nothing is expected of, or whose score makes no difference.
        Nothing is decided by that."""
        if self._exhaustive:
            return [None] * min(max_proposals, len(self._left()))
        other = copy(self)
        other._settled, other._running, other._assumed = dict(self._settled), set(self._running), []
        other._surrogate = self._surrogate.copy()
        for running in self._running:
            other._assume(running)
        rehearsed: list[ExpectedScore | None] = []
        while len(rehearsed) < max_proposals and (proposed := other._rehearsed()) is not None:
            rehearsed.append(other._assume(proposed))
        return rehearsed

    def _assume(self, configuration: Configuration) -> ExpectedScore | None:
        """Take ``configuration`` for measured, with the figures that are expected of it, and return its expected
        score."""
        self._settle(configuration, None)
        expected_score = self._surrogate.expected_score(configuration)
        self._surrogate.assume(configuration)
        if expected_score is not None and expected_score.feasible > LIKELY:
            self._assumed.append(expected_score.score)
        return expected_score

    def _rehearsed(self) -> Configuration | None:
        """Return what ``next`` would propose, without a change to the Parzen estimator; None where it is nothing."""
        left = self._left()
        if not left:
            return None
        expected_scores, unpredictable = self._split_by_predictability(left)
        if (plain := self._plainest_of(unpredictable)) is not None:
            return plain
        if (best := self._predicted(expected_scores)) is not None:
            return best[0]
        if self._by_parzen * PARZEN_EVERY >= len(self._taken()) and not (unpredictable and not expected_scores):
            return None
        # Asking the estimator would change what it says next.
        self._by_parzen += 1
        return left[0]

    def next(self, *, beside: Sequence[Configuration] = (), fit_at_once: FitAtOnce | None = None) -> Proposal | None:
        """Propose what to measure next, None when nothing is worth it or nothing is left. Every proposal is answered by
        ``learn`` or ``fail``; others may be asked for meanwhile, to be measured ``beside`` those: then only what can be
        measured ``fit_at_once`` with them is proposed, and nothing that would share a GPU's time with another."""
        left = self._left()
        if beside and fit_at_once is not None:
            vcpus_beside = [configuration.vcpus for configuration in beside]
            sizes = {configuration.vcpus for configuration in left}
            fitting = {vcpus for vcpus in sizes if fit_at_once([*vcpus_beside, vcpus])}
            left = [configuration for configuration in left if configuration.vcpus in fitting]
        if any(configuration.gpu is not None for configuration in beside):
            left = [configuration for configuration in left if configuration.gpu is None]
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
        """Take ``trial`` into account, in which the machine did not get in the way. Outside the grid it tells
        nothing."""
        if trial.configuration not in self._grid:
            return
        self._settle(trial.configuration, trial)
        self._leave_out_twins(trial)
        self._parzen.learn(trial.configuration, Outcome(objectives=self._explored(trial), violation=trial.violation))
        self._surrogate.learn(trial)

    def fail(self, configuration: Configuration) -> None:
        """Take into account that ``configuration`` could not be measured."""
        if configuration not in self._grid:
            return
        self._settle(configuration, None)
        self._parzen.learn(configuration, None)

    def leave_out(self, configurations: Iterable[Configuration]) -> None:
        """Propose none of ``configurations`` any more. That says nothing about them."""
        self._left_out.update(configurations)

    def _leave_out_twins(self, trial: Trial) -> None:
        """Propose nothing any more that does what ``trial`` did at the rate asked: where no call was full, it makes no
        difference how many more requests might have been joined, or how many fewer down to the largest call."""
        configuration = trial.configuration
        largest = None if trial.at_rate is None else trial.at_rate.largest_call
        # Larger calls might save instances where there are several, and other goals depend on capacity.
        by_latency = trial.instance_count == 1 and isinstance(self._objective, Latency)
        if (
            by_latency
            and largest is not None
            and largest < configuration.max_batch
            and not configuration.batch_delay_us
        ):
            self._left_out.update(
                twin
                for twin in self._grid
                if twin.max_batch >= largest and replace(twin, max_batch=configuration.max_batch) == configuration
            )

    def _settle(self, configuration: Configuration, trial: Trial | None) -> None:
        """Keep the outcome for ``configuration``, which is not proposed again."""
        self._running.discard(configuration)
        self._settled[configuration] = trial

    def _propose(self, left: Sequence[Configuration]) -> Proposal | None:
        """Choose one of ``left``, which is not empty; None where nothing is worth a test."""
        if self._exhaustive:
            return Proposal(configuration=self._most_promising(left), source="grid")
        expected_scores, unpredictable = self._split_by_predictability(left)
        if (plain := self._plainest_of(unpredictable)) is not None:
            return Proposal(configuration=plain, source="grid")
        if (best := self._predicted(expected_scores)) is not None:
            chosen, gain = best
            if isinstance(self._objective, Latency):
                chosen = preferred_equal(chosen, left, self._surrogate)
            return Proposal(configuration=chosen, source="prediction", gain=gain)
        if self._by_parzen * PARZEN_EVERY < len(self._taken()) or (unpredictable and not expected_scores):
            return self._by_the_parzen_estimator(left)
        return None

    def _split_by_predictability(
        self, left: Sequence[Configuration]
    ) -> tuple[Sequence[ExpectedScore], Sequence[Configuration]]:
        """Return the optimistic scores of ``left``, and those whose figure cannot be predicted. What no call was timed
        of is among the latter only where nothing is known of any of ``left``: else it is left to the Parzen
        estimator."""
        expected_scores, unpredictable = self._surrogate.split_by_predictability(left)
        return expected_scores, unpredictable if expected_scores or unpredictable else left

    def _plainest_of(self, unpredictable: Sequence[Configuration]) -> Configuration | None:
        """Return what to begin with among those whose figure cannot be predicted; None once each backend was tried."""
        if not unpredictable:
            return None
        among = set(unpredictable)
        return next((plain for plain in self._plainest if plain in among), None)

    def _explored(self, trial: Trial) -> tuple[float, ...]:
        """Return the figures of ``trial`` that the Parzen estimator minimises."""
        context = context_of(self._request, Price.in_vcpus(trial.configuration.vcpus))
        figures = self._objective.explored(trial, context)
        return tuple(_UNKNOWN if figure is None else min(figure, _UNKNOWN) for figure in figures)

    def _by_the_parzen_estimator(self, left: Sequence[Configuration]) -> Proposal:
        """Return what the Parzen estimator would try next of ``left``."""
        return Proposal(configuration=self._parzen.next(frozenset(left)), source="parzen")

    def _left(self) -> list[Configuration]:
        """Return the configurations that may still be proposed."""
        gone = self._settled.keys() | self._running | self._left_out
        return [configuration for configuration in self._grid if configuration not in gone]

    def _taken(self) -> Collection[Configuration]:
        """Return the configurations that were measured, or are being."""
        return self._settled.keys() | self._running

    def _most_promising(self, left: Sequence[Configuration]) -> Configuration:
        """Return the configuration with the best optimistic score. In an exhaustive search the order only matters if
        it is interrupted."""
        expected_scores = self._surrogate.optimistic_scores(left)
        if expected_scores:
            return min(expected_scores, key=lambda expected: expected.score).configuration
        return next((plain for plain in self._plainest if plain in left), left[0])

    def _predicted(self, expected_scores: Sequence[ExpectedScore]) -> tuple[Configuration, float] | None:
        """Return the configuration from which predictions expect most, and the expected improvement; None when they
        promise nothing more. ``expected_scores`` are the optimistic ones."""
        expected_scores = sorted(expected_scores, key=lambda expected: expected.score)
        if (first := self._first_of_its_size(expected_scores)) is not None:
            return first, inf
        best, nearest = self.best_score(), self._nearest()
        noise = self._objective.uncertainty(CAPACITY_NOISE, LATENCY_NOISE)
        chosen, largest_gain = None, WORTH_MEASURING * noise
        for optimistic in expected_scores:
            # Limits and latency can only make it less, and take a simulation to know.
            if improvement(optimistic, best) <= largest_gain:
                continue
            expected_score = self._surrogate.expected_score(optimistic.configuration)
            if expected_score is not None and (gain := improvement(expected_score, best, nearest)) > largest_gain:
                chosen, largest_gain = expected_score.configuration, gain
        return None if chosen is None else (chosen, largest_gain)

    def _first_of_its_size(self, expected_scores: Sequence[ExpectedScore]) -> Configuration | None:
        """Return the best of an envelope size of which nothing was tried: every profile gets an answer. The largest
        size comes first, or, where the price of carrying a rate counts, the cheapest. None where all were tried."""
        tried = {configuration.vcpus for configuration in self._taken()}
        sizes = {expected.configuration.vcpus for expected in expected_scores}
        missing = sorted(sizes - tried, reverse=True)
        if not missing:
            return None
        if self._objective.paid_by_the_hour and self._request.sla.rate_per_s is not None:
            # The cheapest that carries the rate is the answer.
            return next(
                expected.configuration for expected in expected_scores if expected.configuration.vcpus in missing
            )
        return next(
            expected.configuration for expected in expected_scores if expected.configuration.vcpus == missing[0]
        )

    def best_score(self) -> Score | None:
        """Return the best score of what keeps the limits; None while nothing does."""
        kept = (trial for trial in self._settled.values() if trial is not None and trial.verdict == "PASS")
        return min([*map(self._believed_score, kept), *self._assumed], default=None)

    def _believed_score(self, trial: Trial) -> Score:
        """Return the score of ``trial``, with the figure that is expected of its configuration now that it was
        measured: the best of many measurements is partly the luckiest."""
        score = score_of(trial, self._surrogate.price(trial.configuration), self._request)
        expected = self._surrogate.expected_score(trial.configuration)
        if expected is None or not isfinite(score.figure) or not isfinite(expected.score.figure):
            return score
        return replace(score, figure=expected.score.figure)

    def _nearest(self) -> float | None:
        """Return by how many times the limits were exceeded at least, None where nothing exceeded them."""
        failed = [trial for trial in self._settled.values() if trial is not None and trial.verdict == "FAIL"]
        return min((1 + trial.violation for trial in failed), default=None)


def objectives(trial: Trial) -> tuple[float, float]:
    """Return the figures that the stored study minimises, whatever the goal of the job: vCPU-seconds of an inference,
    and p95 in ms."""
    vcpu_s, p95_ms = vcpu_s_and_p95_ms(trial)
    return min(vcpu_s, _UNKNOWN), min(p95_ms, _UNKNOWN)
