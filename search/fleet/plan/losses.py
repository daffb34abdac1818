"""Losses of hosts, and the rates that the others carry.

A fleet is how many ``hosts`` of each class it has, and what a host of each class carries, in ``rates_per_s`` of the
same order. The worst loss of a number of hosts is that of the fastest ones.
"""

from __future__ import annotations

from collections.abc import Sequence

ROUNDING = 1e-9
"""The part of a rate that counts as rounding: sums of ten thousand rates are off by less."""


def worst_loss(rates_per_s: Sequence[float], hosts: Sequence[int], lost: int) -> list[int]:
    """Return how many hosts of each class are lost in the worst loss of ``lost`` hosts, or of all if there are
    fewer."""
    taken = [0] * len(hosts)
    for index in sorted(range(len(hosts)), key=lambda nth: -rates_per_s[nth]):
        taken[index] = min(hosts[index], lost)
        lost -= taken[index]
    return taken


def fastest(rates_per_s: Sequence[float], hosts: Sequence[int], most_hosts: int | None) -> list[int]:
    """Return the ``most_hosts`` fastest of ``hosts``, or all. No others carry more after a loss: host by host in
    descending order of rates, these are the faster ones."""
    return list(hosts) if most_hosts is None else worst_loss(rates_per_s, hosts, most_hosts)


def total_per_s(rates_per_s: Sequence[float], hosts: Sequence[int]) -> float:
    """Return what ``hosts`` carry together."""
    return sum(rate * count for rate, count in zip(rates_per_s, hosts, strict=True))


def kept_per_s(rates_per_s: Sequence[float], hosts: Sequence[int], lost: int) -> float:
    """Return what is carried after the worst loss of ``lost`` hosts."""
    left = [count - gone for count, gone in zip(hosts, worst_loss(rates_per_s, hosts, lost), strict=True)]
    return total_per_s(rates_per_s, left)


def carries(rates_per_s: Sequence[float], hosts: Sequence[int], rate_per_s: float, spare: int) -> bool:
    """Return whether ``hosts`` carry ``rate_per_s`` after the loss of any ``spare`` of them, but for rounding."""
    return kept_per_s(rates_per_s, hosts, spare) >= rate_per_s * (1 - ROUNDING)


def must_fall_by(rate_per_s: float, carried_per_s: float) -> float:
    """Return the part by which ``rate_per_s`` must fall to be no more than what is carried, 0.0 if it need not."""
    return 0.0 if carried_per_s >= rate_per_s * (1 - ROUNDING) else 1 - carried_per_s / rate_per_s
