"""The process in front: it has the sockets, the workers and the signals of an endpoint, and reads no request.

``acceptor`` spreads connections over workers, ``process`` is one worker as it is seen from here, and ``worker`` what it
does. Nothing here loads numpy or a model.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from servefit.backends.environment import worker_environment
from servefit.errors import WorkerCrashed
from servefit.serving.acceptor import Acceptor, allow_descriptors
from servefit.serving.channel import Message
from servefit.serving.counters import Counters
from servefit.serving.listening import bind, listen, refuse_more
from servefit.serving.process import WorkerProcess
from servefit.serving.saying import say

if TYPE_CHECKING:
    from types import FrameType

    from servefit.serving.config import EndpointConfig

_LAST_HANDSHAKES_S = 0.05
_PAUSE_S = 0.02
_SHORT_LIFE_S = 10.0
_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 8.0
_MOST_FAILURES = 4
_END_S = 1.0


def supervise(config: EndpointConfig, *, ready_fd: int | None = None) -> int:
    """Serve ``config`` until a signal says stop; give the exit status, 0, or 1 where a second one cut that short.
    ``ready_fd`` is written to, and closed, once every worker is ready.

    Raises SpecError for an address that cannot be listened on, WorkerCrashed when no worker can serve.
    """
    supervisor = _Supervisor(config)
    try:
        return supervisor.run(ready_fd)
    finally:
        supervisor.end()


class _Supervisor:
    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._sockets: tuple[socket.socket, ...] = ()
        self._workers: dict[int, WorkerProcess] = {}
        self._serves = False
        self._restarts = 0
        self._failures = [0] * config.workers
        self._started_s = [0.0] * config.workers
        self._start_at_s: dict[int, float] = {}
        self._signals = 0
        self._wakers: tuple[socket.socket, ...] = ()
        counters_fd, config_fd = os.memfd_create("servefit-counters"), os.memfd_create("servefit-endpoint")
        os.write(config_fd, config.document())
        self._inherited = (counters_fd, config_fd)
        self._counters = Counters(counters_fd, workers=config.workers, max_batch=config.max_batch)
        self._environment = worker_environment(config.settings.threads, config.environment)
        most = allow_descriptors(config.limits.connections)
        self._acceptor = Acceptor(self._selector, self._workers, most_connections=most)

    def run(self, ready_fd: int | None) -> int:
        self._sockets = bind(self._config.host, self._config.port)
        self._watch_signals()
        for number in range(self._config.workers):
            self._start(number)
        while not self._signals and self._ready() < self._config.workers:
            self._turn(None)
        if self._signals:
            return 0
        self._begin(ready_fd)
        while not self._signals:
            self._turn(self._next_s())
            self._start_those_due()
            self._acceptor.go_on()
        return self._drain()

    def end(self) -> None:
        """Leave nothing behind."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.bury()
        self._acceptor.close()
        for one in (*self._sockets, *self._wakers):
            one.close()
        self._selector.close()

    def _turn(self, timeout_s: float | None) -> None:
        """Wait until something happens, for ``timeout_s`` at most, and do what is to be done about it."""
        for key, _ in self._selector.select(timeout_s):
            key.data()

    def _next_s(self) -> float | None:
        if self._acceptor.waits:
            return _PAUSE_S
        return max(0.0, min(self._start_at_s.values()) - time.monotonic()) if self._start_at_s else None

    def _watch_signals(self) -> None:
        self._wakers = wakes, woken = socket.socketpair()
        for one in self._wakers:
            one.setblocking(False)

        def count(_: int, __: FrameType | None) -> None:
            self._signals += 1

        def look() -> None:
            with suppress(BlockingIOError):
                woken.recv(4096)
            for worker in tuple(self._workers.values()):
                if worker.is_dead():
                    self._replace(worker)

        signal.signal(signal.SIGTERM, count)
        signal.signal(signal.SIGINT, count)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ, look)

    # Workers

    def _ready(self) -> int:
        return sum(worker.ready for worker in self._workers.values())

    def _start(self, number: int) -> None:
        worker = WorkerProcess(number, self._environment, self._inherited, self._counters.of_worker(number))
        self._workers[number] = worker
        self._started_s[number] = time.monotonic()
        self._selector.register(worker.channel, selectors.EVENT_READ, partial(self._hear, worker))

    def _hear(self, worker: WorkerProcess) -> None:
        if worker.says(Message.READY):
            worker.ready = True
            self._count_workers()

    def _start_those_due(self) -> None:
        for number in [number for number, at_s in self._start_at_s.items() if at_s <= time.monotonic()]:
            del self._start_at_s[number]
            self._start(number)

    def _replace(self, worker: WorkerProcess) -> None:
        """A worker is dead: have another take its place, unless all is to end. One that dies again and again is started
        less and less often. Raises WorkerCrashed when that leads nowhere."""
        number = worker.number
        self._selector.unregister(worker.channel)
        del self._workers[number]
        how, left = worker.bury()
        self._acceptor.take_back(left)
        if self._signals:
            return
        if not self._serves and not worker.ready:
            raise WorkerCrashed(how)
        self._restarts += 1
        self._count_workers()
        lived_s = time.monotonic() - self._started_s[number]
        self._failures[number] = 0 if worker.ready and lived_s > _SHORT_LIFE_S else self._failures[number] + 1
        if not worker.ready and not self._ready() and self._failures[number] > _MOST_FAILURES:
            raise WorkerCrashed(f"no worker can be started any more: {how}")
        again = self._failures[number] - 1
        wait_s = min(_LONGEST_BACK_OFF_S, _FIRST_BACK_OFF_S * 2**again) if again > 0 else 0.0
        self._start_at_s[number] = time.monotonic() + wait_s
        say(f"{how}; it is replaced")

    def _count_workers(self) -> None:
        self._counters.set_workers(ready=self._ready(), restarts=self._restarts)

    # The beginning and the end of serving

    def _begin(self, ready_fd: int | None) -> None:
        self._serves = True
        for one in self._sockets:
            listen(one)
        self._acceptor.begin(self._sockets)
        host, port = self._sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        workers = self._config.workers
        say(f"{self._config.name} is served on http://{shown}:{port} by {workers} worker{'s' * (workers > 1)}")
        if ready_fd is not None:
            pids = [os.getpid(), *(self._workers[number].pid for number in sorted(self._workers))]
            with suppress(BrokenPipeError), open(ready_fd, "w") as told:  # noqa: PTH123
                told.write(json.dumps({"port": port, "pids": pids}) + "\n")

    def _drain(self) -> int:
        """Stop, and lose nothing that was accepted: have what is in the queue of the sockets served too, have every
        worker finish, for as long as it may, or until a second signal."""
        say("stops, and finishes what is in flight")
        for one in self._sockets:
            refuse_more(one)
        until_s = time.monotonic() + _LAST_HANDSHAKES_S
        while (left_s := until_s - time.monotonic()) > 0:
            self._turn(left_s)
            self._acceptor.go_on()
        self._acceptor.end()
        for number in [number for number, worker in self._workers.items() if not worker.ready]:
            self._workers[number].kill()
        until_s = time.monotonic() + self._config.limits.grace_s + _END_S
        while self._workers and self._signals == 1 and time.monotonic() < until_s:
            if not self._acceptor.waits:
                for worker in self._workers.values():
                    worker.stop()
            self._turn(_PAUSE_S)
            self._acceptor.hand_over_rest()
        return 0 if self._signals == 1 else 1
