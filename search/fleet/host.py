"""A host of a fleet, as its agent describes it, and what is known of it at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from servefit.profiler.machine.host import Host
from servefit.search.fleet.classes.host_facts import HostFacts
from servefit.showing import shown
from servefit.stored import Stored

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
