"""The other end of ``bench_process``, in the agent: starts one for a job, hands it orders, and ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from servefit.errors import TimedOut, WorkerCrashed
from servefit.isolation import REPORTS_NOTHING, STDERR_TAIL_CHARACTERS
from servefit.search.fleet.agents.bench_process import Hello
from servefit.search.fleet.launching.handover import STORAGE_VARIABLE
from servefit.search.fleet.orders import Answer, Order
from servefit.search.storage import records

GRACE_S = 30.0
"""A process that measures has so long to start and to say what it waits for, and so much longer than its limit to end
by itself what it is at, on a busy host. Chosen, not measured."""


class Overdue:
    """Ends a bench that does not do so by itself, as one that hangs in a library: one that is not heard of while it
    waits for its host to be free, or that measures for longer than its order allows. ``error`` is there once it did."""

    def __init__(self, order: Order, bench: BenchClient) -> None:
        self._order = order
        self._bench = bench
        self._timer: asyncio.TimerHandle | None = None
        self.error: TimedOut | None = None

    def begin(self) -> None:
        """Allow it to start."""
        self.allow(GRACE_S)

    def allow(self, seconds: float | None) -> None:
        """Allow it so many seconds from now on; None is without a limit."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._kill, seconds)

    def heard(self, word: str) -> None:
        """Take note of what it does."""
        limit_s = self._order.limit_s
        if word == "waiting":
            self.allow(GRACE_S)
        else:
            self.allow(None if limit_s is None else limit_s + GRACE_S)

    def _kill(self, seconds: float) -> None:
        self.error = TimedOut(f"an order for {self._order.purpose}", limit_s=seconds)
        self._bench.kill()


END_S = 4.0
"""A bench has so long to end by itself what it measures, and is killed then: an agent that is interrupted is gone
within five seconds."""


@dataclass(slots=True)
class _Running:
    """A process, and the ends of its pipes here."""

    hello: Hello
    process: subprocess.Popen[str]
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]


class BenchClient:
    """The bench of an agent: a process for one job at a time, begun when it is first needed. The kernel ends it with
    the thread that calls :meth:`carry_out`, which is always the same."""

    def __init__(self) -> None:
        self._running: _Running | None = None
        self._lock = threading.Lock()

    def carry_out(self, hello: Hello, order: Order, *, said: Callable[[str, str], None]) -> Answer:
        """Have ``order`` carried out, and return the answer. ``said`` is told what the process does meanwhile: a word,
        "waiting" or "measuring", and for whom. Raises WorkerCrashed where the process dies."""
        running = self._for(hello)
        _write_line(running.stdin, records.write(order, Order))
        for line in running.stdout:
            document = json.loads(line)
            if "answer" in document:
                answer: Answer = records.read(json.dumps(document["answer"]), Answer, "answer")
                return answer
            for word, text in document.items():
                said(word, text)
        raise self._crashed(running)

    def end(self) -> None:
        """End the process, if there is one, and what it measures: by itself, or by force after ``END_S``. May be called
        from any thread."""
        with self._lock:
            running, self._running = self._running, None
        if running is None:
            return
        process = running.process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    def kill(self) -> None:
        """End the process by force, if there is one. The thread that waits for its answer gets an error."""
        with self._lock:
            running = self._running
        if running is not None:
            running.process.kill()

    def close_when_idle(self) -> None:
        """End a process that has nothing to do: it ends by itself once no more orders can come."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            with suppress(BrokenPipeError):
                running.stdin.close()
            running.process.wait()

    def _for(self, hello: Hello) -> _Running:
        with self._lock:
            running = self._running
        if running is not None and (running.hello != hello or running.process.poll() is not None):
            self.end()
            running = None
        if running is None:
            running = _start(hello)
            with self._lock:
                self._running = running
        return running

    def _crashed(self, running: _Running) -> WorkerCrashed:
        code = running.process.wait()
        with self._lock:
            if self._running is running:
                self._running = None
        running.stderr.seek(0)
        said = running.stderr.read()[-STDERR_TAIL_CHARACTERS:]
        number = -code if code < 0 else None
        why = f"signal {signal.Signals(number).name}" if number else f"status {code}"
        return WorkerCrashed(f"the process that measured for the agent ended: {why}", signal=number, stderr=said)


def _start(hello: Hello) -> _Running:
    stderr = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - it is read when the process has died
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "servefit.search.fleet.agents.bench_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        # What measures is told of the database, and a model that is trusted need not be.
        env={name: value for name, value in os.environ.items() if name != STORAGE_VARIABLE} | dict(REPORTS_NOTHING),
        # What ends the agent, such as Ctrl-C, is the agent's to pass on.
        start_new_session=True,
    )
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise RuntimeError("a process with pipes has them")
    _write_line(stdin, records.write(hello, Hello))
    return _Running(hello, process, stdin, stdout, stderr)


def _write_line(stream: IO[str], line: str) -> None:
    """Write a line to a process, which may be dead: who reads its answer finds out."""
    with suppress(BrokenPipeError):
        stream.write(f"{line}\n")
        stream.flush()
