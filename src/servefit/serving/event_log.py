"""The log of an endpoint: one line on stderr an event. Requests are not logged, but for what they made a script raise:
an exception may hold anything, such as a secret or the data of somebody else, so clients are told a reference in its
place."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import blake2b

from servefit.backends.variables.secret import scrubbed

_STDERR = 2
"""Its file descriptor."""

_MAX_KNOWN = 1000
_MAX_PER_MINUTE = 60
"""Texts that are remembered, so as to be logged once, and new ones that are logged within a minute: what is raised may
have been written by a client. Chosen, not measured."""

_MINUTE_S = 60.0


def log_event(text: str) -> None:
    """Write ``text`` as a line."""
    write_log(f"servefit: {text}\n".encode(errors="replace"))


def write_log(content: bytes) -> None:
    """Write ``content`` as it is. An endpoint goes on whether anybody listens or not."""
    with suppress(OSError):
        os.write(_STDERR, content)


class FailureLog:
    """The log of errors that requests made a script raise, in the worker called ``name``. ``time_s`` is the clock.
    Where the environment is given in which secrets are ``hidden``, clients are told what was raised, without these."""

    def __init__(
        self, name: str, *, hidden: Mapping[str, str] | None = None, time_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._hidden = hidden
        self._time_s = time_s
        # Without a key, a reference would tell a short secret to whoever tries all of them.
        self._key = os.urandom(16)
        self._known: set[str] = set()
        self._minute_ends_s = 0.0
        self._logged = 0

    def answer(self, text: str, in_place: str) -> str:
        """Return what a client is told of ``text``: a reference behind what is told ``in_place`` of it."""
        if self._hidden is not None:
            return scrubbed(text, self._hidden)
        return f"{in_place} (reference {self.refer(text)} in the log of the endpoint)"

    def refer(self, text: str) -> str:
        """Return a reference to ``text``, which is logged, unless it was before."""
        text = " ".join(text.split())
        reference = blake2b(text.encode(errors="replace"), digest_size=4, key=self._key).hexdigest()
        if reference not in self._known and self._may_log():
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known.add(reference)
            log_event(f"{self._name}: {text} (reference {reference}, said once for each text)")
        return reference

    def _may_log(self) -> bool:
        now_s = self._time_s()
        if now_s >= self._minute_ends_s:
            self._minute_ends_s = now_s + _MINUTE_S
            self._logged = 0
        self._logged += 1
        return self._logged <= _MAX_PER_MINUTE
