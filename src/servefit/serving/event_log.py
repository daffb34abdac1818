"""The log of an endpoint: one line on stderr an event. Requests are not logged."""

from __future__ import annotations

import os
from contextlib import suppress

_STDERR = 2
"""Its file descriptor."""


def log_event(text: str) -> None:
    """Write ``text`` as a line."""
    write_log(f"servefit: {text}\n".encode(errors="replace"))


def write_log(content: bytes) -> None:
    """Write ``content`` as it is. An endpoint goes on whether anybody listens or not."""
    with suppress(OSError):
        os.write(_STDERR, content)
