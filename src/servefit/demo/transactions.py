"""Synthetic credit-card transactions, in the shape of the well-known public data set of two days of European payments.

That set has 284,807 rows, 492 of them frauds, with 28 anonymised components of decreasing variance, the seconds since
the first transaction, and the amount. Only its shape is used: every row is drawn from a seed. A fraud shifts a dozen
components together, by a random degree, in one of two patterns. Some frauds look like legitimate payments, and some
legitimate payments look like frauds, so no classifier is perfect.
"""

from __future__ import annotations

import numpy as np

# Components and rows are those of the public data set, which covers two days.
COMPONENTS = 28
FEATURE_NAMES = (*(f"V{nth}" for nth in range(1, COMPONENTS + 1)), "Time", "Amount")
LEGITIMATE = 284_315  # 284,807 rows with the frauds, as in the public data set
FRAUDULENT = 492  # as in the public data set

_HOURS = 48  # the two days of the public data set
_SECONDS_PER_HOUR = 3600
_TAIL_DEGREES_OF_FREEDOM = 4
"""Degrees of freedom of the components. Chosen, not fitted: heavy tails with a finite variance."""

_UNDETECTABLE_FRAUDS = 0.05
"""Share of the frauds that look like legitimate payments. Chosen so that no classifier finds all frauds."""

_SUSPICIOUS_PAYMENTS = 0.0008
"""Share of the legitimate payments that look like fraud. Chosen: about half of the number of frauds."""

_MAX_AMOUNT = 25_000.0
"""Largest amount. Chosen: about the largest of the public data set."""

# The shift of each component by a fraud of average degree, in standard deviations of the legitimate payments.
_STOLEN_CARD = {2: 1.6, 3: -2.9, 4: 2.4, 7: -2.4, 9: -1.7, 10: -3.2, 11: 2.8, 12: -3.9, 14: -4.6, 16: -3.1, 17: -3.7}
_CARD_TESTING = {1: -1.3, 4: 1.9, 5: 1.1, 8: 1.5, 11: 2.1, 12: -1.8, 14: -2.9, 18: -1.2, 19: 1.1, 21: 1.4, 27: 1.7}
_SHARE_OF_CARD_TESTING = 0.3
"""Share of the frauds that are card testing; the others are stolen cards. Chosen, not fitted."""


def fraud_rows(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw two days of transactions in order of time, the same for the same seed.

    Returns rows, float32 of shape (284807, 30) with the columns of ``FEATURE_NAMES``, and labels, int8 of shape
    (284807,), 1 for the 492 frauds.
    """
    random = np.random.default_rng(seed)
    fraudulent = np.zeros(LEGITIMATE + FRAUDULENT, dtype=np.int8)
    fraudulent[random.choice(fraudulent.size, FRAUDULENT, replace=False)] = 1

    moved = (fraudulent == 1) & (random.random(fraudulent.size) > _UNDETECTABLE_FRAUDS)
    moved |= random.random(fraudulent.size) < _SUSPICIOUS_PAYMENTS
    testing = moved & (random.random(fraudulent.size) < _SHARE_OF_CARD_TESTING)

    components = _heavy_tailed(random, fraudulent.size)
    components[moved & ~testing] += _shifts(random, int((moved & ~testing).sum()), _STOLEN_CARD)
    components[testing] += _shifts(random, int(testing.sum()), _CARD_TESTING)
    # Principal components come in order of variance.
    components *= np.geomspace(2.0, 0.33, COMPONENTS)
    columns = (components, _times(random, fraudulent.size), _amounts(random, testing))
    return np.column_stack(columns).astype(np.float32), fraudulent


def _heavy_tailed(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw rows of a multivariate Student t: normal rows, each scaled as a whole, so that extremes occur together."""
    normal = random.standard_normal((count, COMPONENTS))
    stretch = np.sqrt(_TAIL_DEGREES_OF_FREEDOM / random.chisquare(_TAIL_DEGREES_OF_FREEDOM, (count, 1)))
    return np.asarray(normal * stretch)


def _shifts(random: np.random.Generator, count: int, pattern: dict[int, float]) -> np.ndarray:
    """Draw the shifts of ``count`` transactions: ``pattern``, times a random degree for each transaction, with noise in
    every component."""
    direction = np.zeros(COMPONENTS)
    for component, shift in pattern.items():
        direction[component - 1] = shift
    degree = random.gamma(2.5, 1 / 2.5, (count, 1))
    noise = random.standard_normal((count, COMPONENTS)) * np.abs(direction) * 0.4
    return np.asarray(degree * (direction + noise))


def _times(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw times in whole seconds since the first transaction, ascending; few of them are at night."""
    hour_of_day = np.arange(_HOURS) % 24
    weights = 1.1 + np.sin((hour_of_day - 9) * np.pi / 12)
    hours = random.choice(_HOURS, count, p=weights / weights.sum())
    return np.asarray(np.sort(np.floor((hours + random.random(count)) * _SECONDS_PER_HOUR)))


def _amounts(random: np.random.Generator, testing: np.ndarray) -> np.ndarray:
    """Draw amounts rounded to cents, with a median of 22, and small amounts for card testing."""
    amounts = random.lognormal(np.log(22), 1.6, testing.size)
    amounts[testing] = random.lognormal(0, 0.4, int(testing.sum()))
    return np.asarray(np.round(np.minimum(amounts, _MAX_AMOUNT), 2))
