"""A worker's process as the supervisor sees it: started, spoken to, checked, and counted with its connections."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servefit.serving.channel import Channel, Message
from servefit.serving.stopping import STOPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servefit.serving.counters import WorkerCounters
    from servefit.serving.output import WorkerOutput

_MODULE = "servefit.serving.worker"


class WorkerProcess:
    """Worker ``number`` (from 0), started at once, with ``environment`` added to this process's own. ``described`` are
    the descriptors of the counters and of the description of the endpoint, ``artifact`` those of what it will open.
    What it prints goes to ``output``.

    ``silent_s`` is how long it has given no sign of life, as far as it was checked.
    """

    def __init__(
        self,
        number: int,
        environment: Mapping[str, str],
        described: tuple[int, int],
        artifact: tuple[int, ...],
        counters: WorkerCounters,
        output: WorkerOutput,
    ) -> None:
        self.number = number
        self.channel, self._theirs = Channel.pair()
        self.ready = False
        self.stop_sent = False
        self.given_up = False
        self.silent_s = 0.0
        self._sign_ns = 0
        self._failures: list[str] = []
        self._counters = counters
        self._handed_over = counters.closed
        self.output = output
        descriptors = (self._theirs.fileno(), *described)
        with _signals_blocked():
            self._process = subprocess.Popen(
                # -P: the user's folder may hold a numpy.py
                [sys.executable, "-P", "-m", _MODULE, str(number), *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=output.write_end,
                pass_fds=(*descriptors, *artifact),
                env={**os.environ, **environment},
            )
        output.started()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def name(self) -> str:
        """The name that messages call it by."""
        return f"worker {self.number + 1} (process {self.pid})"

    @property
    def connections(self) -> int:
        """The number of its connections, those included that it has not taken yet."""
        return self._handed_over - self._counters.closed

    def has_sent(self, message: Message) -> bool:
        """Return whether it has sent ``message`` since this was last asked."""
        received = [(kind, text) for kind, _, text in self.channel.receive()]
        self._failures += [text for kind, text in received if kind is Message.FAILED]
        return any(kind is message for kind, _ in received)

    def is_dead(self) -> bool:
        return self._process.poll() is not None

    @property
    def is_calling(self) -> bool:
        """True while it is in a call of its predictor."""
        return self._counters.is_calling

    @property
    def is_in_long_call(self) -> bool:
        """True while it is in a call that has taken more than a moment."""
        return self._counters.is_in_long_call

    @property
    def serves(self) -> bool:
        """True if it has given a sign of life just now."""
        return self._counters.serves

    def check_heartbeat(self, passed_s: float) -> None:
        """Find out whether it has given a sign of life since the last check, ``passed_s`` ago."""
        sign_ns = self._counters.sign_ns
        self.silent_s = self.silent_s + passed_s if sign_ns == self._sign_ns else 0.0
        self._sign_ns = sign_ns

    def hand_over(self, connection: socket.socket) -> bool:
        """Send it a connection, which is closed here; False when it has no room for more."""
        if not self.channel.send(Message.CONNECTION, connection=connection):
            return False
        self._handed_over += 1
        connection.close()
        return True

    def stop(self) -> None:
        """Tell it once to finish what is in flight and end."""
        self.stop_sent = self.stop_sent or self.channel.send(Message.STOP)

    def kill(self) -> None:
        self._process.kill()

    def give_up(self, why: str) -> None:
        """Kill it, and have that said of how it ended."""
        self.given_up = True
        self._failures.append(why)
        self.kill()

    @property
    def has_failed(self) -> bool:
        """True once it is dead, if it did not end well."""
        return bool(self._process.poll())

    def reap(self) -> tuple[str, list[socket.socket]]:
        """Wait until it is dead; return how it ended, and the connections that it had not taken yet."""
        status = self._process.wait()
        self.has_sent(Message.FAILED)
        left = [connection for _, connection, _ in self._theirs.receive() if connection is not None]
        self._theirs.close()
        self.channel.close()
        self.output.close()
        self._counters.end(handed_over=self._handed_over)
        how = self._failures[0] if self._failures else exit_text(status)
        return f"{self.name}: {how}", left


def exit_text(status: int) -> str:
    """Describe the end of a process with this status."""
    if status >= 0:
        return f"ended with status {status}"
    # Python has no name for some signals of the system.
    name = next((member.name for member in signal.Signals if member == -status), f"signal {-status}")
    return f"killed by {name}"


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Have a child that is started meanwhile ignore the signals that end the supervisor: whoever sends them to the
    whole group, as terminals and systemd do, means that what is in flight is finished."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
