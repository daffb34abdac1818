"""The queue of a worker: requests wait here for the predictor, and join its calls.

Everything that was read in one round of the event loop can join one call. Only where a delay is configured does the
first of fewer than ``max_batch`` wait for others. Every few calls, or after a long one, the loop reads and writes, so
that whoever does not want the predictor is answered meanwhile; a request whose rows take long is called for in parts
(``pace``). The queue is bounded in requests and in bytes; beyond that they are refused.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from msgspec import structs

from servefit.backends.model.packing import join
from servefit.errors import RowsRefused
from servefit.serving.messages import Inference, PendingReply, Refused
from servefit.serving.pace import Parts, RowTimes, refuse_slow
from servefit.serving.replying import RETRY_AFTER, refusal
from servefit.serving.timer import Timer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from servefit.serving.codec_client import CodecClient
    from servefit.serving.config import EndpointConfig
    from servefit.serving.counters import WorkerCounters
    from servefit.serving.event_log import FailureLog


_MIN_TURN_NS = 250_000
"""Quick calls follow one another for so long before the loop reads and writes again. Calls in a row find the model in
the caches: with one request a call, 64 connections are served with a fifth less CPU time."""

_MAX_TURN_NS = 20_000_000
"""Longer turns would keep reading and writing waiting for more than the 50 ms that nobody may wait for but a prediction
(ADR 8)."""

_MAX_JOINED_BYTES = 2**26
"""Of the rows of a call, each as wide as the widest of them. Chosen: what is wider is computed for longer than joining
saves."""

_FEW_VALUES = 20_000
"""Up to so many predictions of a call are encoded here, which takes 3 ms in JSON; more in the codec."""

_Waiting: TypeAlias = "tuple[int, Inference, PendingReply, Parts | None]"
"""When it came, its rows that are not predicted yet, who waits for it, and the part that is predicted."""


class Batching:
    """Calls ``predict`` on the event loop's own thread: predictors are for one thread, and handing rows to another and
    back takes longer than most calls. ``now_ns`` and ``make_timer`` have one clock."""

    def __init__(
        self,
        config: EndpointConfig,
        predict: Callable[[np.ndarray], np.ndarray],
        counters: WorkerCounters,
        loop: AbstractEventLoop,
        codec: CodecClient,
        failures: FailureLog,
        pace: RowTimes | None = None,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        make_timer: Callable[[AbstractEventLoop, Callable[[], None]], Timer] = Timer,
    ) -> None:
        self._predict = predict
        self._pace = RowTimes() if pace is None else pace
        self._failures = failures
        self._rows_together = config.rows_together
        self._most_ns = 1e9 * config.limits.call_timeout_s
        signature = config.signature
        self._packing = signature.output_packing if signature.output_sizes else None
        self._join: Callable[[list[np.ndarray]], np.ndarray] = join if config.signature.sizes else np.concatenate
        self._codec = codec
        self._counters = counters
        self._call_soon = loop.call_soon
        self._max_batch = config.max_batch
        self._most_joined = 0 if config.signature.sizes else config.max_batch
        self._most_rows = config.limits.rows
        self._most_bytes = config.limits.buffered_bytes
        self._most_waiting = config.limits.queued_requests
        self._delay_ns = 1000 * config.batch_delay_us if config.max_batch > 1 else 0
        self._now_ns = now_ns
        self._timer = make_timer(loop, self._expired) if self._delay_ns else None
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._due = False
        self._looked_for_gone = False
        self._to_part, self._apart = 0, 1
        self._turn_ended = 0
        self._calling: list[_Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def calling(self) -> bool:
        """True while requests that were taken from the queue have no answer yet: a call is going on, or has failed."""
        return bool(self._calling)

    def check_room(self) -> None:
        """Raise Refused when no request more can wait."""
        if self._waiting and self._is_full():
            self._drop_gone()
            if self._is_full():
                self._counters.rejected()
                raise Refused(503, f"{len(self)} requests wait already, try again later", headers=RETRY_AFTER)

    def _is_full(self) -> bool:
        bytes_held = self._waiting_bytes + self._codec.held_bytes
        return len(self._waiting) >= self._most_waiting or bytes_held >= self._most_bytes

    def submit(self, inference: Inference, pending: PendingReply) -> None:
        """Have ``pending`` answered with predictions. There must be room, as :meth:`check_room` says."""
        now = self._now_ns()
        self._waiting.append((now, inference, pending, None))
        self._waiting_bytes += inference.rows.nbytes
        if self._due:
            return
        if self._timer is None or len(self._waiting) >= self._max_batch:
            self._due = True
            self._call_soon(self._flush)
        elif len(self._waiting) == 1:
            self._timer.set(now + self._delay_ns)

    def fail(self, error: BaseException) -> None:
        """Answer the requests of the call that raised ``error``, and go on with others."""
        failed, self._calling = self._calling, []
        self._counters.failed(len(failed))
        reply = refusal(Refused(500, f"the predictor failed with {type(error).__name__}"))
        for _, _, pending, _ in failed:
            pending.answer(reply)
        self._schedule_next()

    def _flush(self) -> None:
        """Call the predictor until the queue is empty, or for as long as the loop was busy with other things before:
        refusing must not leave too little time for what was let in."""
        began = self._now_ns()
        turn_ns = min(max(_MIN_TURN_NS, began - self._turn_ended), _MAX_TURN_NS)
        while batch := self._take():
            self._turn_ended = self._call(batch)
            if self._turn_ended - began > turn_ns or self._may_wait():
                break
        self._schedule_next()

    def _call(self, batch: list[_Waiting]) -> int:
        """Have the requests of ``batch`` answered with one call; return when it ended. What the predictor raises goes
        to the event loop, which has it reported to :meth:`fail`."""
        self._calling = batch
        alone = len(batch) == 1
        rows = batch[0][1].rows if alone else self._join([inference.rows for _, inference, _, _ in batch])
        if alone and len(rows) > 1:
            try:
                rows = self._first_part(rows)
            except Refused as refused:
                return self._refuse(batch[0][2], refused)
        began = self._now_ns()
        self._counters.calling(began)
        try:
            predictions = self._predict(rows)
        except RowsRefused as error:
            return self._rows_refused(batch, error)
        ended = self._now_ns()
        if len(predictions) != len(rows):
            raise ValueError(f"{len(predictions)} predictions for {len(rows)} rows")
        taken_ns = ended - began
        self._pace.learn(rows, taken_ns)
        if alone and (batch[0][3] is not None or len(rows) < len(batch[0][1].rows)):
            self._add_part(batch[0], predictions, began, taken_ns)
            return ended
        waited = [began - since for since, _, _, _ in batch]
        self._counters.called(len(rows), waited, taken_ns=taken_ns, ended_ns=ended)
        first, values = 0, 0
        for (_, inference, pending, _), waited_ns in zip(batch, waited, strict=True):
            last = first + len(inference.rows)
            own = predictions if alone else predictions[first:last]
            values += self._answer(inference, pending, own, waited_ns, taken_ns, values_before=values)
            first = last
        self._calling = []
        return ended

    def _answer(
        self,
        inference: Inference,
        pending: PendingReply,
        own: np.ndarray,
        waited_ns: int,
        taken_ns: int,
        *,
        values_before: int = 0,
    ) -> int:
        """Have ``pending`` answered with its ``own`` predictions, here if these and those of the same call that were
        before are few; return how many they are."""
        if self._packing is not None:
            own = own[:, : max(self._packing.width(sizes) for _, sizes in self._packing.groups(own))]
        timing = b"server-timing: queue;dur=%.3f, predict;dur=%.3f\r\n" % (waited_ns / 1e6, taken_ns / 1e6)
        if values_before + own.size <= _FEW_VALUES or inference.quick:
            pending.answer(inference.encode(own), timing)
        else:
            self._codec.encode(inference.encode, own, pending, timing)
        return own.size

    def _first_part(self, rows: np.ndarray) -> np.ndarray:
        """Return as many of the first ``rows`` of a request as one call is given. Raises Refused where they have to be
        predicted together, and would take too long."""
        values = rows.size // len(rows)
        if not self._rows_together:
            most = self._pace.most_rows(values)
            return rows if most >= len(rows) else rows[:most]
        refuse_slow(len(rows), self._pace.shown_ns(values), self._most_ns)
        return rows

    def _add_part(self, waiting: _Waiting, predictions: np.ndarray, began: int, taken_ns: int) -> None:
        """Take the predictions of a part of a request, and answer it, or have it wait behind others for its next
        part."""
        since, inference, pending, before = waiting
        parts = Parts(queued_ns=began - since) if before is None else before
        parts.add(predictions, taken_ns)
        rest = inference.rows[len(predictions) :]
        self._calling = []
        if not rest.size:
            ended = began + taken_ns
            self._counters.called(parts.rows, [parts.queued_ns], taken_ns=parts.taken_ns, ended_ns=ended)
            self._answer(inference, pending, parts.joined(), parts.queued_ns, parts.taken_ns)
            return
        self._counters.returned()
        try:
            parts.check(len(rest), self._most_ns)
        except Refused as refused:
            self._refuse(pending, refused)
        else:
            self._waiting.append((since, structs.replace(inference, rows=rest), pending, parts))
            self._waiting_bytes += rest.nbytes

    def _refuse(self, pending: PendingReply, refused: Refused) -> int:
        """Answer the request that was to be called for; return the time."""
        self._calling = []
        self._counters.failed(1)
        pending.answer(refusal(refused))
        return self._now_ns()

    def _rows_refused(self, batch: list[_Waiting], error: RowsRefused) -> int:
        """Answer a request whose rows the model refuses. A batch of several requests is called again in two halves, to
        separate that request from the others."""
        self._calling = []
        if len(batch) > 1:
            self._waiting.extendleft(reversed(batch))
            self._waiting_bytes += sum(inference.rows.nbytes for _, inference, _, _ in batch)
            self._to_part, self._apart = len(batch), (len(batch) + 1) // 2
        else:
            message = error.told
            if error.is_private:
                message = self._failures.answer(message, error.told_in_public)
            self._refuse(batch[0][2], Refused(error.status, " ".join(message.split())))
        return self._now_ns()

    def _may_wait(self) -> bool:
        """Return whether there is nothing to call for yet."""
        return not self._waiting or (self._timer is not None and len(self._waiting) < self._max_batch)

    def _take(self) -> list[_Waiting]:
        """Return the requests of the next call, fewer than could join where some are long, and none that nobody waits
        for."""
        batch: list[_Waiting] = []
        waiting, rows = self._waiting, 0
        most = self._apart if self._to_part else self._max_batch
        widest_bytes = 0
        while waiting and len(batch) < most:
            _, inference, pending, parts = first = waiting[0]
            rows += len(inference.rows)
            widest_bytes = max(widest_bytes, inference.rows[0].nbytes)
            if batch and (
                parts is not None
                or rows > self._most_rows
                or rows * widest_bytes > _MAX_JOINED_BYTES
                or (rows > self._most_joined and rows > self._pace.most_rows(widest_bytes // inference.rows.itemsize))
            ):
                break
            waiting.popleft()
            self._waiting_bytes -= inference.rows.nbytes
            if pending.gone:
                rows -= len(inference.rows)
            else:
                batch.append(first)
                if parts is not None:
                    break
        self._to_part = max(0, self._to_part - len(batch))
        return batch

    def _schedule_next(self) -> None:
        """Have what waits by now called in time, after a call."""
        waiting = self._waiting
        self._counters.waiting(len(waiting))
        self._due = self._looked_for_gone = False
        if not waiting:
            return
        if self._timer is not None and self._may_wait():
            self._timer.set(waiting[0][0] + self._delay_ns)
            return
        self._due = True
        self._call_soon(self._flush)

    def _expired(self) -> None:
        """Call for what waits, if it is due: the timer is never set for later than the first in the queue may wait."""
        if not self._due and self._waiting:
            if self._now_ns() >= self._waiting[0][0] + self._delay_ns:
                self._flush()
            elif self._timer is not None:
                self._timer.set(self._waiting[0][0] + self._delay_ns)

    def _drop_gone(self) -> None:
        """Make room of requests that nobody waits for. It takes long, so it is done once between two calls."""
        if not self._looked_for_gone:
            self._looked_for_gone = True
            self._waiting = deque(waiting for waiting in self._waiting if not waiting[2].gone)
            self._waiting_bytes = sum(inference.rows.nbytes for _, inference, _, _ in self._waiting)
