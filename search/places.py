"""CPUs for tests that run at the same time: each gets cores of its own, or waits until there are some."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servefit.profiler.cpus import client_cpus, disjoint_cpus
from servefit.search.testing import Place

if TYPE_CHECKING:
    from servefit.profiler.host import Host


class Places:
    """Hands out the CPUs of ``host``."""

    def __init__(self, host: Host) -> None:
        self._cpus = host.cpus
        self._taken: set[int] = set()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, vcpus: int) -> Iterator[Place]:
        """A place of ``vcpus`` CPUs that share no core with any other place, for as long as the block lasts."""
        with self._changed:
            while (cpus := disjoint_cpus(self._cpus, self._taken, vcpus)) is None:
                self._changed.wait()
            self._taken |= set(cpus)
            place = Place(cpus=cpus, outside=client_cpus(self._cpus, self._taken))
        try:
            yield place
        finally:
            with self._changed:
                self._taken -= set(cpus)
                self._changed.notify_all()

    def at_once(self, vcpus: Iterable[int]) -> bool:
        """Whether there are places of these sizes at the same time."""
        taken: set[int] = set()
        for count in sorted(vcpus, reverse=True):
            cpus = disjoint_cpus(self._cpus, taken, count)
            if cpus is None:
                return False
            taken |= set(cpus)
        return True
