"""A table of customers, as companies have them: numbers with gaps, categories of a few and of many values, a short
text; and targets that depend on all of them. Everything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ["age", "income", "balance", "tenure", "calls", "share"]
WITHOUT_GAPS = ["tenure", "calls"]
CATEGORIES = ["city", "plan", "device"]
WHOLE = "branch"
TEXT = "note"

_CITIES = (
    "Rome",
    "Oslo",
    "Zürich",
    "São Paulo",
    "İzmir",
    "New York",
    "Kraków",
    "Αθήνα",
    *(f"Town {n}" for n in range(32)),
)
_WORDS = (
    *("good", "bad", "slow", "Fast", "refund", "late", "école", "naïve", "straße", "σοφός", "don't", "e-mail", "5G"),
    *(f"word{n}" for n in range(600)),
)


@dataclass(frozen=True, slots=True)
class Customers:
    """Rows of the table, whether each left, one of three grades, and what each spends, which is positive."""

    table: pd.DataFrame
    left: np.ndarray
    grade: np.ndarray
    spent: np.ndarray


def customers(rows: int = 1500, seed: int = 0) -> Customers:
    """Return a table of so many ``rows``."""
    import pandas as pd

    draw = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": draw.integers(18, 90, rows).astype(float),
            "income": np.round(draw.lognormal(10, 0.7, rows), 2),
            "balance": np.round(draw.standard_normal(rows) * 900, 2),
            "tenure": draw.integers(0, 240, rows),
            "calls": draw.poisson(3, rows),
            "share": np.round(draw.random(rows), 3),
            "city": draw.choice(np.array(_CITIES, dtype=object), rows, p=_falling(len(_CITIES))),
            "plan": draw.choice(
                np.array(["basic", "plus", "pro", "team"], dtype=object), rows, p=[0.5, 0.3, 0.15, 0.05]
            ),
            "device": draw.choice(np.array([f"device {n}" for n in range(12)], dtype=object), rows),
            "branch": draw.integers(100, 140, rows),
            "note": [" ".join(draw.choice(_WORDS, draw.integers(3, 30))) for _ in range(rows)],
        }
    )
    for column in ("age", "income", "balance", "share", "city", "device"):
        table.loc[draw.random(rows) < 0.06, column] = None if column in CATEGORIES else np.nan
    score = (
        np.nan_to_num(table["balance"].to_numpy()) / 900
        + (table["plan"] == "pro").to_numpy()
        + 0.3 * table["note"].str.count("bad").to_numpy()
        - table["tenure"].to_numpy() / 120
        + draw.standard_normal(rows) * 0.5
    )
    return Customers(table, (score > 0).astype(int), np.digitize(score, [-1, 0.5]), np.exp(score / 2) * 100)


def _falling(count: int) -> np.ndarray:
    """Return shares of which each is a bit less than the one before."""
    weights = 1 / np.arange(1, count + 1)
    shares: np.ndarray = weights / weights.sum()
    return shares
