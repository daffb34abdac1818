"""Which hosts of a class are tested again besides its representative, before what was found is said of them all."""

from __future__ import annotations

from math import isqrt
from random import Random
from typing import TYPE_CHECKING

from servefit.checks import check_whole

if TYPE_CHECKING:
    from servefit.search.fleet.classes.grouping import HostClass

_FEWEST = 2
"""One host that agrees may be luck."""


def spot_checks(hosts: int) -> int:
    """Return how many of a class of ``hosts`` are checked: the root of their number, rounded up, two at least, and no
    more than there are. Raises SpecError for less than one host.

    A part p of bad hosts is missed with a probability of (1 - p)^k by k checks. That is much for any k that is worth
    its time, which is why every host is timed, and only load tests are spot checks.
    """
    check_whole("hosts", hosts, least=1)
    root = isqrt(hosts - 1) + 1  # of the next square
    return min(hosts, max(_FEWEST, root))


def spot_checked(of: HostClass, *, seed: int = 0) -> tuple[str, ...]:
    """Return the hosts of a class to check, sorted: drawn by ``seed``, and without the representative, which was
    measured. So there is none in a class of one host, and one in a class of two."""
    others = [host for host in of.hosts if host != of.representative]
    count = min(len(others), spot_checks(len(of.hosts)))
    return tuple(sorted(Random(seed).sample(others, count)))
