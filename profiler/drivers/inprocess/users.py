"""The queue of a closed loop: users who join when their phase says so, and come again after every answer."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Self

import numpy as np

from servefit.profiler.drivers.driving.memory import SharedWords

_JOINED, _HEAD, _TAIL, _USERS, _STOPPED_NS = range(5)
_NEVER = 2**63 - 1
"""The largest time that there is: int64."""


class WaitingUsers:
    """A view of the queue in ``words``. Times are int64 nanoseconds of ``time.monotonic_ns``. A claim takes up to
    ``most`` users, and waits for that many until the first of them has waited for ``delay_ns``."""

    def __init__(self, words: SharedWords, *, most: int, delay_ns: int) -> None:
        self.words = words
        self._header = words.header
        self._most = most
        self._delay_ns = delay_ns
        self._users = words.header[_USERS]
        self._joins = words.body[: self._users]
        self._returned = words.body[self._users :]

    @classmethod
    def write(cls, memory: int, joins_ns: np.ndarray, *, workers: int, most: int, delay_ns: int) -> Self:
        """Lay out a new queue of users who join at ``joins_ns``, ascending."""
        words = SharedWords.create(memory, workers=workers, body_words=2 * len(joins_ns))
        words.header[_USERS] = len(joins_ns)
        queue = cls(words, most=most, delay_ns=delay_ns)
        queue._joins[:] = np.ascontiguousarray(joins_ns, dtype=np.int64).data.cast("B").cast("q")
        return queue

    def may_be_kept(self, count: int) -> bool:
        """Return whether a worker that has just answered ``count`` users can serve them again, as nobody else waits.

        No lock is needed, since nothing changes: whoever queues up while this is read has come later.
        """
        header = self._header
        return (
            header[_HEAD] == header[_TAIL]
            and header[_JOINED] == self._users
            and (not self._delay_ns or count == self._most)
        )

    def exchange(self, count: int, returned_ns: int, now_ns: int, *, waits: bool = True) -> list[int]:
        """Queue ``count`` users up again, with the arrival time ``returned_ns``, and take those who came first.

        Gives their arrival times; an empty list where nobody is to be served yet. Without ``waits`` a batch that is not
        full waits for nobody.
        """
        words, header = self.words, self._header
        if not words.acquire(False):
            words.wait_for_lock()
        for place in range(header[_TAIL], header[_TAIL] + count):
            self._returned[place % self._users] = returned_ns
        header[_TAIL] += count
        taken = self._take(now_ns, self._delay_ns if waits else 0)
        words.release()
        return taken

    def _take(self, now_ns: int, delay_ns: int) -> list[int]:
        header, users = self._header, self._users
        joined, head, tail = header[_JOINED], header[_HEAD], header[_TAIL]
        taken: list[int] = []
        while len(taken) < self._most:
            joining = self._joins[joined] if joined < users else _NEVER
            returned = self._returned[head % users] if head < tail else _NEVER
            if returned <= joining and head < tail:
                taken.append(returned)
                head += 1
            elif joining <= now_ns:
                taken.append(joining)
                joined += 1
            else:
                break
        if not taken or (len(taken) < self._most and now_ns < taken[0] + delay_ns):
            return []
        header[_JOINED] = joined
        header[_HEAD] = head
        return taken

    def stop(self) -> None:
        """End the run before its time, for workers that look at ``stopped_ns`` now and then."""
        self._header[_STOPPED_NS] = time.monotonic_ns()

    @property
    def stopped_ns(self) -> int | None:
        """The moment at which the run was ended before its time, or None."""
        return self._header[_STOPPED_NS] or None

    def waiting(self, at_ns: int) -> list[int]:
        """Return when those came who still wait and had come by ``at_ns``."""
        header = self._header
        joining = self._joins[header[_JOINED] :].tolist()
        returned = [self._returned[place % self._users] for place in range(header[_HEAD], header[_TAIL])]
        return sorted(came for came in joining + returned if came < at_ns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BufferError):  # as in SharedWords
            self._joins.release()
            self._returned.release()
        self.words.__exit__()
