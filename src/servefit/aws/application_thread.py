"""The server's application in a thread of this process, which holds the state folder and runs its coroutines.

Everything that has to be ended belongs to that thread. A process that is forked has no such thread, so nothing of its
parent's ends with it, whatever it drops and however it exits.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.aws.server import ServerOptions, application
from servefit.aws.state.claim import FOLDER, claimed
from servefit.errors import SpecError
from servefit.state import state_folder

if TYPE_CHECKING:
    from servefit.aws.http.application import Application

_T = TypeVar("_T")


def holder_name() -> str:
    """Return what others are told of a process that holds the state folder without an address."""
    return f"process {os.getpid()}, which answers boto3 itself"


class ApplicationThread:
    """An application that runs until it is closed. Raises SpecError where another program has the state folder, and
    StateError."""

    def __init__(self, options: ServerOptions) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._submitting = threading.Lock()
        self._is_closed = False
        self._closing = asyncio.Event()
        self._begun: Future[Application] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(options,), name="answers", daemon=True)
        self._thread.start()
        either: tuple[Future[Any], ...] = (self._begun, self._ended)
        try:
            wait(either, return_when=FIRST_COMPLETED)
        except BaseException:  # Ctrl-C: no caller gets it to close it
            self.close()
            raise
        if not self._begun.done():
            self._ended.result()

    def run(self, coroutine: Callable[[Application], Coroutine[Any, Any, _T]]) -> _T:
        """Return what a coroutine on the application returns. Raises SpecError where it is closed, also meanwhile, and
        in another process than that which made it."""
        if os.getpid() != self._process:
            raise SpecError(
                "client",
                None,
                "was made in another process",
                remedy="make one in this process; to share jobs, run servefit api before the clients are made",
            )
        with self._submitting:
            if self._is_closed:
                raise _closed()
            future = asyncio.run_coroutine_threadsafe(coroutine(self._begun.result()), self._loop)
        try:
            return future.result()
        except CancelledError:
            raise _closed() from None

    def close(self) -> None:
        """End the requests that are in flight, and all that runs, and give the state folder free. In another process
        than that which made it, do nothing."""
        if os.getpid() != self._process:
            return
        with self._submitting:
            self._is_closed = True
            with suppress(RuntimeError):  # the loop is closed where the application did not begin
                self._loop.call_soon_threadsafe(self._closing.set)
        if threading.current_thread() is not self._thread:  # where its last user was collected in it
            self._ended.result()

    def _run(self, options: ServerOptions) -> None:
        try:
            with closing(self._loop), claimed(state_folder(FOLDER)) as tell, application(options) as app:
                tell(holder_name())
                self._begun.set_result(app)
                self._loop.run_until_complete(self._until_closed())
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits for the end
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _until_closed(self) -> None:
        await self._closing.wait()
        # What was submitted before has become a task by now, and nothing is any more.
        requests = asyncio.all_tasks() - {asyncio.current_task()}
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


def _closed() -> SpecError:
    return SpecError("client", None, "is closed", remedy="make another one")
