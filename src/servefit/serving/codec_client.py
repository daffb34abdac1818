"""The queue of what a worker has its codec do: decode bodies and encode predictions that the event loop has no time
for.

One task at a time, each for as long as a request may take to be received, and no longer. The process is started when it
is first needed, and again when it died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.serving.codec_process import CodecProcess
from servefit.serving.codec_tasks import (
    CodecTask,
    Content,
    DecodeBody,
    DecodedRows,
    EncodedReply,
    EncodePredictions,
    Ready,
    RefusedTask,
    TaskResult,
)
from servefit.serving.event_log import log_event
from servefit.serving.messages import Encode, Inference, PendingReply, Refused, Request
from servefit.serving.replying import refusal

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

    from servefit.serving.config import EndpointConfig
    from servefit.serving.routing import Action

_START_S = 30.0
"""It takes 0.3 s (ADR 8), and a hundred times that on a machine that has no time for it."""


@dataclass(slots=True, eq=False)
class _Job:
    """A task whose answer ``take_result`` takes, unless it is a refusal, or nobody waits for it any more."""

    task: CodecTask
    content: Content
    pending: PendingReply
    take_result: Callable[[TaskResult, memoryview], None]


class CodecClient:
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
        self,
        request: Request,
        action: Action,
        pending: PendingReply,
        decoded: Callable[[Inference, PendingReply], None],
    ) -> None:
        """Have ``decoded`` called with the rows of ``request``, or have ``pending`` answered why not."""

        def take_result(answer: TaskResult, content: memoryview) -> None:
            if isinstance(answer, DecodedRows):
                decoded(answer.inference(content), pending)

        self._add(_Job(DecodeBody(action, request.headers), request.body, pending, take_result))

    def encode(self, encode: Encode, predictions: np.ndarray, pending: PendingReply, timing: bytes) -> None:
        """Have ``pending`` answered with ``predictions``, which stay as they are, or why not."""

        def take_result(answer: TaskResult, content: memoryview) -> None:
            if isinstance(answer, EncodedReply):
                pending.answer(answer.reply(content), timing)

        values = np.ascontiguousarray(predictions)
        task = EncodePredictions(encode, values.dtype.str, values.shape)
        self._add(_Job(task, values.data.cast("B"), pending, take_result))

    def drop_gone(self) -> None:
        """Make room of what nobody waits for."""
        gone = [job for job in self._waiting if job.pending.gone]
        if gone:
            self._waiting = deque(job for job in self._waiting if not job.pending.gone)
            for job in gone:
                self._release(job)

    def _add(self, job: _Job) -> None:
        self._waiting.append(job)
        self.jobs += 1
        self.held_bytes += len(job.content)
        self._start_next()

    def _release(self, job: _Job) -> None:
        self.jobs -= 1
        self.held_bytes -= len(job.content)

    def _start_next(self) -> None:
        """Have the next task done that somebody waits for, if none is being done."""
        while self._current is None and self._waiting:
            job = self._waiting.popleft()
            if job.pending.gone:
                self._release(job)
                continue
            self._current = job
            if self._process is None:
                self._start()
            elif self._ready:
                self._send(job, self._process)

    def _send(self, job: _Job, process: CodecProcess) -> None:
        process.send(job.task, job.content)
        self._wait(self._patience_s)

    def _start(self) -> None:
        try:
            self._process = CodecProcess(self._loop, self._config, self._answered, self._gone)
        except OSError as error:
            self._fail(f"cannot be started: {error.strerror}")
        else:
            self._wait(_START_S)

    def _wait(self, timeout_s: float) -> None:
        self._stop_waiting()
        self._timer = self._loop.call_later(timeout_s, self._time_is_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answered(self, answer: TaskResult, content: memoryview) -> None:
        self._stop_waiting()
        job = self._current
        if isinstance(answer, Ready):
            self._ready = True
            if job is not None and self._process is not None:
                self._send(job, self._process)
        elif job is not None:
            self._finish(job)
            self._start_next()
            if isinstance(answer, RefusedTask):
                job.pending.answer(refusal(answer.refused()))
            elif not job.pending.gone:
                job.take_result(answer, content)

    def _finish(self, job: _Job) -> None:
        self._current = None
        self._release(job)

    def _time_is_up(self) -> None:
        job, process, ready = self._current, self._process, self._ready
        self._process, self._ready = None, False
        if process is not None:
            process.kill()
        if not ready:
            self._fail(f"was not ready within {_START_S:g} s")
        elif job is not None:
            self._finish(job)
            job.pending.answer(refusal(job.task.too_costly(f"{self._patience_s:g} s")))
        self._start_next()

    def _gone(self, how: str) -> None:
        self._stop_waiting()
        self._process, self._ready = None, False
        self._fail(how)
        self._start_next()

    def _fail(self, how: str) -> None:
        """Say that the process cannot do what it should be doing, and answer whoever waits for that."""
        log_event(f"{self._name}: its codec, which reads long bodies and writes long answers: {how}")
        job = self._current
        if job is not None:
            self._finish(job)
            job.pending.answer(
                refusal(Refused(500, f"the process that reads long bodies and writes long answers: {how}"))
            )
