"""The output of a worker, on its way to the log of the endpoint: without the values of secrets, and no more of it than
a log can keep. A script may print a line for each request, and a library a warning."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from servefit.backends.variables.secret import Secret, hidden_environment, scrubbed
from servefit.serving.event_log import log_event, write_log

if TYPE_CHECKING:
    from servefit.serving.config import EndpointConfig

_MAX_BURST_BYTES = 2**20
_MAX_BYTES_PER_S = 2**14
"""1.4 GB a day, and what a start prints at once. Chosen, not measured."""

_MAX_LINE_BYTES = 2**13
"""A longer line is passed on in pieces, in which a secret may be cut in two."""

_MIN_SECRET_CHARACTERS = 8
"""Chosen, not measured."""

_READ_BYTES = 2**16
"""As much as a pipe holds."""


def hidden_in_output(environment: Mapping[str, str], config: EndpointConfig) -> dict[str, str]:
    """Return the secrets in the ``environment`` of a worker: those that the endpoint names, and others that look like
    one, unless they are so short that they may be part of any text."""
    own = {*dict(config.environment), *config.secret}
    hidden = hidden_environment(environment, config.secret)
    return {
        name: value
        for name, value in hidden.items()
        if isinstance(value, Secret) and (name in own or len(value.value) >= _MIN_SECRET_CHARACTERS)
    }


class OutputAllowance:
    """The bytes that all workers of an endpoint may print: so many at once, and so many a second. ``time_s`` is the
    clock."""

    def __init__(self, time_s: Callable[[], float] = time.monotonic) -> None:
        self._time_s = time_s
        self._left = float(_MAX_BURST_BYTES)
        self._at_s = time_s()

    def take(self, size: int) -> bool:
        """Return whether ``size`` bytes may be printed, which count from then on."""
        now_s = self._time_s()
        self._left = min(_MAX_BURST_BYTES, self._left + _MAX_BYTES_PER_S * (now_s - self._at_s))
        self._at_s = now_s
        if size > self._left:
            return False
        self._left -= size
        return True


class WorkerOutput:
    """A pipe for stdout and stderr of a worker with ``environment``, in which secrets are hidden. Give ``write_end`` to
    the worker, then call :meth:`started`; call :meth:`read` when ``fileno`` is readable. The pipe is always read,
    however much is left out: a worker must not wait for a log."""

    def __init__(self, environment: Mapping[str, str], allowance: OutputAllowance) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._environment = environment
        self._allowance = allowance
        self._rest = b""
        self._left_out = 0

    def fileno(self) -> int:
        return self._read_end

    def started(self) -> None:
        os.close(self.write_end)

    def read(self) -> bool:
        """Pass on some of what has come; return False at the end."""
        content = os.read(self._read_end, _READ_BYTES)
        lines, line_end, self._rest = (self._rest + content).rpartition(b"\n")
        if not content or len(self._rest) > _MAX_LINE_BYTES:
            lines, self._rest = lines + line_end + self._rest, b""
            line_end = b""
        if lines or line_end:
            self._pass_on(lines + line_end)
        return bool(content)

    def close(self) -> None:
        """Pass on what is left."""
        with suppress(BlockingIOError):  # others that it started hold the pipe
            while self.read():
                pass
        if self._rest:
            self._pass_on(self._rest + b"\n")
        if self._left_out:
            self._say_left_out()
        os.close(self._read_end)

    def _pass_on(self, content: bytes) -> None:
        if not self._allowance.take(len(content)):
            self._left_out += len(content)
            return
        if self._left_out:
            self._say_left_out()
        text = scrubbed(content.decode(errors="surrogateescape"), self._environment)
        write_log(text.encode(errors="surrogateescape"))

    def _say_left_out(self) -> None:
        log_event(f"a worker printed too much: {self._left_out} bytes were left out")
        self._left_out = 0
