"""The share of requests above a limit by the rate of arrivals, from all runs of a search together.

A run of a few seconds may have seen no pause of a server that pauses now and then. Of several runs at almost equal
rates one that saw none passes by luck. So all runs that did not saturate are cut into blocks, and a logistic line over
the rate is fitted to the shares of their blocks by quasi-likelihood [Wedderburn 1974]: how much blocks differ from the
line says how many requests count as one. The share that the line gives for a rate is worth so many independent
requests, and these take the test of a single run (``sequential_test``). How often that claims too much is measured by
benchmarks/claims/rate_search.py.
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
"""Of all runs together, about: so a search of half a minute has blocks longer than most pauses. Chosen."""

_PRIOR = 0.5
"""Violations that are added, with as many requests as have so many at the limit: without any there would be no line.
Chosen."""

_ROUNDS, _CLOSE, _STEP = 50, 1e-8, 2.0
"""Of fitting the line: it takes under fifteen, where it is close from one to the next; a step is no longer."""


def kept_by_all(
    runs: Sequence[tuple[float, np.ndarray]],
    rate_per_s: float,
    *,
    rank: float,
    limit_ns: float,
) -> bool:
    """Return whether ``runs`` show together that the percentile of ``rank`` (0..100) keeps to ``limit_ns`` at
    ``rate_per_s``: they do not at a rate that is higher than those of all runs.

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
    if not len(rates) or rate_per_s > rates.max():
        return False
    worth = _worth(rates - rate_per_s, requests, violations, boundary)
    return worth is not None and p_of_so_few(*worth, boundary) <= PASS_LEVEL


def _blocks(runs: Sequence[tuple[float, np.ndarray]], limit_ns: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rate, the requests and the violations of each block, by ascending rate; blocks are of about equal
    time."""
    total_s = sum(len(response_ns) / rate for rate, response_ns in runs)
    rates, requests, violations = [], [], []
    for rate, response_ns in sorted(runs, key=lambda run: run[0]):
        if not len(response_ns):
            continue
        blocks = max(1, round(_BLOCKS * len(response_ns) / rate / total_s))
        parts = np.array_split(response_ns > limit_ns, min(blocks, len(response_ns)))
        rates += [rate] * len(parts)
        requests += [len(part) for part in parts]
        violations += [int(part.sum()) for part in parts]
    of_blocks = np.array([rates, requests, violations])
    return of_blocks[0], of_blocks[1], of_blocks[2]


def _worth(
    away: np.ndarray, requests: np.ndarray, violations: np.ndarray, boundary: float
) -> tuple[float, float] | None:
    """Return how many independent requests, and violations among them, say as much about the rate in question as the
    blocks do, whose rates are so far ``away`` from it. None where no line is found."""
    part = requests / requests.sum()
    samples, violated = requests + _PRIOR / boundary * part, violations + _PRIOR * part
    middle, width = float(part @ away), float(np.std(away)) or 1.0
    design = np.column_stack([np.ones_like(away), (away - middle) / width])
    at_rate = np.array([1.0, -middle / width])
    fitted = _fit(design if np.ptp(away) else design[:, :1], samples, violated)
    if fitted is None:
        return None
    line, covariance = fitted
    variance = float(at_rate[: len(line)] @ covariance @ at_rate[: len(line)])
    if (line[1:] < 0).any():  # no queue gets shorter with more arrivals
        fitted = _fit(design[:, :1], samples, violated)
        if fitted is None:
            return None
        line, _ = fitted
    shares = _share(design[:, : len(line)] @ line)
    dispersion = _dispersion(violations, requests * shares, requests * shares * (1 - shares))
    share = float(_share(float(at_rate[: len(line)] @ line)))
    counted = 1 / (share * (1 - share) * dispersion * variance)
    return counted, counted * share


def _dispersion(violations: np.ndarray, expected: np.ndarray, variance: np.ndarray) -> float:
    """Return how many requests count as one, by how much blocks differ from what the line expects of them. Blocks that
    follow each other are taken together until one violation is expected."""
    _, group = np.unique(np.floor(np.cumsum(expected)), return_inverse=True)
    off, of_chance = np.bincount(group, violations - expected), np.bincount(group, variance)
    degrees = max(2, len(off) - 2)
    raised = (t_quantile(1 - ALPHA, degrees) / NormalDist().inv_cdf(1 - ALPHA)) ** 2
    return 1 + raised * max(0.0, float((off**2 / of_chance).sum()) / degrees - 1)


def _fit(design: np.ndarray, samples: np.ndarray, violated: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Fit the line by iterated weighted least squares [McCullagh and Nelder 1989]; return it with its covariance where
    requests are independent. None if that does not come to rest."""
    line = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        shares = _share(design @ line)
        weights = samples * shares * (1 - shares)
        information = design.T @ (weights[:, None] * design)
        step = np.linalg.solve(information, design.T @ (violated - samples * shares))
        line = line + np.clip(step, -_STEP, _STEP)
        if np.abs(step).max() < _CLOSE:
            return line, np.linalg.inv(information)
    return None


def _share(logit: np.ndarray | float) -> np.ndarray:
    """Return the share of a logit, kept from 0 and 1."""
    shares: np.ndarray = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return shares
