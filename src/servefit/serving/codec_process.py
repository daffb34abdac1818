"""The process of ``codec`` as its worker sees it: started, spoken to without waiting for it, and reaped."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from servefit.serving.codec_tasks import LENGTHS, Content, TaskResult, frame

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from servefit.serving.config import EndpointConfig

_MODULE = "servefit.serving.codec"
_REAP_EVERY_S = 0.02
"""A killed process is dead within milliseconds, and nothing waits for that to be seen."""


class CodecProcess(asyncio.BufferedProtocol):
    """Started at once, with ``config`` as its first message. ``answered`` is called with each of its answers and the
    bytes behind it, and ``gone``, once it is dead without having been killed here, with its exit status."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        config: EndpointConfig,
        answered: Callable[[TaskResult, memoryview], None],
        gone: Callable[[int], None],
    ) -> None:
        self._loop = loop
        self._config = config
        self._answered = answered
        self._gone = gone
        self._transport: asyncio.Transport | None = None
        self._killed = False
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs, ExitStack() as unless_started:
            unless_started.callback(ours.close)
            self._process = subprocess.Popen(
                # -P: the user's folder may hold a numpy.py
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            unless_started.pop_all()
        self._receive_lengths()
        self._connecting = loop.create_task(self._connect(ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: Any, content: Content = b"") -> None:
        """Send it. Nothing is copied and nothing waits: ``content`` must stay as it is until the answer is there."""
        if self._transport is not None:
            self._transport.write(frame(message, len(content)))
            self._transport.write(content)

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._killed = True
        self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    async def _connect(self, ours: socket.socket) -> None:
        await self._loop.create_unix_connection(lambda: self, sock=ours)

    def _reap(self) -> None:
        """Wait for its exit status without blocking: a killed process is dead a little later."""
        status = self._process.poll()
        if status is None:
            self._loop.call_later(_REAP_EVERY_S, self._reap)
        elif not self._killed:
            self._gone(status)

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.send(self._config)
        if self._killed:
            self._transport.abort()

    def connection_lost(self, _: BaseException | None) -> None:
        self._transport = None
        self._process.kill()  # one that only closed its socket is of no use
        self._reap()

    def get_buffer(self, _: int) -> memoryview:
        return self._room[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if self._filled == len(self._room):
            self._next()

    # What is received: lengths, a pickled answer, and the bytes behind it

    def _receive_lengths(self) -> None:
        self._receive(LENGTHS.size, self._take_lengths)

    def _receive(self, size: int, take: Callable[[], None]) -> None:
        # Not a bytearray, which writes zeros first: the pages of something long would all be touched at once.
        self._room = np.empty(size, np.uint8).data
        self._filled = 0
        self._next = take

    def _take_lengths(self) -> None:
        length, content_bytes = LENGTHS.unpack(self._room)
        self._receive(length, lambda: self._take_answer(content_bytes))

    def _take_answer(self, content_bytes: int) -> None:
        answer = pickle.loads(self._room)
        if content_bytes:
            self._receive(content_bytes, lambda: self._take_content(answer))
        else:
            self._receive_lengths()
            self._answered(answer, memoryview(b""))

    def _take_content(self, answer: TaskResult) -> None:
        content = self._room
        self._receive_lengths()
        self._answered(answer, content)
