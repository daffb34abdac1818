"""Ratios of two configurations, and how sure they are.

The finalists are measured again in rounds, one after the other in an order drawn anew, so that what the machine does
meanwhile happens to all of them. Ratios and their intervals come from those rounds alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, fsum, inf, log
from typing import TYPE_CHECKING

from servefit.profiler.evidence.intervals import MIN_VALUES, mean_interval
from servefit.search.results.objectives.registry import context_of, objective_of
from servefit.search.results.pooled_trials import without_disturbed_rounds
from servefit.search.results.price import Price
from servefit.showing import shown

if TYPE_CHECKING:
    from servefit.profiler.record.types import Configuration
    from servefit.search.request.job_request import JobRequest
    from servefit.search.results.recommendation import Trial

MIN_ROUNDS = MIN_VALUES
"""Rounds that an interval takes."""

_SAME_PRICE = Price(unpriced=False, per_hour=1.0)
"""Both are compared on the same instance, so that what it costs makes no difference."""


@shown()
@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """The times that one configuration is better than another by ``metric``: above 1, the first is the better one.
    ``words`` stand behind the ratio: "times the throughput".

    ``ci95`` is the 95 % interval over the ``rounds`` in which both were measured in turns, None for fewer than three.
    """

    metric: str
    ratio: float
    ci95: tuple[float, float] | None
    rounds: int
    words: str = "times as good"


def ratio(trials: Iterable[Trial], first: Configuration, second: Configuration, request: JobRequest) -> Ratio | None:
    """Return how much better ``first`` is than ``second`` in the rounds among ``trials``, None if no round has both.

    By the figure that ``request`` is about, on an instance of the same price. Rounds in which the machine got in the
    way of any are left out. Raises ObjectiveError.
    """
    logs = log_ratios(trials, first, second, request)
    if not logs:
        return None
    objective, context = objective_of(request), context_of(request, _SAME_PRICE)
    interval = None
    if len(logs) >= MIN_ROUNDS:
        low, high = mean_interval(logs)
        interval = (exp(low), exp(high))
    return Ratio(
        metric=objective.compared_by(context),
        words=objective.times_better(context),
        ratio=exp(fsum(logs) / len(logs)),
        ci95=interval,
        rounds=len(logs),
    )


def log_ratios(
    trials: Iterable[Trial], first: Configuration, second: Configuration, request: JobRequest
) -> list[float]:
    """Return the logarithms of how many times better ``first`` is than ``second``, round by round of those that have
    both; see ``ratio``."""
    objective, context = objective_of(request), context_of(request, _SAME_PRICE)

    def lower(trial: Trial) -> float:
        figure = objective.of_trial(trial, context)
        return inf if figure is None else objective.lower(figure)

    figures = [(lower(mine), lower(theirs)) for mine, theirs in rounds_of_both(trials, first, second)]
    return [log(theirs / mine) for mine, theirs in figures if 0 < mine < inf and 0 < theirs < inf]


def rounds_of_both(trials: Iterable[Trial], first: Configuration, second: Configuration) -> list[tuple[Trial, Trial]]:
    """Return the tests of ``first`` and ``second`` in the rounds that had both and were not disturbed, in order."""
    valid = [trial for trial in without_disturbed_rounds(trials) if trial.round is not None]
    mine = {trial.round: trial for trial in valid if trial.configuration == first}
    theirs = {trial.round: trial for trial in valid if trial.configuration == second}
    return [(trial, theirs[nth]) for nth, trial in mine.items() if nth in theirs]
