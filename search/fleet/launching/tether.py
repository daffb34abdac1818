"""The program that SSH starts on a host: it starts the agent, and ends it when the connection is gone.

Run as ``python -m servefit.search.fleet.launching.tether COMMAND...``, with the URL of the database as the first line
of stdin, so that it stands in no command line. Each later line is a sign of life of the starter. Where stdin ends, or
gives no sign for ``SILENCE_S``, the command is told to end by SIGTERM, and killed with all that it started after
``GRACE_S``. A terminal (``ssh -tt``) would end nothing on a host that does not notice that the cable is out, and it
would mix stdout with stderr and echo the URL.

On stdout are lines for the starter, which begin with ``SAYS``; the command's own output goes to stderr. The exit status
is that of the command, 128 and the signal for one that was killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from servefit.processes import adopt_orphans, descendants, die_with_parent, end_processes
from servefit.search.fleet.launching.handover import STORAGE_VARIABLE

SAYS = "servefit-tether: "
STARTED = f"{SAYS}started"

BEAT_S = 5.0
"""The starter gives a sign of life so often."""

SILENCE_S = 30.0
"""Six signs that did not come: the cable is out, or the starter has stopped. A packet that is lost is sent again within
seconds. ssh itself notices after 15 s, and the starter tries again from then on."""

GRACE_S = 4.2
"""An agent may take so long to end what it measures: it gives that 4 s, and then says that it leaves. With the killing
all is over within 5 s."""

NO_URL = 64
"""The exit status where no URL came: EX_USAGE of <sysexits.h>, which no agent ends with."""

NOT_STARTED = 126
"""The exit status where the command cannot be run, as shells have it."""

_MAX_URL_BYTES = 65_536
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(command: Sequence[str]) -> int:
    """Carry ``command`` out as the module says, and return the exit status."""
    adopt_orphans()
    told_to_end = _Signals()
    url = _first_line()
    if url is None:
        sys.stderr.write("no URL of a database came before the connection ended\n")
        return NO_URL
    try:
        process = _start(command, url)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be run: {error.strerror}\n")
        return NOT_STARTED
    with suppress(OSError):  # a starter that is gone is noticed below
        os.write(1, f"{STARTED} {process.pid}\n".encode())
    if _wait(process, told_to_end):
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
    # What it leaves is ended too: workers in sessions of their own, and what outlived its parent.
    end_processes(lambda: descendants(os.getpid()))
    status = process.wait()
    return status if status >= 0 else 128 - status


class _Signals:
    """The signals that end this process: each makes ``descriptor`` readable."""

    def __init__(self) -> None:
        self.descriptor, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Python writes to the pipe before this."""


def _first_line() -> str | None:
    """Return the first line of stdin, read by bytes: what follows is left to ``_wait``."""
    line = bytearray()
    while not line.endswith(b"\n"):
        if len(line) > _MAX_URL_BYTES or not (byte := os.read(0, 1)):
            return None
        line += byte
    return line.decode(errors="replace").rstrip("\n") or None


def _start(command: Sequence[str], url: str) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=2,
        env={**os.environ, STORAGE_VARIABLE: url},
        start_new_session=True,
        # Nothing else runs in this process. Killing it outright ends the agent as well.
        preexec_fn=lambda: die_with_parent(parent, by=signal.SIGTERM),
    )


def _wait(process: subprocess.Popen[bytes], told_to_end: _Signals) -> bool:
    """Wait until the process has ended, and return False, or until it is to end, and return True."""
    ended = os.pidfd_open(process.pid)
    silent_at_s = time.monotonic() + SILENCE_S
    try:
        while (patience_s := silent_at_s - time.monotonic()) > 0:
            ready, _, _ = select.select([0, ended, told_to_end.descriptor], [], [], patience_s)
            if ended in ready:
                return False
            if told_to_end.descriptor in ready:
                return True
            if 0 in ready:
                if not os.read(0, _MAX_URL_BYTES):
                    return True
                silent_at_s = time.monotonic() + SILENCE_S
        return True
    finally:
        os.close(ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
