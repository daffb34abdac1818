"""The owner of a job: the process that works on it, and whether it still lives.

On one machine a process is known by its number and by when it was started, which tells it from a later one with the
same number, so that a job is free at once when its owner was killed. Of processes elsewhere nothing can be seen but
when they last renewed their claim. That is by the clock of the database, so the clocks of hosts may be wrong.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import replace

from servefit.processes import boot_id, pid_namespace, process_start
from servefit.showing import shown
from servefit.stored import Stored

RENEW_S = 60.0
LEASE_S = 5 * RENEW_S
"""An owner on another machine that has not renewed its claim for so long is taken for dead."""


@shown("host", "pid", "since", "renewed_at")
class Owner(Stored, frozen=True, kw_only=True):
    """A process that works on a job, since ``since``; times are in seconds since 1970, by the clock of the database.

    ``token`` tells one claim from every other. ``machine`` is where process numbers mean the same: one boot of one
    kernel, and in it one namespace of process numbers. ``started`` is in clock ticks since boot.
    """

    token: str
    host: str
    machine: str
    pid: int
    started: int
    since: float
    renewed_at: float

    @classmethod
    def this_process(cls, now: float) -> Owner:
        """Return a new claim of this process, which is made at ``now`` by the clock of the database."""
        pid = os.getpid()
        return cls(
            token=secrets.token_hex(16),
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            started=process_start(pid) or 0,
            since=now,
            renewed_at=now,
        )

    def renewed(self, now: float) -> Owner:
        return replace(self, renewed_at=now)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def worked_s(self, now: float) -> float:
        """Return the seconds that it has worked on the job: until ``now``, or, if it is dead, until it last wrote
        something."""
        return max(0.0, (now if self.lives(now) else self.renewed_at) - self.since)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its number means that process here too."""
        return self.machine == _machine()

    def lives(self, now: float) -> bool:
        if self.is_on_this_machine:
            return process_start(self.pid) == self.started
        return now - self.renewed_at < LEASE_S


def _machine() -> str:
    """Return where process numbers mean the same as here."""
    return f"{boot_id()}/{pid_namespace()}"
