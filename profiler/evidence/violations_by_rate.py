"""The share of requests above a limit by the rate of arrivals, from all runs of a search together.

A run of a few seconds may have seen no pause of a server that pauses now and then. Of several runs at almost equal
rates one that saw none passes by luck. So all runs that did not saturate are cut into blocks, and a logistic line over
the rate is fitted to the shares of their blocks by quasi-likelihood [Wedderburn 1974]: how much blocks differ from the
line says how many requests count as one. What the line says of a rate is worth so many independent requests, and these
take the test of a single run (``sequential_test``). With it 4 to 5 % of searches claim too much where a limit is
reached by stalls alone, and 14 to 19 % without (benchmarks/claims/rate_search.py).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from servefit.profiler.evidence.intervals import t_quantile
from servefit.profiler.evidence.sequential_test import ALPHA, PASS_LEVEL, p_of_so_few

if TYPE_CHECKING:
    from collections.abc import Sequence

_BLOCKS = 24
"""Of all runs together: so a search of half a minute has blocks longer than most pauses. Chosen."""

_MIN_BLOCKS = 4
"""Two more than the line has parameters."""

_PRIOR = 0.5
"""Violations that are added, and as many requests as have so many at the boundary, so that a line exists where there
are none [Jeffreys]."""

_SLOPE_SD = 100.0
"""Of the slope, in logits for as much as the rate: far more than queues have, so that it matters only where all runs
are at one rate."""

_ROUNDS, _CLOSE = 50, 1e-8
"""Of fitting the line: it takes under ten, where it is close from one to the next."""


def kept_by_all(
    runs: Sequence[tuple[float, np.ndarray]],
    rate_per_s: float,
    *,
    rank: float,
    limit_ns: float,
) -> bool:
    """Return whether ``runs`` show together that the percentile of ``rank`` (0..100) keeps to ``limit_ns`` at
    ``rate_per_s``.

    Each run is its rate and its response times in ns, in order of arrival, shape (n,), without those of its beginning.

    Example:
        >>> import numpy as np
        >>> from servefit.profiler.evidence.violations_by_rate import kept_by_all
        >>> runs = [(rate_per_s, np.full(500, 2e6)) for rate_per_s in (400.0, 500.0)]
        >>> kept_by_all(runs, 450.0, rank=95.0, limit_ns=10e6)
        True
    """
    boundary = 1 - rank / 100
    rates, requests, violations = _blocks(runs, limit_ns)
    if len(rates) < _MIN_BLOCKS:
        return False
    worth = _worth(rates / rate_per_s - 1, requests, violations, boundary)
    return p_of_so_few(*worth, boundary) <= PASS_LEVEL


def _blocks(runs: Sequence[tuple[float, np.ndarray]], limit_ns: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rate, the requests and the violations of each block; blocks are of about equal time."""
    total_s = sum(len(response_ns) / rate for rate, response_ns in runs)
    rates, requests, violations = [], [], []
    for rate, response_ns in runs:
        if not len(response_ns):
            continue
        blocks = max(1, round(_BLOCKS * len(response_ns) / rate / total_s))
        parts = np.array_split(response_ns > limit_ns, min(blocks, len(response_ns)))
        rates += [rate] * len(parts)
        requests += [len(part) for part in parts]
        violations += [int(part.sum()) for part in parts]
    return np.array(rates, dtype=float), np.array(requests, dtype=float), np.array(violations, dtype=float)


def _worth(away: np.ndarray, requests: np.ndarray, violations: np.ndarray, boundary: float) -> tuple[float, float]:
    """Return how many independent requests, and violations among them, say as much about the rate in question as the
    blocks do, whose rates are relative to that."""
    part = requests / requests.sum()
    samples, violated = requests + _PRIOR / boundary * part, violations + _PRIOR * part
    line, covariance = _fit(away, samples, violated)
    if line[1] < 0:  # no queue gets shorter with more arrivals
        line, covariance = _fit(np.zeros_like(away), samples, violated)
        line[1] = 0.0
    shares = _share(line[0] + line[1] * away)
    spread = samples * shares * (1 - shares)
    dispersion = float(((violated - samples * shares) ** 2 / spread).sum()) / (len(away) - 2)
    raised = (t_quantile(1 - ALPHA, len(away) - 2) / NormalDist().inv_cdf(1 - ALPHA)) ** 2
    burst = 1 + raised * max(0.0, dispersion - 1)
    share = float(_share(line[0]))
    counted = 1 / (share * (1 - share) * burst * float(covariance[0, 0]))
    return counted, counted * share


def _fit(away: np.ndarray, samples: np.ndarray, violated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit the line by iterated weighted least squares [McCullagh and Nelder 1989]; return it with its covariance where
    requests are independent."""
    design = np.column_stack([np.ones_like(away), away])
    share = violated.sum() / samples.sum()
    line = np.array([np.log(share / (1 - share)), 0.0])
    precision = np.diag([0.0, 1 / _SLOPE_SD**2])
    for _ in range(_ROUNDS):
        shares = _share(design @ line)
        weights = samples * shares * (1 - shares)
        information = design.T @ (weights[:, None] * design) + precision
        step = np.linalg.solve(information, design.T @ (violated - samples * shares) - precision @ line)
        line = line + np.clip(step, -2, 2)
        if np.abs(step).max() < _CLOSE:
            break
    return line, np.linalg.inv(information)


def _share(logit: np.ndarray | float) -> np.ndarray:
    """Return the share of a logit, kept from 0 and 1."""
    shares: np.ndarray = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return shares
