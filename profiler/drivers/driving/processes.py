"""The processes behind a set of workers: started inside an envelope, spoken to, watched for their death, and ended.

Every worker is a fresh interpreter in a session of its own (a forked one would share locks and thread pools with this
process, and ``multiprocessing`` would import the user's script again). What they print goes through a pipe, and
everything a worker started dies with its process group, or at the latest with the envelope. What is said to them, and
when, is the business of ``inprocess.workers`` and ``http.clients``.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, TypeVar

from servefit.backends.variables.secret import revealed, scrub_error
from servefit.errors import MeasurementError, OutOfMemory, ServefitError, WorkerCrashed
from servefit.isolation import end_process_group, exit_error
from servefit.profiler.drivers.driving.output import CapturedOutput
from servefit.quantities import size_text
from servefit.time_limit import allowed_s, timed_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from servefit.profiler.machine.envelope.types import Envelope
    from servefit.profiler.machine.slot.holding import Slot

_log = logging.getLogger(__name__)

_MODULE = "servefit.profiler.drivers.driving.worker"
_POLL_S = 0.1
"""So much later at most a death is noticed; often enough for runs that are decided while they go on."""

DEATH_WAIT_S = 5.0
"""For a worker that has hung up to be gone: it may still be unmapping gigabytes. Chosen, not measured."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    output: CapturedOutput
    environment: Mapping[str, str]


class WorkerProcesses:
    """Processes in ``envelope`` that call ``function`` ("package.module:function"), share the memory behind
    ``memory_fd``, find what to load behind ``setup_fd``, and keep ``slot`` for as long as they live. None is there
    until :meth:`launch`. ``called`` is what errors call one of them."""

    def __init__(
        self,
        envelope: Envelope,
        function: str,
        memory_fd: int,
        setup_fd: int,
        *,
        slot: Slot,
        called: str = "worker",
    ) -> None:
        self.envelope = envelope
        self._slot = slot
        self._function = function
        self._called = called
        self._inherited = (memory_fd, setup_fd)
        self._workers: list[_Worker] = []

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(worker.process.pid for worker in self._workers)

    def launch(self, environment: Mapping[str, str], *, cpus: tuple[int, ...] | None = None) -> None:
        """Start one more worker, with ``environment`` added to this process's own, on ``cpus`` or all of the
        envelope's. It begins to load at once. Raises SpecError for a secret whose value is not known."""
        variables = {**os.environ, **revealed(environment)}
        number = len(self._workers)
        connection, theirs = Pipe()
        output = CapturedOutput(environment)
        pinned_to = ",".join(map(str, self.envelope.cpus if cpus is None else cpus))
        descriptors = (theirs.fileno(), *self._inherited)
        numbers = map(str, (*descriptors, number, os.getpid()))
        arguments = [self._function, pinned_to, *numbers, *self.envelope.join_files]
        # -P: the user's folder may hold a numpy.py
        command = self.envelope.command([sys.executable, "-P", "-m", _MODULE, *arguments])
        _log.debug("%s %d: %s, with %s", self._called, number + 1, shlex.join(command), dict(environment))
        with theirs:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output.write_end,
                    stderr=output.write_end,
                    pass_fds=(*descriptors, *self._slot.descriptors),
                    env=variables,
                    start_new_session=True,
                )
            except OSError as error:
                connection.close()
                output.close()
                raise MeasurementError(f"cannot start {self._called} {number + 1}: {error.strerror}") from error
        self._workers.append(_Worker(process=process, connection=connection, output=output, environment=environment))
        output.child_started()

    def end(self) -> None:
        """Kill the workers and everything they started."""
        while self._workers:
            worker = self._workers.pop()
            end_process_group(worker.process)
            worker.connection.close()
            worker.output.close()

    def send(self, message: Any) -> None:
        """Send every worker a message of ``messages``. Raises the error for one that is dead."""
        for worker in self._workers:
            try:
                worker.connection.send(message)
            except ConnectionError:
                self._raise_death(worker)

    def answers(
        self, kind: type[_Answer], what: str, timeout_s: float, meanwhile: Callable[[], None] | None = None
    ) -> list[_Answer]:
        """Wait for one answer from every worker, and give them in their order. The first error, death or the timeout
        ends the wait, or a time limit around it.

        ``meanwhile`` is called every now and then while it lasts.
        """
        limit_s = allowed_s(timeout_s)
        deadline = time.monotonic() + limit_s
        waiting = {worker.connection: number for number, worker in enumerate(self._workers)}
        answers: dict[int, _Answer] = {}
        while waiting:
            ready = wait(list(waiting), timeout=_POLL_S)
            for connection in [connection for connection in waiting if connection in ready]:
                number = waiting.pop(connection)
                try:
                    answer = connection.recv()
                except (EOFError, ConnectionError):
                    self._raise_death(self._workers[number])
                if isinstance(answer, ServefitError):
                    scrub_error(answer, self._workers[number].environment)
                    raise answer
                if not isinstance(answer, kind):
                    raise MeasurementError(f"a {self._called} answered {answer!r} to {what}")
                answers[number] = answer
            for connection, number in waiting.items():
                worker = self._workers[number]
                # A dead worker's children may keep its socket open, so its end is not enough to go by.
                if worker.process.poll() is not None and not connection.poll():
                    self._raise_death(worker)
            if waiting and meanwhile is not None:
                meanwhile()
            if waiting and time.monotonic() > deadline:
                raise timed_out(what, limit_s=limit_s, timeout_s=timeout_s)
        return [answers[number] for number in range(len(self._workers))]

    def _raise_death(self, worker: _Worker) -> NoReturn:
        """Raise the error for a worker that is dead, or has hung up and is about to be."""
        self._workers.remove(worker)
        try:
            status = worker.process.wait(timeout=DEATH_WAIT_S)
        except subprocess.TimeoutExpired:
            status = 0
        end_process_group(worker.process)
        worker.connection.close()
        printed = worker.output.close()
        raise death_within(self.envelope, status, printed, called=self._called)


def death_within(envelope: Envelope, status: int, printed: str, *, called: str) -> WorkerCrashed | OutOfMemory:
    """Make the error for a child in ``envelope`` that ended with ``status``, having ``printed`` this last. The likes of
    it are ``called`` so."""
    limit = envelope.memory_limit_bytes
    if status != -signal.SIGKILL:
        return exit_error(status, printed, limit)
    if not envelope.oom_kills():
        return WorkerCrashed("killed with SIGKILL, and not by the kernel for memory", signal=9, stderr=printed)
    if limit is None:
        return OutOfMemory("killed with SIGKILL, while the kernel killed for memory: most likely one of its victims")
    return OutOfMemory(
        f"killed by the kernel: the {called}s need more memory than the {size_text(limit)} of the profile",
        limit_bytes=limit,
    )
