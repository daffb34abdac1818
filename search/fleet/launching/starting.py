"""The agents of an inventory, kept running over SSH until they are told to end.

Each host is on its own: one that cannot be reached does not delay the others. A host that was lost, or whose agent
failed, is started again after a pause that doubles, unless time does not cure the reason (``ending``).
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from servefit.errors import SpecError
from servefit.quantities import span_text
from servefit.search.fleet.launching.ending import Ending, ending_of
from servefit.search.fleet.launching.session import SshSession

if TYPE_CHECKING:
    from servefit.search.fleet.launching.inventory import InventoryHost
    from servefit.search.fleet.launching.session import SessionEnd
    from servefit.search.fleet.launching.tunnel import TunnelledDatabase

State: TypeAlias = Literal["ended", "stopped", "given up", "not started"]
Tell: TypeAlias = Callable[[str, str], None]
"""Is told the name of a host, and what happened there, in words."""


_TOLD = (0, 128 + signal.SIGTERM)
"""Exit statuses of an agent that did as it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPauses:
    """The pauses between attempts to start an agent.

    Args:
        first_pause_s: The pause before the second attempt; each further one is twice as long.
        longest_pause_s: No pause is longer, so a host that is back is used within a minute.
        steady_s: After an agent that has lived so long pauses begin anew.
        within_s: A host that was not started by then is given up; None is never.
    """

    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    steady_s: float = 60.0
    within_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutcome:
    """The outcome of starting agents on a host.

    Args:
        name: The host.
        state: "ended" by itself, "stopped" with the others, "given up", or "not started" at all.
        starts: How often an agent began to take orders there.
        up_s: How long agents were up, together.
        reason: Why the last one ended, or was not started, in words.
    """

    name: str
    state: State
    starts: int
    up_s: float
    reason: str

    @property
    def failed(self) -> bool:
        """Whether there could be no agent."""
        return self.state in ("given up", "not started")


async def keep_agents(
    hosts: Sequence[InventoryHost],
    database: TunnelledDatabase,
    *,
    stop: asyncio.Event,
    tell: Tell,
    pace: StartPauses | None = None,
    program: str = "ssh",
) -> tuple[HostOutcome, ...]:
    """Start an agent on each of ``hosts``, all at once, and keep them until all have ended or ``stop`` is set. Raises
    SpecError for no hosts, MeasurementError where there is no ssh here."""
    if not hosts:
        raise SpecError("hosts", None, "are none")
    keepers = [_Keeper(host, database, stop, tell, pace or StartPauses(), program) for host in hosts]
    tasks = [asyncio.create_task(keeper.keep()) for keeper in keepers]
    try:
        return tuple(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            # One that is cancelled already sees to the end of its ssh.
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


class _Keeper:
    """Keeps the agent of one host."""

    def __init__(
        self,
        host: InventoryHost,
        database: TunnelledDatabase,
        stop: asyncio.Event,
        tell: Tell,
        pace: StartPauses,
        program: str,
    ) -> None:
        self._host, self._database, self._program = host, database, program
        self._stop, self._tell, self._pace = stop, tell, pace
        self._starts = 0
        self._up_s = 0.0
        self._lost_at_s: float | None = None

    async def keep(self) -> HostOutcome:
        begin_s, pause_s = time.monotonic(), self._pace.first_pause_s
        while True:
            end = await self._attempt()
            if self._stop.is_set():
                return self._stopped(end)
            ending = self._ending(end)
            if ending.then != "again":
                return self._over(ending)
            if self._is_late(begin_s):
                within = span_text(time.monotonic() - begin_s)
                return self._over(Ending(reason=f"{ending.reason}; not started within {within}", then="give up"))
            if end.up_s >= self._pace.steady_s:
                pause_s = self._pace.first_pause_s
            # Not all at the same moment, for a host that all go through
            wait_s = pause_s * random.uniform(1.0, 1.5)
            self._say(f"{ending.reason}; again in {span_text(wait_s)}")
            if await self._stopped_within(wait_s):
                return self._outcome("stopped" if self._starts else "not started", ending.reason)
            pause_s = min(2 * pause_s, self._pace.longest_pause_s)

    async def _attempt(self) -> SessionEnd:
        session = SshSession(
            self._host,
            self._database,
            on_ready=self._ready,
            program=self._program,
        )
        end = await session.run(self._stop)
        self._up_s += end.up_s
        return end

    def _ready(self, pid: int) -> None:
        self._starts += 1
        self._say(f"agent takes orders, process {pid}")

    def _ending(self, end: SessionEnd) -> Ending:
        now_s = time.monotonic()
        ending = ending_of(end, lost_for_s=None if self._lost_at_s is None else now_s - self._lost_at_s)
        if ending.lost:
            self._lost_at_s = now_s
        return ending

    def _is_late(self, begin_s: float) -> bool:
        within_s = self._pace.within_s
        return not self._starts and within_s is not None and time.monotonic() - begin_s >= within_s

    def _stopped(self, end: SessionEnd) -> HostOutcome:
        reason = "told to end" if end.status in _TOLD else f"told to end, exit status {end.status}"
        if end.started:
            self._say(reason)
        return self._outcome("stopped" if self._starts or end.started else "not started", reason)

    def _over(self, ending: Ending) -> HostOutcome:
        state: State = "ended" if ending.then == "done" else "given up"
        self._say(ending.reason if state == "ended" else f"{ending.reason}; given up")
        return self._outcome(state, ending.reason)

    def _outcome(self, state: State, reason: str) -> HostOutcome:
        return HostOutcome(name=self._host.name, state=state, starts=self._starts, up_s=self._up_s, reason=reason)

    def _say(self, what: str) -> None:
        self._tell(self._host.name, what)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True
