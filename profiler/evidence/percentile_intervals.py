"""Confidence intervals of percentiles, by how much shares of slow requests differ between blocks of the runs.

So many requests take longer than the true percentile that the binomial distribution tells which ones it may lie
between [order statistics: Woodruff 1952], with as many independent requests as those of the runs are worth: neighbours
wait in one queue, and a pause makes many of them slow. How many count as one is read from the shares of slow requests
in blocks of the runs [batch means: Conway 1963], which are as long as pauses may be. Where requests count as so few
that the interval would reach beyond what was seen there is none. That happens by chance too: where few runs have an
interval, those are the ones that look quieter than they are. It says nothing of what the runs had none of, nor of
how much other runs would differ from these, which ``several_runs`` adds.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.autocorrelation import MIN_SAMPLES, time_of_unevenness
from servefit.profiler.evidence.intervals import t_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLOCKS = 10
"""Blocks of all runs together. With 20 they are shorter than what many queues remember, and 2 to 3 % fewer intervals
hold the truth; with 5 a seventh of them is lost, since less is certain. By experiment, as is the next."""

_MULTIPLES = (1, 2, 4, 8)
"""Blocks are compared by the requests beyond the percentile, and by those beyond levels that two, four and eight times
as many exceed: a run with few slow requests does not show how they come together, and merely looks quiet."""

_Z = 1.96
"""The quantile of the normal distribution of a 95 % interval."""


def percentile_intervals(runs: Sequence[np.ndarray], ranks: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of percentiles (0..100, by name) of the values of one or more ``runs``, each in order of
    arrival, shape (n,).

    A percentile is left out if its interval would reach beyond the values, or to requests without an answer, which are
    infinite; all are, of fewer than 80 values.
    """
    together = np.concatenate(runs)
    blocks_a_run = -(-BLOCKS // len(runs))
    if len(together) < MIN_SAMPLES or min(map(len, runs)) < blocks_a_run:
        return {}
    levels = {name: _levels(rank / 100) for name, rank in ranks.items()}
    at = sorted({level for of_rank in levels.values() for level in of_rank})
    values = dict(zip(at, np.quantile(together, at, method="inverted_cdf").tolist(), strict=True))
    intervals = {}
    for name, rank in ranks.items():
        as_one = max(_requests_as_one(runs, values[level], blocks_a_run) for level in levels[name])
        independent = len(together) / as_one
        low, high = _within(1 - rank / 100, independent)
        if low <= 0 or high >= independent:
            continue
        ends = np.quantile(together, [1 - high / independent, 1 - low / independent], method="inverted_cdf")
        if np.isfinite(ends[1]):
            intervals[name] = (float(ends[0]), float(ends[1]))
    return intervals


def _levels(level: float) -> tuple[float, ...]:
    """Return the level (0..1) of a percentile, and others towards the median, beyond which more requests lie."""
    rarer = min(level, 1 - level)
    shares = (min(multiple * rarer, 0.5) for multiple in _MULTIPLES)
    return tuple(share if level < 0.5 else 1 - share for share in shares)


def _requests_as_one(runs: Sequence[np.ndarray], value: float, blocks_a_run: int) -> float:
    """Return how many requests count as one where the share beyond ``value`` is asked for; more than are seen, since so
    few blocks may be alike by chance [Student 1908]. Infinite where blocks differ as single requests would."""
    shares = np.concatenate([_shares(run > value, blocks_a_run) for run in runs])
    if not shares.any():  # it is the longest of all
        shares = np.concatenate([_shares(run >= value, blocks_a_run) for run in runs])
    share = float(shares.mean())
    if not 0 < share < 1:
        return 1.0
    length = sum(len(run) // blocks_a_run for run in runs) // len(runs)
    time = time_of_unevenness(float(shares.var(ddof=1)) / (share * (1 - share)), length)
    raised = (t_quantile(0.975, len(shares) - 1) / _Z) ** 2
    return 1 + raised * max(0.0, time - 1)


def _shares(beyond: np.ndarray, blocks: int) -> np.ndarray:
    """Return the shares of requests ``beyond`` in so many blocks; those left over come first and are not used."""
    length = len(beyond) // blocks
    shares: np.ndarray = beyond[len(beyond) - length * blocks :].reshape(blocks, length).mean(axis=1)
    return shares


def _within(share: float, independent: float) -> tuple[float, float]:
    """Return the counts between which those of 95 % of the samples lie of so many ``independent`` requests, of which
    ``share`` are expected; below 0 or above all where these are too few. The binomial distribution by its first three
    moments [Cornish and Fisher 1938], with half a request on either side, since requests are counted."""
    skewed = (_Z**2 - 1) * (1 - 2 * share) / 6
    half = _Z * sqrt(share * (1 - share) * independent) + 0.5
    expected = share * independent + skewed
    return expected - half, expected + half
