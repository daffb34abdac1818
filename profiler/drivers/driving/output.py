"""The output of a worker: read as it comes, so that it never blocks. Only the tail is kept, and all of it passed on
where somebody wants to see it; secrets of its environment are in neither."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Mapping

from servefit.backends.variables.secret import scrubbed

TAIL_BYTES = 16_384
"""A traceback of a library, and some lines before it. Chosen, not measured."""

_POLL_MS = 100
"""So much later at most :meth:`CapturedOutput.close` is noticed; what is printed is read at once."""


class CapturedOutput:
    """A pipe for stdout and stderr of a child with ``environment``, drained by a thread of this process.

    Give ``write_end`` to the child, then call :meth:`child_started`. A grandchild that outlives its parent may hold
    the pipe open for ever, so the thread ends when it is told to and not when the pipe does.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._tail = b""
        self._reading = threading.Lock()
        self._pass_on: Callable[[bytes], object] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="servefit-worker-output", daemon=True)

    def child_started(self) -> None:
        os.close(self.write_end)
        self._thread.start()

    def pass_on(self, write: Callable[[bytes], object]) -> None:
        """Give ``write`` what is printed from now on. What has been printed before is not passed on."""
        self._read_what_is_there()
        self._pass_on = write

    def close(self) -> str:
        """Stop reading, and give the end of what was printed. Call it once, after the child is dead."""
        self._stop.set()
        if self._thread.ident is None:
            os.close(self.write_end)
        else:
            self._thread.join()
        self._read_what_is_there()
        os.close(self._read_end)
        return scrubbed(self._tail.decode(errors="replace"), self._environment).strip()

    def _drain(self) -> None:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        while not self._stop.is_set():
            if poll.poll(_POLL_MS) and not self._read_what_is_there():
                return

    def _read_what_is_there(self) -> bool:
        """Move what the pipe holds into the tail; give False at its end."""
        while True:
            with self._reading:
                try:
                    chunk = os.read(self._read_end, 65_536)
                except BlockingIOError:
                    return True
                if not chunk:
                    return False
                self._tail = (self._tail + chunk)[-TAIL_BYTES:]
                if self._pass_on is not None:
                    said = scrubbed(chunk.decode(errors="surrogateescape"), self._environment)
                    self._pass_on(said.encode(errors="surrogateescape"))
            if self._stop.is_set():
                return True
