"""What a worker has its codec do: decode bodies and encode predictions that the event loop has no time for.

One at a time, each for as long as a request may take to be received, and no longer. The process is started when it is
first needed, and again when it died.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.serving.codec_process import CodecProcess
from servefit.serving.messages import Asker, Encode, Inference, Refused, Request
from servefit.serving.orders import Answer, Content, Declined, Order, Reading, Ready, Rows, Writing, Written
from servefit.serving.replying import refusal
from servefit.serving.saying import say

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

    from servefit.serving.config import EndpointConfig
    from servefit.serving.routing import Action

_START_S = 30.0


@dataclass(slots=True, eq=False)
class _Job:
    """An order whose answer ``take`` takes, unless it is a refusal, or nobody waits for it any more."""

    order: Order
    content: Content
    asker: Asker
    take: Callable[[Answer, memoryview], None]


class Coding:
    """``name`` is what the worker is called. ``jobs`` are waiting or being done, and hold ``held_bytes``."""

    def __init__(self, config: EndpointConfig, loop: AbstractEventLoop, name: str) -> None:
        self._config = config
        self._loop = loop
        self._name = name
        self._patience_s = config.limits.read_timeout_s
        self._waiting: deque[_Job] = deque()
        self._current: _Job | None = None
        self._process: CodecProcess | None = None
        self._ready = False
        self._timer: TimerHandle | None = None
        self.jobs = 0
        self.held_bytes = 0

    def decode(
        self, request: Request, action: Action, asker: Asker, decoded: Callable[[Inference, Asker], None]
    ) -> None:
        """Have ``decoded`` called with what ``asker`` asks predictions for, or have it answered why not."""

        def take(answer: Answer, content: memoryview) -> None:
            if isinstance(answer, Rows):
                decoded(answer.inference(content), asker)

        self._add(_Job(Reading(action, request.headers), request.body, asker, take))

    def encode(self, encode: Encode, predictions: np.ndarray, asker: Asker, timing: bytes) -> None:
        """Have ``asker`` answered with ``predictions``, which stay as they are, or why not."""

        def take(answer: Answer, content: memoryview) -> None:
            if isinstance(answer, Written):
                asker.answer(answer.reply(content), timing)

        values = np.ascontiguousarray(predictions)
        order = Writing(encode, values.dtype.str, values.shape)
        self._add(_Job(order, values.data.cast("B"), asker, take))

    def drop_gone(self) -> None:
        """Make room of what nobody waits for."""
        gone = [job for job in self._waiting if job.asker.gone]
        if gone:
            self._waiting = deque(job for job in self._waiting if not job.asker.gone)
            for job in gone:
                self._let_go(job)

    def _add(self, job: _Job) -> None:
        self._waiting.append(job)
        self.jobs += 1
        self.held_bytes += len(job.content)
        self._go_on()

    def _let_go(self, job: _Job) -> None:
        self.jobs -= 1
        self.held_bytes -= len(job.content)

    def _go_on(self) -> None:
        """Have the next order followed that somebody waits for, if none is being followed."""
        while self._current is None and self._waiting:
            job = self._waiting.popleft()
            if job.asker.gone:
                self._let_go(job)
                continue
            self._current = job
            if self._process is None:
                self._start()
            elif self._ready:
                self._send(job, self._process)

    def _send(self, job: _Job, process: CodecProcess) -> None:
        process.send(job.order, job.content)
        self._wait(self._patience_s)

    def _start(self) -> None:
        try:
            self._process = CodecProcess(self._loop, self._config, self._answered, self._gone)
        except OSError as error:
            self._fail(f"cannot be started: {error.strerror}")
        else:
            self._wait(_START_S)

    def _wait(self, most_s: float) -> None:
        self._stop_waiting()
        self._timer = self._loop.call_later(most_s, self._time_is_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answered(self, answer: Answer, content: memoryview) -> None:
        self._stop_waiting()
        job = self._current
        if isinstance(answer, Ready):
            self._ready = True
            if job is not None and self._process is not None:
                self._send(job, self._process)
        elif job is not None:
            self._finish(job)
            self._go_on()
            if isinstance(answer, Declined):
                job.asker.answer(refusal(answer.refused()))
            elif not job.asker.gone:
                job.take(answer, content)

    def _finish(self, job: _Job) -> None:
        self._current = None
        self._let_go(job)

    def _time_is_up(self) -> None:
        job, process, ready = self._current, self._process, self._ready
        self._process, self._ready = None, False
        if process is not None:
            process.kill()
        if not ready:
            self._fail(f"was not ready within {_START_S:g} s")
        elif job is not None:
            self._finish(job)
            job.asker.answer(refusal(job.order.too_costly(f"{self._patience_s:g} s")))
        self._go_on()

    def _gone(self, how: str) -> None:
        self._stop_waiting()
        self._process, self._ready = None, False
        self._fail(how)
        self._go_on()

    def _fail(self, how: str) -> None:
        """The process cannot do what it should be doing."""
        say(f"{self._name}: its codec, which reads long bodies and writes long answers: {how}")
        job = self._current
        if job is not None:
            self._finish(job)
            job.asker.answer(
                refusal(Refused(500, f"the process that reads long bodies and writes long answers: {how}"))
            )
