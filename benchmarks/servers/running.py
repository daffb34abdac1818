"""A contender as a process on one CPU, with one thread; and whether it answers what the model says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

import psutil

from benchmarks.servers.contenders import prediction

if TYPE_CHECKING:
    from benchmarks.servers.contenders import Contender

FAILURES = (RuntimeError, OSError, http.client.HTTPException, psutil.Error)
"""What a server that does not do its work raises here."""

_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 3.0
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB", "RAYON")
}


class Running:
    """A server that answers."""

    def __init__(self, contender: Contender, process: psutil.Process) -> None:
        self.contender = contender
        self._process = process

    def cpu_s(self) -> float:
        """Return the CPU time that all its processes have used."""
        return sum(sum(process.cpu_times()[:2]) for process in tree(self._process))

    def answers(self, bodies: Sequence[str], *, connections: int) -> list[float]:
        """Return the predictions for ``bodies``, in their order, asked for on so many connections at once."""
        parts = [bodies[start::connections] for start in range(connections)]
        answers = [0.0] * len(bodies)
        with ThreadPoolExecutor(connections) as pool:
            for start, part in enumerate(pool.map(lambda part: list(_ask(self.contender, part)), parts)):
                answers[start::connections] = part
        return answers


@contextlib.contextmanager
def running(contender: Contender, body: str, *, cpu: int) -> Iterator[Running]:
    """Run ``contender`` on ``cpu`` within the block, which begins once ``body`` is answered. Raises RuntimeError, with
    the output of the process, if it is not."""
    environment = {**os.environ, **_ONE_THREAD, **contender.variables}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as output:
        started = subprocess.Popen(
            ["taskset", "--cpu-list", str(cpu), *contender.command],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        process = psutil.Process(started.pid)
        try:
            _wait(contender, started, body, output)
            yield Running(contender, process)
        finally:
            stop(process)
            started.wait()


def _wait(contender: Contender, process: subprocess.Popen[bytes], body: str, output: IO[str]) -> None:
    limit = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            list(_ask(contender, [body]))
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            if process.poll() is not None or time.monotonic() > limit:
                output.seek(0)
                raise RuntimeError(f"{contender.name} does not answer: {error}\n{output.read()[-2000:]}") from error
            time.sleep(0.05)
        else:
            return


def _ask(contender: Contender, bodies: Sequence[str]) -> Iterator[float]:
    connection = http.client.HTTPConnection("127.0.0.1", contender.port, timeout=10)
    with contextlib.closing(connection):
        for body in bodies:
            connection.request("POST", contender.path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            if response.status != http.client.OK:
                raise RuntimeError(f"{contender.name} answers {response.status}: {answer[:200]!r}")
            yield prediction(json.loads(answer))


def tree(process: psutil.Process) -> list[psutil.Process]:
    """Return ``process`` and all its descendants, in whatever session."""
    return [process, *process.children(recursive=True)]


def stop(process: psutil.Process) -> None:
    """End ``process`` and all that it started: kindly first."""
    with contextlib.suppress(psutil.NoSuchProcess):
        all_of_it = tree(process)
        for process in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, alive = psutil.wait_procs(all_of_it, timeout=_STOP_LIMIT_S)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(alive, timeout=_STOP_LIMIT_S)
