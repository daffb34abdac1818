"""Why the agent of a host has ended, and whether to start it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.quantities import span_text
from servefit.search.fleet.host import USUAL
from servefit.search.fleet.launching import ssh

if TYPE_CHECKING:
    from servefit.search.fleet.launching.session import SessionEnd

Then: TypeAlias = Literal["done", "again", "give up"]

USAGE = 2
"""The exit status of ``servefit agent`` where its options cannot be carried out, such as a name that another agent
has."""

NAME_HELD_S = 3 * USUAL.silent_s
"""An agent that was lost has its name until it ended or was silent for long enough. The rest is for the pauses between
attempts."""

_REFUSALS = (
    ("Host key verification failed", "its host key is not the one that is known, or none is", "connect by hand once"),
    ("Permission denied (", "no key is accepted", "add one to its authorized_keys"),
    ("Too many authentication failures", "no key is accepted", "name the key as identity"),
    ("remote port forwarding failed", "its SSH server forwards no ports", "set AllowTcpForwarding yes there"),
    ("Unable to negotiate with", "it has no algorithms in common with ssh here", "set them in options"),
    ("Bad configuration option", "ssh here does not know an option", "update OpenSSH's client"),
)
"""Refusals of ssh that time does not cure: its words, their meaning, and a remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a session ended, in words, and what to do then. ``lost`` says that the connection was lost with an agent at
    its end, which may live on for a while."""

    reason: str
    then: Then
    lost: bool = False


def ending_of(end: SessionEnd, *, lost_for_s: float | None = None) -> Ending:
    """Return why a session ended. ``lost_for_s`` is the time since a connection with an agent was last lost to the same
    host, None where none was."""
    said = f": {end.last_line}" if end.last_line else ""
    if end.status == ssh.OWN_STATUS:
        for mark, meaning, remedy in _REFUSALS:
            line = next((line for line in end.lines if mark in line), None)
            if line is not None and not end.started:
                return Ending(reason=f"not started, {meaning}: {line}; {remedy}", then="give up")
        if end.started:
            return Ending(reason=f"lost after {span_text(end.up_s)}{said}", then="again", lost=True)
        return Ending(reason=f"not reached{said}", then="again")
    if not end.started:
        return Ending(reason=f"not started, {_not_started(end)} (exit status {end.status}){said}", then="give up")
    if end.status == 0:
        return Ending(reason=f"ended by itself after {span_text(end.up_s)}", then="done")
    reason = f"ended with status {end.status} after {span_text(end.up_s)}{said}"
    if end.status == USAGE and (lost_for_s is None or lost_for_s > NAME_HELD_S):
        return Ending(reason=reason, then="give up")
    return Ending(reason=reason, then="again")


def _not_started(end: SessionEnd) -> str:
    if any("No module named" in line for line in end.lines):
        return "its Python has no servefit, or one without fleets"
    return "its Python cannot be run"
