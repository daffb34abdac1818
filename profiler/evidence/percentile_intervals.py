"""Confidence intervals of percentiles of one run.

So many requests take longer than the true percentile that the binomial distribution tells which ones it may lie
between [order statistics: Woodruff 1952], with as many independent requests as those of the run are worth: neighbours
wait in one queue. The interval says nothing of what the run had none of, nor of what another run would have had; where
there are several runs, theirs is in ``several_runs``.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.autocorrelation import BATCHES, MIN_SAMPLES, autocorrelation_time, clipped
from servefit.profiler.evidence.intervals import t_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_BEYOND = 10
"""Independent requests on the rarer side of a percentile. With fewer too many intervals miss the truth, with twice as
many as few do: benchmarks/claims/coverage.py."""

_TAIL = 0.1
"""Response times that fewer requests exceed come in few bursts, of which a run may have had too few to tell how long
they are. There the response times themselves, which tell more of the queue, have their say too. By experiment."""


def percentile_intervals(values: np.ndarray, ranks: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals of percentiles (0..100, by name) of ``values``, in order of arrival, shape (n,).

    A percentile is left out if it has fewer than ten independent values on either side, or if its interval reaches
    requests without an answer, which are infinite.
    """
    intervals = {}
    for name, independent in independent_values(values, ranks).items():
        interval = order_statistics_interval(values, ranks[name], independent)
        if is_known(independent, ranks[name]) and interval is not None:
            intervals[name] = interval
    return intervals


def order_statistics_interval(values: np.ndarray, rank: float, independent: float) -> tuple[float, float] | None:
    """Return the 95 % interval of the percentile of ``rank`` (0..100) of ``values``, which are worth so many
    ``independent`` ones; None where it reaches beyond them, or among requests without an answer."""
    if not independent:
        return None
    beyond = 1 - rank / 100
    half = t_quantile(0.975, BATCHES - 1) * sqrt(beyond * (1 - beyond) / independent)
    if half >= min(beyond, 1 - beyond):
        return None
    low, high = np.quantile(values, [1 - beyond - half, 1 - beyond + half], method="inverted_cdf")
    return (float(low), float(high)) if np.isfinite(high) else None


def independent_values(values: np.ndarray, ranks: Mapping[str, float]) -> dict[str, float]:
    """Return the number of independent values that ``values`` are worth for each percentile; 0.0 if they are too few
    to tell."""
    if len(values) < MIN_SAMPLES:
        return dict.fromkeys(ranks, 0.0)
    answered = values[np.isfinite(values)]
    # Requests without an answer rank as the longest; any longer time has the same effect.
    finite = np.minimum(values, 2 * answered.max() + 1) if len(answered) else np.zeros(len(values))
    of_queue = autocorrelation_time(clipped(finite))
    counts = {}
    for name, rank in ranks.items():
        time = autocorrelation_time(finite > np.percentile(finite, rank))
        counts[name] = len(values) / (max(time, of_queue) if 1 - rank / 100 <= _TAIL else time)
    return counts


def is_known(independent: float, rank: float) -> bool:
    """Return whether so many independent values say how far off a percentile of them may be."""
    return independent * min(rank / 100, 1 - rank / 100) >= _MIN_BEYOND
