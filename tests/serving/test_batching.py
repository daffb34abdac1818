"""The queue of a worker, on a real event loop and a simulated clock, with predictors that note how they were called."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uvloop
from tests.serving.conftest import described

from servefit.backends.model.types import Signature, Size, Task
from servefit.errors import RowsRefused
from servefit.serving import batching
from servefit.serving.batching import Batching
from servefit.serving.codec_client import CodecClient
from servefit.serving.counters import Counters
from servefit.serving.event_log import FailureLog
from servefit.serving.messages import Counts, Inference, Refused, Reply
from servefit.serving.pace import PART_NS, RowTimes
from servefit.serving.timer import Timer

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop


class Asking:
    """Somebody who waits for an answer."""

    def __init__(self) -> None:
        self.gone = False
        self.reply: Reply | None = None
        self.timing = b""

    def answer(self, reply: Reply, timing: bytes = b"") -> None:
        assert self.reply is None
        self.reply, self.timing = reply, timing


class SimulatedTimer(Timer):
    """Expires when the clock of its queue says so."""

    def __init__(self, _: AbstractEventLoop, expired: Callable[[], None]) -> None:
        self.expire = expired
        self.at_ns = math.inf

    def set(self, at_ns: int) -> None:
        self.at_ns = at_ns


class Queue:
    """A queue whose predictor gives the first value of each row, takes a microsecond for it, and keeps the rows of
    every call."""

    def __init__(
        self, loop: AbstractEventLoop, limits: dict[str, Any], pace: RowTimes | None = None, **changes: Any
    ) -> None:
        self.now_ns = 10**12
        self.calls: list[np.ndarray] = []
        self._timer: SimulatedTimer | None = None
        self.act: Callable[[np.ndarray], np.ndarray] = lambda rows: rows[:, 0]
        self._loop = loop
        config = described({}, limits, **changes)
        memory = os.memfd_create("counters")
        self._counters = Counters(memory, workers=1, max_batch=config.max_batch)
        os.close(memory)
        own = self._counters.of_worker(0)
        codec = CodecClient(config, loop, "worker 1", own)
        self.batching = Batching(
            *(config, self._predict, own, loop, codec, FailureLog("worker 1"), pace),
            now_ns=lambda: self.now_ns,
            make_timer=self._make_timer,
        )
        self.errors: list[BaseException] = []
        loop.set_exception_handler(self._failed)

    def ask(self, *values: float) -> Asking:
        """A request of one row a value."""
        asking = Asking()
        rows = np.array([[value, 0, 0] for value in values], dtype=np.float32)
        self.batching.check_room()
        self.batching.submit(
            Inference(rows, lambda predictions: Reply(200, str(predictions.tolist()).encode())), asking
        )
        return asking

    def run(self, *until: Asking) -> None:
        """Let the event loop go on until these are answered."""
        deadline_s = time.monotonic() + 5

        def look() -> None:
            if all(asking.reply for asking in until) or time.monotonic() > deadline_s:
                self._loop.stop()
            else:
                self._loop.call_later(0.001, look)

        look()
        self._loop.run_forever()
        assert all(asking.reply for asking in until)

    def go_on(self, us: int) -> None:
        """Have so much time pass, and the event loop do what is due by then."""
        self.now_ns += 1000 * us
        if self._timer is not None and self._timer.at_ns <= self.now_ns:
            self._timer.at_ns = math.inf
            self._timer.expire()
        self._loop.call_soon(self._loop.stop)
        self._loop.run_forever()

    def taking(self, us: int) -> Callable[[np.ndarray], np.ndarray]:
        """What a predictor does whose calls take so much longer."""

        def act(rows: np.ndarray) -> np.ndarray:
            self.now_ns += 1000 * us
            return rows[:, 0]

        return act

    def counts(self) -> Counts:
        return self._counters.total()

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        self.calls.append(rows)
        self.now_ns += 1000
        return self.act(rows)

    def _make_timer(self, loop: AbstractEventLoop, expired: Callable[[], None]) -> Timer:
        self._timer = SimulatedTimer(loop, expired)
        return self._timer

    def _failed(self, _: AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(context["exception"])
        assert self.batching.calling
        self.batching.fail(context["exception"])


MakeQueue = Callable[..., Queue]


@pytest.fixture
def make_queue() -> Iterator[MakeQueue]:
    loop = uvloop.new_event_loop()

    def make(limits: dict[str, Any] | None = None, **changes: Any) -> Queue:
        return Queue(loop, limits or {}, **changes)

    yield make
    loop.close()


def test_requests_that_are_there_together_join_one_call_and_get_their_own_rows(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=8)
    asking = [queue.ask(1), queue.ask(2, 3, 4), queue.ask(5)]
    queue.run(*asking)
    assert [rows[:, 0].tolist() for rows in queue.calls] == [[1, 2, 3, 4, 5]]
    assert [pending.reply.body for pending in asking if pending.reply] == [b"[1.0]", b"[2.0, 3.0, 4.0]", b"[5.0]"]


def test_a_call_joins_no_more_requests_than_it_may(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=4)
    queue.run(*[queue.ask(value) for value in range(10)])
    assert [len(rows) for rows in queue.calls] == [4, 4, 2]


def test_without_batches_every_request_has_its_own_call(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=1)
    queue.run(*[queue.ask(value) for value in range(3)])
    assert [rows[:, 0].tolist() for rows in queue.calls] == [[0], [1], [2]]


def test_the_rows_of_a_call_are_bounded_like_those_of_a_request(make_queue: MakeQueue) -> None:
    queue = make_queue({"rows": 5}, max_batch=8)
    queue.run(queue.ask(1, 2, 3), queue.ask(4, 5), queue.ask(6), queue.ask(*range(5)), queue.ask(7))
    assert [len(rows) for rows in queue.calls] == [5, 1, 5, 1]


def test_a_request_alone_is_not_copied(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=8)
    asking = Asking()
    rows = np.zeros((3, 3), dtype=np.float32)
    queue.batching.submit(Inference(rows, lambda predictions: Reply(200, b"")), asking)
    queue.run(asking)
    assert queue.calls[0] is rows


@pytest.mark.parametrize("delay_us", [300, 3000])
def test_the_first_of_few_waits_for_the_delay_to_the_microsecond(make_queue: MakeQueue, delay_us: int) -> None:
    queue = make_queue(max_batch=8, batch_delay_us=delay_us)
    for calls in range(3):
        asking = queue.ask(1)
        queue.go_on(delay_us - 1)
        assert len(queue.calls) == calls
        queue.go_on(1)
        assert len(queue.calls) == calls + 1
        assert asking.reply is not None


def test_whoever_comes_within_the_delay_joins_and_a_full_call_waits_no_longer(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=3, batch_delay_us=200_000)
    queue.ask(1)
    queue.ask(2)
    queue.go_on(20_000)
    assert queue.calls == []
    queue.ask(3)
    queue.go_on(0)
    assert [len(rows) for rows in queue.calls] == [3]


def test_what_is_left_after_a_full_call_waits_from_when_it_came(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=2, batch_delay_us=50_000)
    queue.act = queue.taking(9_999)
    for value in range(3):
        queue.ask(value)
    queue.go_on(0)
    assert [len(rows) for rows in queue.calls] == [2]
    queue.go_on(39_999)
    assert [len(rows) for rows in queue.calls] == [2]
    queue.go_on(1)
    assert [len(rows) for rows in queue.calls] == [2, 1]


def test_more_requests_than_may_wait_are_refused_for_now(make_queue: MakeQueue) -> None:
    queue = make_queue({"queued_requests": 3})
    asking = [queue.ask(value) for value in range(3)]
    with pytest.raises(Refused) as refused:
        queue.ask(4)
    assert (refused.value.status, refused.value.headers) == (503, ((b"retry-after", b"1"),))
    queue.run(*asking)
    queue.run(queue.ask(5))
    assert queue.counts().rejected == 1


def test_rows_that_wait_are_bounded_in_bytes(make_queue: MakeQueue) -> None:
    queue = make_queue({"buffered_bytes": 100})
    asking = queue.ask(*range(9))
    with pytest.raises(Refused):
        queue.ask(1)
    queue.run(asking)
    queue.run(queue.ask(1))


def test_requests_that_nobody_waits_for_are_not_predicted_and_make_room(make_queue: MakeQueue) -> None:
    queue = make_queue({"queued_requests": 3}, max_batch=2)
    asking = [queue.ask(value) for value in range(3)]
    asking[0].gone = asking[2].gone = True
    more = [queue.ask(4), queue.ask(5)]
    queue.run(asking[1], *more)
    assert [rows[:, 0].tolist() for rows in queue.calls] == [[1, 4], [5]]
    assert asking[0].reply is None


def test_a_predictor_that_fails_fails_its_call_and_no_other(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=2)

    def act(rows: np.ndarray) -> np.ndarray:
        if rows[0, 0] == 2:
            raise BlockingIOError("not now")
        return rows[:, 0]

    queue.act = act
    asking = [queue.ask(value) for value in range(6)]
    queue.run(*asking)
    replies = [pending.reply for pending in asking if pending.reply]
    assert [reply.status for reply in replies] == [200, 200, 500, 500, 200, 200]
    assert json.loads(replies[2].body)["error"] == "the predictor failed with BlockingIOError"
    assert (queue.counts().failed, queue.counts().requests) == (2, 4)
    assert [type(error) for error in queue.errors] == [BlockingIOError]


def test_predictions_that_are_fewer_than_rows_are_a_failure(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=4)
    queue.act = lambda rows: rows[:1, 0]
    asking = [queue.ask(1), queue.ask(2)]
    queue.run(*asking)
    assert [pending.reply.status for pending in asking if pending.reply] == [500, 500]


@pytest.mark.integration
def test_waiting_and_predicting_are_told_apart(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.act = queue.taking(19_999)
    first, second = queue.ask(1), queue.ask(2)
    queue.now_ns += 5_000_000
    queue.run(first, second)
    assert first.timing == b"server-timing: queue;dur=5.000, predict;dur=20.000\r\n"
    assert second.timing == b"server-timing: queue;dur=25.000, predict;dur=20.000\r\n"
    counts = queue.counts()
    assert counts.requests == counts.calls == counts.rows == 2
    assert (counts.queued_ns, counts.predicting_ns) == (30_000_000, 40_000_000)
    assert counts.batches == ((1, 2, counts.calling_ns),)


def test_rows_that_the_model_refuses_are_found_by_halves_and_refused_alone(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=8)

    def act(rows: np.ndarray) -> np.ndarray:
        if (rows[:, 0] < 0).any():
            raise RowsRefused("onnxruntime", "-1 is in no vocabulary")
        return rows[:, 0]

    queue.act = act
    asking = [queue.ask(1), queue.ask(-1), queue.ask(2, 3), queue.ask(-2)]
    queue.run(*asking)
    replies = [each.reply for each in asking if each.reply is not None]
    assert [reply.status for reply in replies] == [200, 400, 200, 400]
    assert [replies[0].body, replies[2].body] == [b"[1.0]", b"[2.0, 3.0]"]
    assert b"the model refuses these rows: -1 is in no vocabulary" in replies[1].body
    assert [len(call) for call in queue.calls] == [5, 2, 1, 1, 3, 2, 1]
    assert (queue.counts().requests, queue.counts().failed) == (2, 2)


def test_after_rows_that_were_refused_requests_are_joined_again(make_queue: MakeQueue) -> None:
    queue = make_queue(max_batch=8)
    refusing = iter([True])

    def act(rows: np.ndarray) -> np.ndarray:
        if next(refusing, False):
            raise RowsRefused("onnxruntime", "once")
        return rows[:, 0]

    queue.act = act
    queue.run(queue.ask(1), queue.ask(2))
    queue.run(queue.ask(3), queue.ask(4))
    assert [len(call) for call in queue.calls] == [2, 1, 1, 2]


def test_rows_that_would_be_wide_together_are_not_joined(
    make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_MAX_JOINED_BYTES", 3 * 3 * 4)
    queue = make_queue(max_batch=8)
    queue.run(queue.ask(1, 2), queue.ask(3), queue.ask(4), queue.ask(5, 6, 7, 8))
    assert [len(call) for call in queue.calls] == [3, 1, 4]


class TwoRows(RowTimes):
    """Two rows take as long as a call may."""

    def most_rows(self, values: int) -> int:
        return 2


def called(queue: Queue) -> list[list[float]]:
    return [rows[:, 0].tolist() for rows in queue.calls]


def test_a_long_request_is_called_for_in_parts_and_others_have_their_turn_between(make_queue: MakeQueue) -> None:
    queue = make_queue(pace=TwoRows(), max_batch=2)
    long, short, another = queue.ask(1, 2, 3, 4, 5), queue.ask(6), queue.ask(7)
    queue.run(long, short, another)
    assert called(queue) == [[1, 2], [6, 7], [3, 4], [5]]
    assert long.reply is not None
    assert long.reply.body == b"[1.0, 2.0, 3.0, 4.0, 5.0]"
    counts = queue.counts()
    assert (counts.requests, counts.rows, counts.calls) == (3, 7, 2)
    assert long.timing.startswith(b"server-timing: queue;dur=")


@pytest.mark.integration
def test_the_event_loop_reads_and_writes_between_the_parts_of_a_long_request(make_queue: MakeQueue) -> None:
    queue = make_queue(pace=TwoRows())
    queue.act = queue.taking(batching._MAX_TURN_NS // 1000)
    long = queue.ask(1, 2, 3, 4, 5, 6)
    seen: list[int] = []

    def look() -> None:
        seen.append(len(queue.calls))
        queue._loop.call_soon(look)

    look()
    queue.run(long)
    assert {1, 2, 3} <= set(seen)


@pytest.mark.integration
def test_a_request_that_takes_longer_than_a_call_may_is_413_before_it_has_taken_that(make_queue: MakeQueue) -> None:
    queue = make_queue({"call_timeout_s": 0.1}, pace=TwoRows())
    queue.act = queue.taking(20_000)
    long, short = queue.ask(*range(1000)), queue.ask(1)
    queue.run(long, short)
    assert long.reply is not None
    assert (long.reply.status, len(queue.calls)) == (413, 2)
    told = json.loads(long.reply.body)["error"]
    assert told.startswith("rows: 1000 of them take about ")
    assert "s, and a request may take 0.1 s of the predictor: send at most " in told
    assert told.endswith("at once, or serve with a longer --call-timeout")
    assert queue.counts().failed == 1


def test_what_a_part_of_a_request_raises_is_the_answer_to_all_of_it(make_queue: MakeQueue) -> None:
    def refuse_three(rows: np.ndarray) -> np.ndarray:
        if 3 in rows:
            raise RowsRefused("test", "no threes")
        if 4 in rows:
            raise ValueError("no fours")
        return rows[:, 0]

    queue = make_queue(pace=TwoRows(), max_batch=8)
    queue.act = refuse_three
    refused, failed, fine = queue.ask(1, 2, 3), queue.ask(1, 2, 4), queue.ask(1, 2, 5)
    queue.run(refused, failed, fine)
    assert [asking.reply.status for asking in (refused, failed, fine) if asking.reply] == [400, 500, 200]


def test_no_part_is_called_for_of_a_request_that_nobody_waits_for_any_more(make_queue: MakeQueue) -> None:
    queue = make_queue(pace=TwoRows())
    long = queue.ask(1, 2, 3, 4)

    def leave(rows: np.ndarray) -> np.ndarray:
        long.gone = True
        return rows[:, 0]

    queue.act = leave
    queue.ask(5)
    last = queue.ask(6)
    queue.run(last)
    assert called(queue) == [[1, 2], [5], [6]]


def test_rows_that_depend_on_one_another_are_one_call_or_refused_before_it(make_queue: MakeQueue) -> None:
    pace = RowTimes()
    queue = make_queue({"call_timeout_s": 1}, pace=pace, rows_together=True)
    pace.learn(np.zeros((1, 3)), PART_NS)
    refused, whole, taken_since_it_was_quick = queue.ask(1, 2, 3, 4, 5), queue.ask(1, 2), queue.ask(*range(100))
    queue.run(refused, whole, taken_since_it_was_quick)
    assert [len(rows) for rows in queue.calls] == [2, 100]
    assert refused.reply is not None
    assert refused.reply.status == 413


def test_the_time_of_a_row_is_learned_for_each_width() -> None:
    pace = RowTimes()
    assert pace.most_rows(100) > 1_000_000  # nothing is known
    pace.learn(np.zeros((10, 100)), PART_NS)
    assert [pace.most_rows(values) for values in (100, 127, 200, 400, 50)] == [10, 10, 2, 1, 2**31]
    pace.learn(np.zeros((2, 400)), PART_NS // 50)
    assert [pace.most_rows(values) for values in (400, 100)] == [100, 10]
    pace.learn(np.zeros((1, 400)), PART_NS)  # the machine was busy
    assert pace.most_rows(400) == 50


def test_requests_of_long_rows_are_joined_as_far_as_a_call_may_take(make_queue: MakeQueue) -> None:
    """Of rows that are all of one width, as many are joined as the model was warmed up with."""
    for sizes, calls in ((), [4]), ((Size(name="length", usual=1),), [2, 2]):
        signature = Signature(task=Task.REGRESSION, features=3, outputs=1, sizes=sizes)
        queue = make_queue(pace=TwoRows(), max_batch=4, signature=signature)
        queue.run(*[queue.ask(1) for _ in range(4)])
        assert [len(rows) for rows in queue.calls] == calls
