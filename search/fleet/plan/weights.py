"""Whole-number weights for a balancer, under which no host gets more than its confirmed rate, also after losses.

A balancer hands each of its hosts the part ``w / W`` of all requests, of which ``W`` is the sum of the weights of the
hosts that are there. The weights stay when hosts are lost, so that what the lost ones had goes to the others in
proportion.

What a rate ``R`` makes of a host of weight ``w`` and confirmed rate ``c`` after a loss is ``R w / (W - lost)``: the
more weight is lost, the more it gets. So of all losses of at most ``spare`` hosts, that of the ``spare`` heaviest
*other* hosts is the worst for it, whatever the other rates are, and the highest rate that overloads nobody is the least
of ``c (W - heaviest others) / w`` over all hosts. Hosts of one class have one weight, so there is one such figure for a
class, and no subset of hosts is ever tried. The sum over the ``spare`` heaviest others of a host is that of the
``spare`` heaviest of all, or, where the host is among these, that of ``spare + 1`` without itself.

Weights in proportion to the rates carry all that the hosts carry without their fastest ``spare``; whole numbers carry a
little less. They are looked for among ``w = floor(part c)``, where at a given highest ``w / c`` no host can have more
weight, and more weight of any host lessens the load of all others; and among ``w`` rounded to the nearest, which are
nearer to the proportion. With spare hosts weights may carry as much that are far from the proportion: the weight of a
fast host counts for nothing in the loss of that host. So the proportion comes first, and then what they carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.checks import check_whole
from servefit.errors import SpecError
from servefit.search.fleet.plan.losses import ROUNDING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MAX_OFF = 0.02
"""Weights give no host a share that is off its part by more, as long as whole numbers allow that. Chosen: rates of
hosts are known to about as much."""

LITTLE = 0.001
"""Where no weights are within MAX_OFF, so much of the rate is given for the proportion."""

MAX_ROWS = 2000
"""As many sets of weights are tried at most, twice. Fifty times as many carried less than 0.001 % more."""

MAX_WEIGHTS_TRIED = 200_000
"""As many weights are tried at most, in all sets together, twice, which takes a tenth of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeWeights:
    """The weight of each host of a class, in the order of the classes that were given.

    Up to ``carries_per_s`` requests a second no host gets more than its confirmed rate, alone and after any loss of up
    to the hosts that are spare. ``shares`` are the parts of all requests that a host of each class gets before a loss.
    One of them is off its part by ``off_by``, the others by less: above MAX_OFF only where no whole numbers up to the
    largest that were tried are nearer, and what they carry is the same.
    """

    weights: tuple[int, ...]
    shares: tuple[float, ...]
    carries_per_s: float
    off_by: float


def whole_weights(rates_per_s: Sequence[float], hosts: Sequence[int], *, spare: int, most_weight: int) -> WholeWeights:
    """Return those whole numbers up to ``most_weight``, in proportion to the rates within MAX_OFF, under which the
    hosts carry most.

    Args:
        rates_per_s: The confirmed rate of a host of each class.
        hosts: How many hosts of each class there are; one at least.
        spare: How many hosts may be lost, fewer than there are.
        most_weight: The largest weight that the balancer takes.

    Raises SpecError where there is no class, or no host is left after the loss.
    """
    check_whole("largest weight", most_weight, least=1)
    check_whole("spare", spare, least=0)
    if not hosts or spare >= sum(hosts):
        raise SpecError("spare", spare, "leaves no host to serve")
    rates, counts = np.array(rates_per_s, dtype=float), np.array(hosts, dtype=float)
    tried = _candidates(rates, most_weight)
    carried = carried_per_s(tried, rates, counts, spare)
    off = off_by(tried, rates, counts)
    if (off <= MAX_OFF).any():
        carried_near = np.where(off <= MAX_OFF, carried, 0.0)
        # Of those that carry the same, the smallest numbers.
        best = int(np.argmax(carried_near >= carried_near.max() * (1 - ROUNDING)))
    else:
        best = int(np.argmin(np.where(carried >= carried.max() * (1 - LITTLE), off, np.inf)))
    weights = tried[best]
    return WholeWeights(
        weights=tuple(int(number) for number in weights),
        shares=tuple(float(number) for number in weights / (weights @ counts)),
        carries_per_s=float(carried[best]),
        off_by=float(off[best]),
    )


def off_by(weights: Numbers, rates_per_s: Numbers, hosts: Numbers) -> Numbers:
    """Return the part by which the share of a host is off that in proportion to its rate, at most, for each row of
    ``weights``."""
    shares = weights / (weights @ hosts)[:, None]
    return np.asarray(np.abs(shares * ((rates_per_s @ hosts) / rates_per_s) - 1).max(axis=1))


def carried_per_s(weights: Numbers, rates_per_s: Numbers, hosts: Numbers, spare: int) -> Numbers:
    """Return the highest rate at which no host is overloaded, after any loss of up to ``spare``, for each row of
    ``weights``. The module says why."""
    order = np.argsort(-weights, axis=1, kind="stable")
    heavy, counts = np.take_along_axis(weights, order, axis=1), hosts[order]
    before = np.cumsum(counts, axis=1) - counts
    heaviest, one_more = (
        (heavy * np.clip(lost - before, 0, counts)).sum(axis=1, keepdims=True) for lost in (spare, spare + 1)
    )
    lost = np.where(before < spare, one_more - heavy, heaviest)
    left = (heavy * counts).sum(axis=1, keepdims=True) - lost
    return np.asarray((rates_per_s[order] * left / heavy).min(axis=1))


def _candidates(rates: Numbers, most_weight: int) -> Numbers:
    """Return rows of weights worth trying, by ascending size: as many as there is room for, evenly among all."""
    rows = max(1, min(MAX_ROWS, MAX_WEIGHTS_TRIED // len(rates)))
    of_class = max(1, rows // (2 * len(rates)))
    sizes = np.unique(np.linspace(1, most_weight, min(rows, most_weight)).round())
    # Where the weight of the fastest hosts grows by one, and where that of any other class does. Beyond the largest
    # weight of the fastest, these get less than their part, which slower hosts may need to have one at all.
    fewer = np.unique(np.linspace(1, most_weight, min(of_class, most_weight)).round())
    parts = np.unique(np.concatenate([sizes / rates.max(), (fewer[:, None] / rates).ravel()]))
    exact = np.outer(parts, rates) * (1 + ROUNDING)
    return np.unique(np.clip(np.concatenate([np.floor(exact), np.rint(exact)]), 1, most_weight), axis=0)
