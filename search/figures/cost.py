"""Figures of what a deployment costs."""

from __future__ import annotations

from servefit.search.figures.contract import Figure
from servefit.search.results.price import INFERENCES

COST_PER_HOUR = Figure(
    name="cost_per_hour",
    title="$/hour",
    unit="US dollars",
    meaning="The price of all instances together; unknown where the profile has no price.",
    of_recommendation=lambda recommendation: recommendation.cost_per_hour,
)

COST_PER_INFERENCE = Figure(
    name="cost_per_inference",
    title="$/million",
    unit="US dollars",
    meaning=(
        "The price of an inference, in tables of a million, with the instances fully used: "
        "cost per hour / (60 x max a minute)."
    ),
    scale=INFERENCES,
    of_recommendation=lambda recommendation: recommendation.cost_per_inference,
)
