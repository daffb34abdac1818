"""Figures of what a deployment costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from servefit.profiler.machine.instance_profile import USD
from servefit.quantities import currency_sign
from servefit.search.figures.contract import Figure
from servefit.search.results.objectives.cost import vcpu_s_per_million
from servefit.search.results.price import INFERENCES

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Recommendation

COST_PER_HOUR = Figure(
    name="cost_per_hour",
    title="$/hour",
    unit="money",
    meaning="The price of all instances together, in `currency`; unknown where the profile has no price.",
    of_recommendation=lambda recommendation: recommendation.cost_per_hour,
)

COST_PER_INFERENCE = Figure(
    name="cost_per_inference",
    title="$/million",
    unit="money",
    meaning=(
        "The price of an inference, in tables of a million, with the instances fully used, in `currency`: "
        "cost per hour / (60 x max a minute)."
    ),
    scale=INFERENCES,
    of_recommendation=lambda recommendation: recommendation.cost_per_inference,
)

VCPU_S_PER_MILLION = Figure(
    name="vcpu_s_per_million",
    title="vCPU-s/million",
    unit="vCPU-seconds",
    meaning=(
        "What a million inferences cost where there is no price, with the instances fully used: vCPUs of an instance x "
        "1,000,000 / the most that it answers a second."
    ),
    of_trial=vcpu_s_per_million,
)

CURRENCY = Figure(
    name="currency",
    title="currency",
    unit=None,
    digits=None,
    meaning="The currency of the price, as ISO 4217 has it; unknown where the profile has no price.",
    only_where_known=True,
    of_recommendation=lambda recommendation: _of_price(recommendation, recommendation.profile.currency),
)

REGION = Figure(
    name="region",
    title="region",
    unit=None,
    digits=None,
    meaning="Where that is the price.",
    only_where_known=True,
    of_recommendation=lambda recommendation: _of_price(recommendation, recommendation.profile.region),
)

PRICE_DATE = Figure(
    name="price_date",
    title="price date",
    unit=None,
    digits=None,
    meaning="When that was the price, a day or a year.",
    only_where_known=True,
    of_recommendation=lambda recommendation: _of_price(recommendation, recommendation.profile.price_date),
)


def in_their_currency(figures: Iterable[Figure], recommendations: Iterable[Recommendation]) -> tuple[Figure, ...]:
    """Return ``figures`` with the currency of ``recommendations``, which have one, in the titles of those that are
    money."""
    priced = (chosen.profile.currency for chosen in recommendations if chosen.profile.price_per_hour is not None)
    sign = currency_sign(next(priced, USD))
    in_money = (COST_PER_HOUR.name, COST_PER_INFERENCE.name)
    return tuple(
        figure.titled(figure.title.replace("$", sign)) if figure.name in in_money else figure for figure in figures
    )


def _of_price(recommendation: Recommendation, value: str | None) -> str | None:
    """Return what is known of the price, None where there is none."""
    return None if recommendation.profile.price_per_hour is None else value
