"""The choice of the hosts of a fleet that a job is about: by name, with ``*``, and by label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from servefit.errors import SpecError
from servefit.search.fleet.tables import SCHEMA

if TYPE_CHECKING:
    from servefit.search.fleet.host import HostState

AWAY = ("gone", "silent", "drained")
"""The status of a host that gets no orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Hosts whose name is like one of ``patterns`` (none: any) and that have all of ``labels``."""

    patterns: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def choose(self, hosts: Sequence[HostState]) -> tuple[HostState, ...]:
        """Return those of ``hosts`` that are chosen and take orders.

        Raises SpecError where there is none, with the reason: no host is like that, or those that are do not take
        orders, or are of another schema.
        """
        if not hosts:
            raise SpecError(
                "fleet", None, "has no hosts", remedy="start an agent on each: servefit agent --storage URL --name NAME"
            )
        for pattern in self.patterns:
            if not any(fnmatchcase(state.host.name, pattern) for state in hosts):
                raise SpecError.unknown("host", pattern, [state.host.name for state in hosts])
        self._check_labels(hosts)
        chosen = [state for state in hosts if self._is_chosen(state)]
        if not chosen:
            raise SpecError("host", self._asked(), "is what no host of the fleet is", remedy="see servefit fleet hosts")
        there = tuple(filter(_takes_orders, chosen))
        if not there:
            raise SpecError(
                "host",
                ", ".join(state.host.name for state in chosen),
                f"takes no orders: {'; '.join(map(_why_not, chosen))}",
                remedy="see servefit fleet hosts",
            )
        return there

    def left_out(self, hosts: Sequence[HostState]) -> tuple[str, ...]:
        """Return, in words, which of ``hosts`` are chosen and take no orders."""
        chosen = filter(self._is_chosen, hosts)
        return tuple(_why_not(state) for state in chosen if not _takes_orders(state))

    def _is_chosen(self, state: HostState) -> bool:
        named = not self.patterns or any(fnmatchcase(state.host.name, pattern) for pattern in self.patterns)
        return named and set(self.labels) <= set(state.host.labels)

    def _check_labels(self, hosts: Sequence[HostState]) -> None:
        labels = sorted({label for state in hosts for label in state.host.labels})
        for key, value in self.labels:
            if not labels:
                remedy = f"start agents with --label {key}={value}"
                raise SpecError("label", f"{key}={value}", "is no host's: none has a label", remedy=remedy)
            if (key, value) not in labels:
                raise SpecError.unknown("label", f"{key}={value}", [f"{name}={value}" for name, value in labels])

    def _asked(self) -> str:
        return " ".join([*self.patterns, *(f"{key}={value}" for key, value in self.labels)])


def _takes_orders(state: HostState) -> bool:
    return state.status not in AWAY and state.host.schema == SCHEMA


def _why_not(state: HostState) -> str:
    """Return why a host gets no orders, in words."""
    host = state.host
    if host.schema != SCHEMA:
        return f"the agent of {host.name} is of servefit {host.servefit}, whose fleets are of schema {host.schema}"
    return f"{host.name} is {state.status}"
