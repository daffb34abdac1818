"""A host of a fleet, as its agent describes it, what is known of it at the moment, and the times after which an agent
that says nothing is silent, and then lost.

These times are by the clock of the database. They belong to a fleet, whose owner knows for how long a cable may be out:
its agents and its jobs have the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from servefit.checks import check_above_zero
from servefit.errors import SpecError
from servefit.profiler.machine.host import Host
from servefit.search.fleet.classes.host_facts import HostFacts
from servefit.showing import shown
from servefit.stored import Stored

_RENEWALS = 6
"""An agent is not silent before as many signs of life have failed to come."""

_LATE = 1.5
"""So many times the time between two signs of life: then one has failed to come. Chosen, not measured."""

TIMES_EXPECTED = 2
"""An agent may be silent for so many times what its order was expected to take: a host that measures may be too busy to
be heard. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Seconds. An agent that was not heard of for ``silent_s`` gets no new orders, and its name may be taken. After
    ``lost_s``, or twice what its order was expected to take if that is more, what it was asked for is given up. Raises
    SpecError."""

    silent_s: float = 60.0
    lost_s: float = 120.0

    def __post_init__(self) -> None:
        check_above_zero("silent_after", self.silent_s)
        check_above_zero("lost_after", self.lost_s)
        if self.lost_s < self.silent_s:
            raise SpecError("lost_after", self.lost_s, f"is less than silent_after, {self.silent_s:g} s")

    @property
    def renew_s(self) -> float:
        """The seconds between two signs of life of an agent."""
        return self.silent_s / _RENEWALS

    @property
    def late_s(self) -> float:
        """The silence, in seconds, of an agent of which one sign of life has failed to come."""
        return _LATE * self.renew_s

    def lost_after_s(self, expected_s: float) -> float:
        """Return how long an agent may be silent with an order that was expected to take ``expected_s``."""
        return max(self.lost_s, TIMES_EXPECTED * expected_s)


USUAL = Leases()
"""A cable that is put back within a minute, or a database that is restarted, costs nothing."""


HostStatus: TypeAlias = Literal["idle", "measuring", "waiting", "drained", "silent", "gone"]
"""Idle: it takes orders. Measuring: it carries one out. Waiting: it has one, and something else measures there.
Drained: it gets no more orders. Silent: its agent was not heard of for a while. Gone: its agent ended, or died."""


@shown("name", "labels", "servefit")
class FleetHost(Stored, frozen=True, kw_only=True):
    """A host under the ``name`` of its agent. ``labels`` are what it is chosen by, ``cost`` what its owner pays, by
    key (see ``AgentOptions``). ``allows`` are the environment variables that its agent lets a job set besides the usual
    ones. Balancers reach its endpoints at ``address``, with or without a port; it is empty where the agent has none.
    ``schema`` is that of the fleet's tables, ``servefit`` the version of the agent."""

    name: str
    host: Host
    facts: HostFacts
    address: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    cost: tuple[tuple[str, float | str], ...] = ()
    trust_pickle: bool = False
    trust_code: bool = False
    allows: tuple[str, ...] = ()
    servefit: str
    schema: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """The state of a host at the moment. ``silent_s`` is how long ago its agent was heard of, ``doing`` what that is
    at, in words. ``process`` is its agent, in words, and ``token`` that of its claim to the name."""

    host: FleetHost
    status: HostStatus
    silent_s: float
    doing: str
    process: str
    token: str = ""
