"""The process in front: it has the sockets, the workers and the artifact of an endpoint, and reads no request.

``acceptor`` spreads connections over workers, ``process`` is one worker as it is seen from here, ``hang_detection``
finds those that hang, ``sealing`` keeps what they open, and ``worker`` is what they do. Nothing here loads numpy or a
model.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from servefit.backends.variables.environment import worker_environment
from servefit.backends.variables.secret import scrubbed
from servefit.errors import WorkerCrashed
from servefit.serving.acceptor import Acceptor, allow_descriptors
from servefit.serving.channel import Message
from servefit.serving.counters import Counters
from servefit.serving.event_log import log_event
from servefit.serving.hang_detection import HangDetector
from servefit.serving.listening import bind, is_reachable, listen, refuse_more
from servefit.serving.output import OutputAllowance, WorkerOutput, hidden_in_output
from servefit.serving.process import WorkerProcess
from servefit.serving.sealing import PrivateCopy

if TYPE_CHECKING:
    from servefit.serving.config import EndpointConfig
    from servefit.serving.stopping import Signals

# Chosen, not measured.
_LAST_HANDSHAKES_S = 0.05
"""Handshakes that had begun when no new ones were let in any more are done: many round trips on this machine, and one
to the other end of a continent."""

_PAUSE_S = 0.02
"""Workers that had no room, or are to end, are asked again so often."""

_SHORT_LIFE_S = 10.0
"""A worker that dies sooner counts as one that failed to start."""

_FIRST_BACK_OFF_S = 0.1
"""The wait before a second worker in a row that failed is replaced. It doubles with each one that follows."""

_MAX_BACK_OFF_S = 30.0
"""The longest of these waits: long beside what starting most workers takes, short enough to serve again soon once the
cause is gone."""

_MAX_DOUBLINGS = 10
"""More than it takes to the longest wait."""

_END_S = 1.0
"""A worker that has cut off what it had not answered in time still has to end."""


def supervise(config: EndpointConfig, signals: Signals, *, ready_fd: int | None = None) -> int:
    """Serve ``config`` until a signal says stop; return the exit status: 0 where all that was accepted was answered, 1
    where some was cut off. ``ready_fd`` is written to, and closed, once every worker is ready.

    Raises SpecError for an address that cannot be listened on, BackendError for an artifact that is not what was
    compiled, WorkerCrashed if a worker does not start before all were ready once.
    """
    supervisor = _Supervisor(config, signals)
    try:
        return supervisor.run(ready_fd)
    finally:
        supervisor.end()


def handle_events(selector: selectors.BaseSelector, timeout_s: float) -> None:
    """Wait until something happens, for ``timeout_s`` at most, and call what is registered for it, unless that was
    unregistered by what was called before."""
    for key, _ in selector.select(timeout_s):
        if selector.get_map().get(key.fd) is key:
            key.data()


class _Supervisor:
    def __init__(self, config: EndpointConfig, signals: Signals) -> None:
        connections, warning = allow_descriptors(config.limits.connections)
        if warning is not None:
            log_event(warning)
        self._config = config = replace(config, limits=replace(config.limits, connections=connections))
        self._signals = signals
        self._selector = selectors.DefaultSelector()
        self._sockets: tuple[socket.socket, ...] = ()
        self._workers: dict[int, WorkerProcess] = {}
        self._serves = False
        self._failures = [0] * config.workers
        self._started_s = [0.0] * config.workers
        self._start_at_s: dict[int, float] = {}
        self._cut_off: list[str] = []
        self._artifact: PrivateCopy | None = None
        self._described = (os.memfd_create("servefit-counters"), os.memfd_create("servefit-endpoint"))
        self._counters = Counters(self._described[0], workers=config.workers, max_batch=config.max_batch)
        self._environment = worker_environment(config.settings.threads, config.environment)
        self._hidden = hidden_in_output({**os.environ, **self._environment}, config)
        self._allowance = OutputAllowance()
        self._acceptor = Acceptor(self._selector, self._workers, most_connections=connections, name=config.name)
        self._hang_detector = HangDetector(config.limits.call_timeout_s)

    def run(self, ready_fd: int | None) -> int:
        self._sockets = bind(self._config.host, self._config.port)
        self._selector.register(self._signals, selectors.EVENT_READ, self._on_signal)
        self._keep_artifact()
        for number in range(self._config.workers):
            self._start(number)
        while not self._signals.stops and self._ready() < self._config.workers:
            self._handle_events(self._next_s())
            self._start_due_workers()
        if self._signals.stops:
            return 0
        self._begin(ready_fd)
        while not self._signals.stops:
            self._handle_events(self._next_s())
            self._start_due_workers()
            self._acceptor.accept_waiting()
        return self._drain()

    def end(self) -> None:
        """Leave nothing behind."""
        for worker in self._workers.values():
            worker.kill()
        for worker in self._workers.values():
            worker.reap()
        self._acceptor.close()
        for listening in self._sockets:
            listening.close()
        self._signals.close()
        self._selector.close()
        if self._artifact is not None:
            self._artifact.close()

    def _handle_events(self, timeout_s: float | None) -> None:
        """Wait until something happens or is to be done, for ``timeout_s`` at most, and do that."""
        next_s = self._hang_detector.next_check_s()
        handle_events(self._selector, next_s if timeout_s is None else min(timeout_s, next_s))
        if self._hang_detector.next_check_s() > 0:
            return
        # There may be one of whose end no signal has come.
        self._replace_dead()
        for worker, how in self._hang_detector.hung_workers(self._workers.values()):
            if not worker.given_up:
                self._counters.hung()
                worker.give_up(how)

    def _next_s(self) -> float | None:
        if self._acceptor.has_waiting:
            return _PAUSE_S
        return max(0.0, min(self._start_at_s.values()) - time.monotonic()) if self._start_at_s else None

    def _on_signal(self) -> None:
        self._signals.clear()
        self._replace_dead()

    def _replace_dead(self) -> None:
        for worker in tuple(self._workers.values()):
            if worker.is_dead():
                self._replace(worker)

    def _keep_artifact(self) -> None:
        """Have workers open what is in the artifact now, whenever they do."""
        self._artifact = kept = PrivateCopy(self._config.artifact)
        artifact = replace(self._config.artifact, folder=str(kept.folder))
        os.write(self._described[1], replace(self._config, artifact=artifact).document())

    # Workers

    def _ready(self) -> int:
        return sum(worker.ready for worker in self._workers.values())

    def _start(self, number: int) -> None:
        artifact = () if self._artifact is None else self._artifact.descriptors
        counters = self._counters.of_worker(number)
        output = WorkerOutput(self._hidden, self._allowance)
        worker = WorkerProcess(number, self._environment, self._described, artifact, counters, output)
        self._workers[number] = worker
        self._started_s[number] = time.monotonic()
        self._selector.register(worker.channel, selectors.EVENT_READ, partial(self._on_message, worker))
        self._selector.register(output, selectors.EVENT_READ, partial(self._on_output, output))

    def _on_output(self, output: WorkerOutput) -> None:
        if not output.read():
            self._selector.unregister(output)

    def _on_message(self, worker: WorkerProcess) -> None:
        if worker.has_sent(Message.READY):
            worker.ready = True

    def _start_due_workers(self) -> None:
        for number in [number for number, at_s in self._start_at_s.items() if at_s <= time.monotonic()]:
            del self._start_at_s[number]
            self._start(number)

    def _replace(self, worker: WorkerProcess) -> None:
        """Have another worker take the place of a dead one, unless all is to end. One that dies again and again is
        started less and less often. An endpoint that has served goes on trying: its artifact can be served, and what
        kills workers may pass. Raises WorkerCrashed before that."""
        number = worker.number
        self._selector.unregister(worker.channel)
        with suppress(KeyError):  # it has hung up already
            self._selector.unregister(worker.output)
        del self._workers[number]
        how, left = worker.reap()
        how = scrubbed(how, self._hidden)
        self._acceptor.take_back(left)
        if self._signals.stops:
            if worker.ready and worker.has_failed:
                self._cut_off.append(how)
            return
        if not self._serves and not worker.ready:
            raise WorkerCrashed(how)
        self._counters.restarted()
        lived_s = time.monotonic() - self._started_s[number]
        self._failures[number] = 0 if worker.ready and lived_s > _SHORT_LIFE_S else self._failures[number] + 1
        again = min(self._failures[number] - 1, _MAX_DOUBLINGS)
        wait_s = min(_MAX_BACK_OFF_S, _FIRST_BACK_OFF_S * 2**again) if again > 0 else 0.0
        self._start_at_s[number] = time.monotonic() + wait_s
        log_event(f"{how}; it is replaced" + (f" in {wait_s:g} s" if wait_s >= 1 else ""))

    # The beginning and the end of serving

    def _begin(self, ready_fd: int | None) -> None:
        self._serves = True
        for bound in self._sockets:
            listen(bound)
        self._acceptor.begin(self._sockets)
        host, port = self._sockets[0].getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        workers = self._config.workers
        log_event(f"{self._config.name} is served on http://{shown}:{port} by {workers} worker{'s' * (workers > 1)}")
        if any(map(is_reachable, self._sockets)):
            log_event(f"{host} can be reached from other machines, and there is neither authentication nor TLS")
        if ready_fd is not None:
            pids = [os.getpid(), *(self._workers[number].pid for number in sorted(self._workers))]
            with suppress(BrokenPipeError), open(ready_fd, "w") as ready:  # noqa: PTH123
                ready.write(json.dumps({"port": port, "pids": pids}) + "\n")

    def _drain(self) -> int:
        """Stop, and lose nothing that was accepted: have what is in the queue of the sockets served too, have every
        worker finish, for as long as it may, or until a second signal."""
        log_event("stops, and finishes what is in flight")
        for listening in self._sockets:
            refuse_more(listening)
        until_s = time.monotonic() + _LAST_HANDSHAKES_S
        while (left_s := until_s - time.monotonic()) > 0:
            self._handle_events(left_s)
            self._acceptor.accept_waiting()
        self._acceptor.end()
        for number in [number for number, worker in self._workers.items() if not worker.ready]:
            self._workers[number].kill()
        until_s = time.monotonic() + self._config.limits.grace_s + _END_S
        while self._workers and self._signals.stops == 1 and time.monotonic() < until_s:
            if not self._acceptor.has_waiting:
                for worker in self._workers.values():
                    worker.stop()
            self._handle_events(_PAUSE_S)
            self._acceptor.hand_over_rest()
        why = "there was a second signal" if self._signals.stops > 1 else "its time was up"
        self._cut_off += [f"{worker.name}: {why}" for worker in self._workers.values()]
        if self._acceptor.has_waiting:
            self._cut_off.append("no worker was left for connections that were accepted")
        for how in self._cut_off:
            log_event(f"{how}; what it had not answered is cut off")
        return 1 if self._cut_off else 0
