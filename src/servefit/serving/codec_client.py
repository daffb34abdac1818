"""The queue of what a worker has its codec do: decode bodies and encode predictions that the event loop has no time
for.

One task at a time, with as much CPU time as a request may take to be received; predictions first, since the predictor
has done its work for them. Bodies have places of their own, apart from those of short requests, and do not wait longer
than that. The process is started when it is first needed, and again when it died."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from servefit.serving.codec_process import CodecProcess
from servefit.serving.codec_tasks import (
    CodecReady,
    CodecTask,
    Content,
    DecodeBody,
    DecodedRows,
    EncodedReply,
    EncodePredictions,
    RefusedTask,
    TaskResult,
)
from servefit.serving.event_log import log_event
from servefit.serving.messages import Encode, Inference, PendingReply, Refused, Request
from servefit.serving.process import exit_text
from servefit.serving.replying import RETRY_AFTER, refusal

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, TimerHandle

    from servefit.serving.config import EndpointConfig
    from servefit.serving.counters import WorkerCounters
    from servefit.serving.routing import Action

_START_S = 30.0
"""It takes 0.3 s (ADR 8), and a hundred times that on a machine that has no time for it."""

_MAX_WALL_TIMES = 6
"""A task is given up when so many times the CPU time that it may take has passed: the machine has no time for it. By
default that is 60 s, as long as SageMaker lets an invocation take."""

_PART_OF_BYTES = 2
"""Long bodies may hold one half of what a worker may hold, so that short requests always have the other."""


@dataclass(slots=True, eq=False)
class _Job:
    """A task whose answer ``take_result`` takes, unless it is a refusal, or nobody waits for it any more. ``overdue``
    is the timer of one that may not wait for ever."""

    task: CodecTask
    content: Content
    pending: PendingReply
    take_result: Callable[[TaskResult, memoryview], None]
    overdue: TimerHandle | None = None


class CodecClient:
    """``name`` is what the worker is called. What waits, or is being done, holds ``held_bytes``."""

    def __init__(self, config: EndpointConfig, loop: AbstractEventLoop, name: str, counters: WorkerCounters) -> None:
        self._config = config
        self._loop = loop
        self._name = name
        self._patience_s = config.limits.read_timeout_s
        self._counters = counters
        self._most_bodies = config.limits.long_bodies
        self._most_bytes = config.limits.buffered_bytes // _PART_OF_BYTES
        self._bodies: deque[_Job] = deque()
        self._predictions: deque[_Job] = deque()
        self._current: _Job | None = None
        self._process: CodecProcess | None = None
        self._ready = False
        self._timer: TimerHandle | None = None
        self.held_bytes = 0

    def check_room(self, body: bytes) -> None:
        """Raise Refused when no long body more can wait."""
        if self._has_room(len(body)):
            return
        self._drop_gone()
        if not self._has_room(len(body)):
            raise self._rejected(f"{len(self._bodies)} long bodies wait already, try again later")

    def _has_room(self, more_bytes: int) -> bool:
        if not self._bodies:
            return True
        return len(self._bodies) < self._most_bodies and self.held_bytes + more_bytes <= self._most_bytes

    def _rejected(self, why: str) -> Refused:
        self._counters.rejected()
        return Refused(503, why, headers=RETRY_AFTER)

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

        job = _Job(DecodeBody(action, request.headers), request.body, pending, take_result)
        job.overdue = self._loop.call_later(self._patience_s, self._give_up_waiting, job)
        self._add(job, self._bodies)

    def encode(self, encode: Encode, predictions: np.ndarray, pending: PendingReply, timing: bytes) -> None:
        """Have ``pending`` answered with ``predictions``, which stay as they are, or why not."""

        def take_result(answer: TaskResult, content: memoryview) -> None:
            if isinstance(answer, EncodedReply):
                pending.answer(answer.reply(content), timing)

        values = np.ascontiguousarray(predictions)
        task = EncodePredictions(encode, values.dtype.str, values.shape)
        self._add(_Job(task, values.data.cast("B"), pending, take_result), self._predictions)

    def _drop_gone(self) -> None:
        """Make room of what nobody waits for."""
        gone = [job for job in self._bodies if job.pending.gone]
        self._bodies = deque(job for job in self._bodies if not job.pending.gone)
        for job in gone:
            self._release(job)

    def _give_up_waiting(self, job: _Job) -> None:
        self._bodies.remove(job)
        self._release(job)
        job.pending.answer(
            refusal(self._rejected(f"the body waited {self._patience_s:g} s to be read, try again later"))
        )

    def _add(self, job: _Job, queue: deque[_Job]) -> None:
        queue.append(job)
        self.held_bytes += len(job.content)
        self._start_next()

    def _release(self, job: _Job) -> None:
        """Let go of a job that does not wait any more."""
        if job.overdue is not None:
            job.overdue.cancel()
        self.held_bytes -= len(job.content)

    def _start_next(self) -> None:
        """Have the next task done that somebody waits for, if none is being done."""
        while self._current is None and (queue := self._predictions or self._bodies):
            job = queue.popleft()
            if job.pending.gone:
                self._release(job)
                continue
            if job.overdue is not None:
                job.overdue.cancel()
            self._current = job
            if self._process is None:
                self._start()
            elif self._ready:
                self._send(job, self._process)

    def _send(self, job: _Job, process: CodecProcess) -> None:
        process.send(job.task, job.content)
        self._wait(_MAX_WALL_TIMES * self._patience_s)

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
        if isinstance(answer, CodecReady):
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
            why = f"the machine is busy: the body was not read within {_MAX_WALL_TIMES * self._patience_s:g} s"
            job.pending.answer(refusal(self._rejected(f"{why}, try again later")))
        self._start_next()

    def _gone(self, status: int) -> None:
        self._stop_waiting()
        self._process, self._ready = None, False
        job = self._current
        if status == -signal.SIGPROF and job is not None:
            self._finish(job)
            job.pending.answer(refusal(job.task.too_costly(f"{self._patience_s:g} s of CPU time")))
        else:
            self._fail(exit_text(status))
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
