"""Spot checks: the hosts of a class that are tested besides its representative, and the sign of one that is not like
it."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isqrt
from random import Random
from typing import TYPE_CHECKING

from servefit.checks import check_whole
from servefit.quantities import number_text, percent_text
from servefit.search.fleet.classes.likeness import ALIKE
from servefit.search.optimizer.gaussian_process import CAPACITY_NOISE

if TYPE_CHECKING:
    from servefit.search.results.recommendation import Trial

_MIN_CHECKED = 2
"""One host that agrees may be luck."""

_SIGMAS = 2.0
"""Of the difference of two measurements, of which one in forty is as far below by chance."""

MIN_PART = exp(-(ALIKE + _SIGMAS * 2**0.5 * CAPACITY_NOISE))
"""A host that answers less than this part of what its class did is not like it: what hosts of a class may differ in,
and what two measurements do."""


def spot_checks(hosts: int) -> int:
    """Return how many of ``hosts`` that are to serve are checked: the root of their number, rounded up, two at least,
    and no more than there are. Raises SpecError for less than one host.

    A part p of bad hosts is missed with a probability of (1 - p)^k by k checks. That is much for any k that is worth
    its time, which is why every host is timed, and only load tests are spot checks.
    """
    check_whole("hosts", hosts, least=1)
    root = isqrt(hosts - 1) + 1  # of the next square
    return min(hosts, max(_MIN_CHECKED, root))


def spot_checked(chosen: Sequence[str], *, representative: str, seed: int = 0) -> tuple[str, ...]:
    """Return which of the hosts that were ``chosen`` to serve are checked, sorted: drawn by ``seed``, and without the
    representative, which was measured. So there is none of one host, and one of two."""
    others = sorted(host for host in chosen if host != representative)
    count = min(len(others), spot_checks(len(chosen)) if chosen else 0)
    return tuple(sorted(Random(seed).sample(others, count)))


def unlike(checked: Trial, confirmed: Trial, *, rate_per_s: float) -> str | None:
    """Return in what a host that was ``checked`` at ``rate_per_s`` is not like the one that was ``confirmed`` there;
    None where it is. Faster than its class is no reason not to serve."""
    if checked.verdict == "FAIL":
        return f"does not hold the SLA at {number_text(rate_per_s)} requests/s: {checked.reason}"
    part = checked.capacity.throughput_per_s / confirmed.capacity.throughput_per_s
    if part < MIN_PART:
        return f"answers {percent_text(1 - part)} less than hosts like it"
    return None
