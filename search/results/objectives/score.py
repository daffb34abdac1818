"""Scores, which are compared in the end: whether there is a price, what all instances cost, and the figure of the
objective."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servefit.search.results.objectives.contract import Context, Objective


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Score:
    """A score, compared field by field in this order; ``figure`` is what the search tries to improve within the ranks
    before it. Less is better."""

    unpriced: bool
    per_hour: float
    figure: float


def score_of_figure(objective: Objective, figure: float | None, context: Context, *, instances: int) -> Score:
    """Return the score of a configuration whose figure by ``objective`` is ``figure``, of which it takes so many
    ``instances``. What has no figure comes behind what has one."""
    paid = objective.paid_by_the_hour and context.rate_per_s is not None
    return Score(
        unpriced=objective.priced and context.price.unpriced,
        per_hour=context.price.per_hour * instances if paid else 0.0,
        figure=inf if figure is None else objective.lower(figure),
    )
