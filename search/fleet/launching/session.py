"""One connection to a host, for as long as the agent on it lives."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servefit.errors import MeasurementError
from servefit.search.fleet.launching.handover import READY
from servefit.search.fleet.launching.ssh import ALLOCATED_PORT, ssh_command
from servefit.search.fleet.launching.tether import BEAT_S, STARTED

if TYPE_CHECKING:
    from servefit.search.fleet.launching.inventory import InventoryHost
    from servefit.search.fleet.launching.tunnel import TunnelledDatabase

_log = logging.getLogger(__name__)

END_S = 5.0
"""A host that was told to end its agent has so long; then the connection is cut, which the host notices by itself."""

_READ_S = 1.0
"""The time for reading the last lines of ssh, which are there at once when it has ended."""

_LINES_KEPT = 20
_MAX_LINE = 300
"""Characters of a line of stderr that are shown. Chosen, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnd:
    """The end of a connection.

    Args:
        status: The exit status of ssh: that of the remote command, or ``ssh.OWN_STATUS``.
        lines: The last lines on stderr, those of ssh and those of the agent, without secrets and control characters.
        started: Whether the agent was started.
        up_s: How long it then lived.
    """

    status: int
    lines: tuple[str, ...]
    started: bool
    up_s: float

    @property
    def last_line(self) -> str:
        return self.lines[-1] if self.lines else ""


class SshSession:
    """A connection to ``host``. ``on_ready`` is called once the agent takes orders, with its process id there."""

    def __init__(
        self,
        host: InventoryHost,
        database: TunnelledDatabase,
        *,
        on_ready: Callable[[int], None],
        program: str = "ssh",
    ) -> None:
        self._host = host
        self._database = database
        self._on_ready = on_ready
        self._ready = READY.format(name=host.name)
        self._program = program
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._started_at_s: float | None = None
        self._pid = 0

    async def run(self, stop: asyncio.Event) -> SessionEnd:
        """Connect, start the agent, and wait until it has ended; once ``stop`` is set it is told to end. Raises
        MeasurementError where there is no ssh here."""
        try:
            process = await asyncio.create_subprocess_exec(
                *ssh_command(self._host, self._database, program=self._program),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Ctrl-C is for the starter, which then ends the agents one way
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise MeasurementError(
                f"{self._program} is not installed", remedy="install OpenSSH's client (Debian: openssh-client)"
            ) from error
        stdin, stdout, stderr = _pipes(process)
        reading = [
            asyncio.create_task(self._read_stdout(stdout)),
            asyncio.create_task(self._read_stderr(stderr, stdin)),
        ]
        beating = asyncio.create_task(self._beat(stdin))
        try:
            status = await self._status(process, stdin, stop)
            # What a killed ssh has started may hold its stderr for a moment.
            await asyncio.wait(reading, timeout=_READ_S)
        finally:
            beating.cancel()
            _signal(process, signal.SIGKILL)
            stdin.close()
            # The loop has to hear of the end of the process, and of its pipes, before it is closed.
            await asyncio.wait([*reading, asyncio.create_task(process.wait())], timeout=_READ_S)
            for task in reading:
                task.cancel()
        up_s = 0.0 if self._started_at_s is None else time.monotonic() - self._started_at_s
        return SessionEnd(status=status, lines=tuple(self._lines), started=self._started_at_s is not None, up_s=up_s)

    async def _status(
        self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter, stop: asyncio.Event
    ) -> int:
        """Return the exit status of ssh, which is told to end once ``stop`` is set."""
        ended, stopped = asyncio.create_task(process.wait()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                # The end of stdin is what the tether acts on. One that is not there yet has nothing to end.
                stdin.close()
                await asyncio.wait((ended,), timeout=END_S if self._started_at_s is not None else 0)
                if not ended.done():
                    _signal(process, signal.SIGKILL)
            return await ended
        finally:
            stopped.cancel()
            ended.cancel()

    async def _beat(self, stdin: asyncio.StreamWriter) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            if self._started_at_s is not None:
                await _send(stdin, "\n")

    async def _read_stdout(self, stdout: asyncio.StreamReader) -> None:
        async for line in _lines_of(stdout):
            if self._started_at_s is None and (match := re.fullmatch(rf"{STARTED} (\d+)", line)):
                self._started_at_s = time.monotonic()
                self._pid = int(match[1])

    async def _read_stderr(self, stderr: asyncio.StreamReader, stdin: asyncio.StreamWriter) -> None:
        connected = False
        async for line in _lines_of(stderr):
            if not connected and (match := re.match(ALLOCATED_PORT, line)):
                connected = True
                await _send(stdin, f"{self._database.url_through(int(match[1]))}\n")
            elif self._pid and line.startswith(self._ready):
                self._on_ready(self._pid)
            elif shown := _shown(self._database.address.scrubbed(line)):
                self._lines.append(shown)
                _log.info("%s: %s", self._host.name, shown)


def _pipes(
    process: asyncio.subprocess.Process,
) -> tuple[asyncio.StreamWriter, asyncio.StreamReader, asyncio.StreamReader]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("ssh was started without pipes")
    return process.stdin, process.stdout, process.stderr


async def _send(stdin: asyncio.StreamWriter, text: str) -> None:
    if stdin.is_closing():
        return
    with suppress(ConnectionError):  # that ssh has ended is found out where it is waited for
        stdin.write(text.encode())
        await stdin.drain()


async def _lines_of(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield the lines of a stream; one that is longer than the stream's buffer comes in pieces."""
    while True:
        try:
            line = await stream.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
        except asyncio.LimitOverrunError as error:
            line = await stream.readexactly(error.consumed)
        if not line:
            return
        yield line.decode(errors="replace").rstrip("\r\n")


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to ssh and to what it has started, such as the ssh of a ProxyJump."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _shown(line: str) -> str:
    """Return a line of another host as a terminal may be given it: without control characters, and not endless."""
    return "".join(character if character.isprintable() else " " for character in line)[:_MAX_LINE].strip()
